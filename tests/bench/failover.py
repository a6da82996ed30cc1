"""Failing links under traffic: what a stream loses, and whether transfers finish."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from scenarios.run.lab import Lab
from scenarios.run.runner import run_scenario
from scenarios.run.waits import wait_for
from scenarios.spec.scenario import Scenario
from tests.bench.book import Book
from tests.bench.labs import lab_alone, of_kind, run_streams, uplink_bytes
from topologies.links.htb import wires
from topologies.model.load import load_fabric
from traffic.runtime.reading import lines
from traffic.workloads.specs import StreamSpec

PPS, FRAME = 1000, 128
SURE = 300 * FRAME      # bytes on an uplink that only the stream can have sent
LIMITS = {"own uplink": 12, "far link": 50}
SETTLED = 15.0          # seconds for the controller after a change


def failover(book: Book) -> None:
    """A 1 kHz stream loses at most 12 packets when its leaf's uplink fails, 50 at the far link (medians of 10);
    all transfers finish.
    """
    repeats = 2 if book.quick else 10
    with lab_alone(load_fabric("small")) as it:
        for where, limit in LIMITS.items():
            runs = [_fail_under_stream(it, where, book.work, seed) for seed in range(1, repeats + 1)]
            losses = [lost for lost, _ in runs]
            book.median(f"{where} fails, packets lost at 1 kHz", losses, target=f"median at most {limit}",
                        met=median(losses) <= limit, links=[link for _, link in runs])
    _transfers(book)


def _fail_under_stream(it: Lab, where: str, work: Path, seed: int) -> tuple[int, str]:
    """(packets lost, link) of one stream whose path loses a link under it; the link is mended afterwards."""
    before = uplink_bytes(it, "leaf1")
    broken: list[str] = []

    def fail() -> None:
        uplink = wait_for("the uplink that the stream takes", lambda: next(
            (link for link, sent in uplink_bytes(it, "leaf1").items() if sent - before[link] > SURE), None), 10)
        spine = it.fabric.link(uplink).far("leaf1").node
        broken.append(uplink if where == "own uplink" else f"leaf2-{spine}")
        wires.set_state(it.inventory, broken[0], up=False)

    stream = StreamSpec(kind="udp", pairs=(("h1", "h5"),), pps=PPS, frame=FRAME, count=3 * PPS)
    try:
        records = run_streams(it, {"probe": stream}, work, seed, fail)
    finally:
        for link in broken:
            wires.set_state(it.inventory, link, up=True)
    it.controller.wait_converged(SETTLED, frozenset())
    return of_kind(records, "stream")[0]["lost"], broken[0]


def _transfers(book: Book) -> None:
    """An all-reduce goes on through a link that fails and comes back."""
    size, down, up = ("2MB", "1s", "2s") if book.quick else ("8MB", "3s", "9s")
    result = run_scenario(Scenario.model_validate({
        "name": "bench-failover", "question": "Do all transfers finish when a link fails?",
        "fabric": load_fabric("small"),
        "workloads": {"ring": {"kind": "collective", "size": size, "iterations": 2, "warmup": 0}},
        "events": [{"at": down, "link": "leaf1-spine1", "state": "down"},
                   {"at": up, "link": "leaf1-spine1", "state": "up"}]}), book.work)
    records = list(lines(result.run.records_path))
    ranks = 8
    wanted = 2 * ranks * 2 * (ranks - 1)        # iterations x ranks x steps of a ring
    finished = len(of_kind(records, "transfer"))
    book.figure("transfers of an all-reduce that finished through a link failure", f"{finished}/{wanted}",
                target="all", met=finished == wanted, verdict=result.verdict.level.name,
                reasons=[r.text for r in result.verdict.reasons],
                ledger=result.ledger.as_json() if result.ledger else {},
                steps=[round(s["end"] - s["start"], 3) for s in of_kind(records, "step")])
    print(f"    verdict {result.verdict.level.name}", flush=True)
