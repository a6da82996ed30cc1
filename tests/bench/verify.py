"""The reachability proof over 32 hosts: how long it takes, and whether it finds anything wrong."""

from __future__ import annotations

import time
from statistics import median

from scenarios.run.verify import verify as verify_lab
from scenarios.run.vpcs import apply_intent
from tests.bench.book import Book
from tests.bench.labs import lab_alone
from tests.drawn_intents import mixed
from topologies.model.spec import FabricSpec

FABRIC = FabricSpec(name="verify", leaves=4, spines=2, hosts_per_leaf=8, host_rate="2mbit", probes=False)
LIMIT = 90.0    # seconds


def verify(book: Book) -> None:
    """32 hosts in 8 VPCs with overlapping addresses, every kind of policy mixed, 5 draws: no false allow, no false deny
    and no drop that went uncounted over all pairs, in under 90 s.
    """
    seconds: list[float] = []
    wrong: list[str] = []
    pairs = {"allowed": 0, "denied": 0}
    with lab_alone(FABRIC) as it:
        for seed in range(1, (2 if book.quick else 5) + 1):
            apply_intent(it.inventory, mixed(seed, [h.name for h in it.fabric.hosts]))
            started = time.monotonic()
            found = verify_lab(it.inventory)
            seconds.append(time.monotonic() - started)
            wrong += [f"seed {seed}: {w}" for w in (*found.false_allows(), *found.false_denies(),
                                                    *found.uncounted().items())]
            for c in found.cells:
                pairs["allowed" if c.allowed else "denied"] += 1
    book.median("proof of all pairs of 32 hosts", seconds, "s", target=f"under {LIMIT:g} s",
                met=median(seconds) < LIMIT)
    book.figure("pairs that were not as the intent has them", len(wrong), target="0", met=not wrong, wrong=wrong,
                pairs=pairs)
