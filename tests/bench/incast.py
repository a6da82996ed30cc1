"""Incast: does the ledger name every packet that was lost?"""

from __future__ import annotations

from tests.bench.book import Book
from tests.bench.labs import accounting, lab_alone, of_kind, run_streams
from topologies.model.load import load_fabric
from traffic.workloads.specs import StreamSpec

RECEIVER = "h1"
RATE = "4.5mbit"        # of each sender, on links of 5


def incast(book: Book) -> None:
    """UDP 3:1, 7:1 and 15:1: sent - received = the drops that the ledger names, 10 of 10 each."""
    repeats, seconds = (2, "500ms") if book.quick else (10, "2s")
    with lab_alone(load_fabric("incast")) as it:
        senders = [h.name for h in it.fabric.hosts if h.name != RECEIVER]
        for n in (3, 7, 15):
            # Dealt over both leaves, so that local and remote senders meet in front of the receiver.
            chosen = [*senders[: n // 2], *senders[-(n - n // 2):]]
            spec = StreamSpec(kind="udp", pairs=tuple((s, RECEIVER) for s in chosen), rate=RATE, duration=seconds)
            rows = []
            for seed in range(1, repeats + 1):
                with accounting(it) as found:
                    streams = of_kind(run_streams(it, {"incast": spec}, book.work, seed), "stream")
                sent, received = (sum(s[key] for s in streams) for key in ("sent", "received"))
                named = sum(found.ledger.queue_drops.values())
                rows.append({"sent": sent, "received": received, "named": named, "balances": found.ledger.balances,
                             "queue_drops": found.ledger.queue_drops, "emulator_drops": found.ledger.emulator_drops,
                             "unexplained": found.ledger.unexplained})
            matches = sum(r["sent"] - r["received"] == r["named"] and r["balances"] for r in rows)
            total = sum(r["sent"] for r in rows)
            book.figure(f"{n}:1, runs in which every loss has its queue", f"{matches}/{repeats}",
                        target=f"{repeats}/{repeats}", met=matches == repeats, runs=rows)
            print(f"    {total} packets sent, {sum(r['sent'] - r['received'] for r in rows)} lost, "
                  f"{sum(r['named'] for r in rows)} named", flush=True)
