"""Tenants that change beside others: what those lose, and how soon a change is there."""

from __future__ import annotations

from statistics import median

from tests.bench.book import Book
from tests.bench.labs import lab_alone
from tests.vpc_changes import FABRIC, through_changes, until_a_peering_works

LIMIT = 0.2     # seconds for a peering


def changes(book: Book) -> None:
    """100 drawn changes of VPCs, attachments, peerings and classes lose no packet of two 1 kHz streams in untouched
    VPCs, in 5 runs of 5; a peering takes effect in under 200 ms (median of 20).
    """
    runs, count, peerings = (2, 20, 5) if book.quick else (5, 100, 20)
    lost, sent, seconds, kinds = [], [], [], []
    with lab_alone(FABRIC) as it:
        for seed in range(1, runs + 1):
            streams, drawn, took = through_changes(it.inventory, count, seed)
            lost.append(sum(s.lost for s in streams))
            sent.append(sum(s.sent for s in streams))
            seconds += took
            kinds.append(drawn)
        effects = [until_a_peering_works(it.inventory) for _ in range(peerings)]
    book.figure(f"runs of {count} changes in which two streams lost nothing", f"{lost.count(0)}/{runs}", target="all",
                met=not any(lost), lost=lost, sent=sent, changes=kinds)
    book.median("a change on all switches", seconds, "s")
    book.median("a peering takes effect", effects, "s", target=f"median under {LIMIT:g} s",
                met=median(effects) < LIMIT)
