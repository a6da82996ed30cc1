"""ECN in the fabric engine: marks at receivers are the marks that were counted, and as likely as the law has them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from tests.bench.book import Book
from tests.bench.engine_fabric import EngineFabric, Shape, engine_fabric
from tests.bench.generator import Running, generate
from topologies.lab.host_limits import measuring_lock

RATE, KMIN, KMAX, PMAX = 20_000_000, 12_000, 48_000, 0.2
ECT0, CE = 2, 3
SENDERS = ("h2", "h3")
PORT = 6000
BURST, EVERY = 90, 0.08     # frames of each sender in a burst: they fill the queue; seconds from one to the next
BIN = 6_000                 # bytes of queue
ERRORS = 3.0                # standard errors
TOS_AT, PORT_AT, NUMBER_AT = 15, 36, 42     # in a frame: ECN, destination port, the generator's number
SNAP = 64


@dataclass(frozen=True)
class Seen:
    """A frame that began to be sent: at (ns), bytes, which (port and number), and whether it was marked."""

    at: int
    length: int
    which: tuple[int, int]
    is_marked: bool


@dataclass(frozen=True)
class Bin:
    """Frames that found a queue of so many bytes with them: how many, marked, and by the law."""

    start: int
    frames: int
    marked: int
    expected: float
    error: float            # standard error of `marked` by the law

    @property
    def is_right(self) -> bool:
        return abs(self.marked - self.expected) <= ERRORS * self.error + 1e-9


def engine_ecn(book: Book) -> None:
    """Marks that receivers see = marks counted, none without ECT; marked share of each 6 kB of queue within 3 standard
    errors of the law.
    """
    bursts = 10 if book.quick else 150
    more = (f"queue leaf1->h1 0 limit=60000 kmin={KMIN} kmax={KMAX} pmax={PMAX}",)
    with measuring_lock(wait=True), engine_fabric(Shape(rate=RATE, more=more)) as it:
        blind = _bursts(it, 10, 0).total("marked"), it.queue("leaf1->h1").marks
        book.figure("marks on frames that are not ECT, received and counted", " / ".join(map(str, blind)),
                    target="none", met=blind == (0, 0))
        with capturing(it, (*(f"{h}->leaf1" for h in SENDERS), "leaf1->h1")) as frames:
            found = _bursts(it, bursts, ECT0)
        marks = it.queue("leaf1->h1").marks
        book.figure("marks at the receivers", found.total("marked"), target=f"{marks}, as counted",
                    met=found.total("marked") == marks > 0, received=found.total("received"))
        bins = by_depth(frames)
        book.figure(f"bins of {BIN} bytes of queue whose marks are within {ERRORS:g} standard errors of the law",
                    sum(b.is_right for b in bins), target=f"all of {len(bins)}",
                    met=all(b.is_right for b in bins) and len(bins) > KMAX // BIN and not it.counters.engine().missed,
                    bins=[vars(b) for b in bins])


def _bursts(it: EngineFabric, bursts: int, tos: int) -> Running:
    """Bursts from two senders at once, which the queue takes in and lets out again."""
    flows = [it.flow("udp", f"{host}.{n}", host, "h1", PORT + 2 * n + s, tos=tos, count=BURST, start=EVERY * n)
             for n in range(bursts) for s, host in enumerate(SENDERS)]
    return generate(flows, EVERY * bursts + 0.2)


@contextmanager
def capturing(it: EngineFabric, directions: Sequence[str]) -> Iterator[dict[str, list[Seen]]]:
    """Frames of each of these directions; there when the block is left."""
    found: dict[str, list[Seen]] = {d: [] for d in directions}
    chunks: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(Path(it.directory) / "socket"))
        client.sendall("".join(f"capture {d} snap={SNAP}\n" for d in directions).encode())
        reader = threading.Thread(target=lambda: chunks.extend(iter(lambda: client.recv(1 << 20), b"")))
        reader.start()
        try:
            yield found
        finally:
            client.shutdown(socket.SHUT_RDWR)
            reader.join()
    for line in b"".join(chunks).decode().splitlines():
        if line.startswith("event frame "):
            _, _, direction, at, length, octets = line.split()
            found[direction] += _seen(int(at), int(length), bytes.fromhex(octets))


def _seen(at: int, length: int, frame: bytes) -> list[Seen]:
    """Of the generator's own frames."""
    port = int.from_bytes(frame[PORT_AT:PORT_AT + 2], "big")
    if len(frame) < SNAP or port < PORT:
        return []
    number = int.from_bytes(frame[NUMBER_AT:NUMBER_AT + 8], "little")
    return [Seen(at, length, (port, number), frame[TOS_AT] & 3 == CE)]


def law(depth: int) -> float:
    """Probability of a mark on a frame that waits behind and with `depth` bytes."""
    return 0.0 if depth <= KMIN else 1.0 if depth > KMAX else PMAX * (depth - KMIN) / (KMAX - KMIN)


def depths(frames: dict[str, list[Seen]]) -> list[tuple[int, bool]]:
    """(bytes that waited when a frame had joined its queue, marked) of each frame that left by it.

    A frame joins when its last bit has come, and waits until it begins to be sent: both in the engine's own time.
    """
    *ways_in, way_out = frames.values()
    came = {s.which: s.at + (s.length * 8_000_000_000 + RATE // 2) // RATE for way in ways_in for s in way}
    moves = [(came[s.which], 1, s.length, s) for s in way_out] + [(s.at, 0, -s.length, s) for s in way_out]
    waits, found = 0, []
    for _, is_join, change, seen in sorted(moves, key=lambda m: (m[0], m[1])):
        if is_join:
            waits += change
            found.append((waits, seen.is_marked))
            waits -= seen.length * (seen.at == came[seen.which])    # its link was free: it began at once
        elif seen.at != came[seen.which]:
            waits += change
    return found


def by_depth(frames: dict[str, list[Seen]]) -> list[Bin]:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for depth, is_marked in depths(frames):
        bins.setdefault(depth // BIN * BIN, []).append((law(depth), is_marked))
    return [Bin(start, len(held), sum(m for _, m in held), sum(p for p, _ in held),
                sqrt(sum(p * (1 - p) for p, _ in held))) for start, held in sorted(bins.items())]
