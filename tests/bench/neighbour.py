"""A congested wire and its neighbours on the same switch."""

from __future__ import annotations

from tests.bench.book import Book
from tests.bench.labs import accounting, lab_alone, of_kind, run_streams
from topologies.model.load import load_fabric
from traffic.workloads.specs import StreamSpec


def neighbour(book: Book) -> None:
    """0 lost of 10,000 packets at 1 kHz to h2 while three hosts of the same leaf send at full rate to h1."""
    repeats, count = (1, 2000) if book.quick else (3, 10_000)
    victim = StreamSpec(kind="udp", pairs=(("h5", "h2"),), pps=1000, frame=128, count=count)
    # As long as the victim's stream and started with it: its neighbour is overloaded all the time.
    flood = StreamSpec(kind="udp", pairs=(("h2", "h1"), ("h3", "h1"), ("h4", "h1")), rate="10mbit",
                       duration=f"{count}ms")
    with lab_alone(load_fabric("small")) as it:
        for seed in range(1, repeats + 1):
            with accounting(it) as found:
                records = run_streams(it, {"victim": victim, "flood": flood}, book.work, seed)
            stream = of_kind(records, "stream", workload="victim")[0]
            overload = of_kind(records, "stream", workload="flood")
            lost = sum(s["lost"] for s in overload)
            book.figure(f"run {seed}: lost of {stream['sent']} beside a port with 3x its rate", stream["lost"],
                        target="0", met=stream["lost"] == 0 and stream["sent"] == count and lost > 0,
                        overload_sent=sum(s["sent"] for s in overload), overload_lost=lost,
                        ledger=found.ledger.as_json())
            print(f"    the overloaded port dropped {lost} packets; packet accounting "
                  f"{'balances' if found.ledger.balances else 'does NOT balance'}", flush=True)
