"""Pauses in the fabric engine: nothing is lost, senders wait in their own sockets, other priorities go on."""

from __future__ import annotations

from dataclasses import replace

from tests.bench.book import Book
from tests.bench.engine_fabric import EngineFabric, Shape, engine_fabric
from tests.bench.generator import Running, generate
from topologies.lab.host_limits import measuring_lock

RATE, DELAY = 20_000_000, 1_000_000     # bit/s; ns a link
LOSSLESS = 1                            # queue
DSCP = 8
TOS = DSCP << 2
XOFF, XON = 20_000, 17_000
ENOUGH, LITTLE = 60_000, 2_000          # bytes of headroom
BESIDE = 8_000_000                      # bit/s of a flow in the other priority


def engine_pfc(book: Book) -> None:
    """Blocking UDP 7:1 with pauses: 0 dropped, senders blocked in their own sockets; the other priority of a paused
    host untouched. With less headroom than the way needs: drops, each named.
    """
    seconds = 1.0 if book.quick else 4.0
    shape = Shape(rate=RATE, attach="gated", more=tuple(lossless(Shape(), ENOUGH)))
    with measuring_lock(wait=True):
        with engine_fabric(shape) as it:
            _incast(book, it, seconds)
        with engine_fabric(shape) as it:
            _beside(book, it, seconds)
        for headroom in (ENOUGH, LITTLE):
            far = replace(shape, delay=DELAY, fabric_delay=DELAY, more=tuple(lossless(Shape(), headroom)))
            with engine_fabric(far) as it:
                _headroom(book, it, headroom, seconds)


def lossless(shape: Shape, headroom: int) -> list[str]:
    """Commands for a queue that pauses, in every direction that ends in a switch."""
    return [f"dscp {DSCP} queue={LOSSLESS}",
            *(f"queue {d} {LOSSLESS} xoff={XOFF} xon={XON} headroom={headroom}"
              for d in shape.directions if not d.split("->")[1].startswith("h"))]


def _senders(it: EngineFabric, seconds: float, *more: str) -> Running:
    """Seven hosts send to h1 as fast as their sockets let them, in the queue that pauses."""
    flows = [it.flow("udp", f"{h}-h1", h, "h1", 6000 + n, tos=TOS) for n, h in enumerate(it.shape.hosts[1:])]
    return generate([*flows, *more], seconds)


def _gated(it: EngineFabric) -> int:
    return sum(it.counters.host(n).gated for n in range(len(it.shape.hosts)))


def _paused(it: EngineFabric) -> dict[str, int]:
    """ms for which each direction was paused."""
    found = {d: it.queue(d, LOSSLESS).paused_ns // 1_000_000 for d in it.shape.directions}
    return {d: ms for d, ms in found.items() if ms}


def _lost(it: EngineFabric) -> int:
    return sum(it.named_drops().values()) + sum(it.device_drops().values())


def _incast(book: Book, it: EngineFabric, seconds: float) -> None:
    found = _senders(it, seconds)
    sent, received = found.total("sent"), found.total("received")
    book.figure("7:1 with pauses, frames lost", sent - received, target="none", met=sent == received and not _lost(it),
                sent=sent, drops=it.named_drops(), device_drops=it.device_drops(), paused=_paused(it),
                reordered=found.total("reordered"))
    book.figure("times that a sender was blocked in its socket", found.total("blocked"), target="some of each",
                met=all(f["blocked"] for f in found.flows.values()), gated=_gated(it),
                rates={name: f["rate"] for name, f in found.flows.items()})


def _beside(book: Book, it: EngineFabric, seconds: float) -> None:
    found = _senders(it, seconds, it.flow("udp", "beside", "h5", "h2", 7000, rate=BESIDE))
    beside, paused = found.flows["beside"], found.flows["h5-h1"]
    share = beside["rate"] / BESIDE
    book.figure("the other priority of a paused host, of its rate", round(share, 4), target="at least 0.99, none lost",
                met=share >= 0.99 and beside["sent"] == beside["received"], paused_rate=paused["rate"], **beside)


def _headroom(book: Book, it: EngineFabric, headroom: int, seconds: float) -> None:
    found = _senders(it, seconds)
    lost, drops = found.total("sent") - found.total("received"), it.named_drops()
    book.figure(f"{headroom} bytes of headroom, {DELAY // 1000} us a link: frames lost", lost,
                target="none" if headroom == ENOUGH else f"some, and {drops['headroom']} as named",
                met=lost == _lost(it) and (lost == drops["headroom"] > 0 if headroom == LITTLE else not lost),
                drops=drops, device_drops=it.device_drops(), high=it.queue("leaf1->h1", LOSSLESS).high)
