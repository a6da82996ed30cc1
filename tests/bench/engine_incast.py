"""Incast in the fabric engine: is every frame that did not arrive named?"""

from __future__ import annotations

from tests.bench.book import Book
from tests.bench.engine_fabric import EngineFabric, Shape, engine_fabric
from tests.bench.generator import Running, generate
from topologies.lab.host_limits import measuring_lock

FANS = (3, 7, 15)
REPEATS = 10
RATE = 20_000_000


def engine_incast(book: Book) -> None:
    """UDP from 3, 7 and 15 senders as fast as their sockets let them, to one host: sent - received = named drops in 10
    of 10, none out of order.
    """
    repeats, seconds = (2, 0.5) if book.quick else (REPEATS, 2.0)
    with measuring_lock(wait=True):
        for attach in ("calm", "fast"):
            with engine_fabric(Shape(per_leaf=8, rate=RATE, attach=attach)) as it:
                for fan in FANS:
                    rounds = [_round(it, fan, seconds) for _ in range(repeats)]
                    right = sum(missing == named and not late for missing, named, late, _ in rounds)
                    book.figure(f"incast {fan}:1, {attach}: rounds in which each lost frame is named", right,
                                target=f"{repeats} of {repeats}", met=right == repeats,
                                lost=sum(r[0] for r in rounds), named=sum(r[1] for r in rounds),
                                reordered=sum(r[2] for r in rounds), blocked=sum(r[3] for r in rounds))


def incast(it: EngineFabric, fan: int, seconds: float, **keys: float | str) -> Running:
    """As many hosts as `fan` send to h1 as fast as their sockets let them."""
    flows = [it.flow("udp", f"{h}-h1", h, "h1", 6000 + n, **keys) for n, h in enumerate(it.shape.hosts[1:fan + 1])]
    return generate(flows, seconds)


def _round(it: EngineFabric, fan: int, seconds: float) -> tuple[int, int, int, int]:
    """(sent - received, drops that are named, out of order, times that a sender had to wait)."""
    before = _named(it)
    keys = {} if it.shape.attach == "calm" else {"rate": it.shape.rate * 0.95}     # a fast device holds nobody back
    found = incast(it, fan, seconds, **keys)
    unread = found.total("socket_drops")
    return (found.total("sent") - found.total("received"), _named(it) - before + unread, found.total("reordered"),
            found.total("blocked"))


def _named(it: EngineFabric) -> int:
    return sum(it.named_drops().values()) + sum(it.device_drops().values())
