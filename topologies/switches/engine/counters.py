"""The engine's file of counters: shared memory, read without asking the engine, and after it has died.

Little-endian 64-bit words as fabricd/counters.h lays them out: a header with two histograms, then a record for each
direction, each host and each switch in the order of the configuration.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from topologies.model.errors import HostError
from topologies.model.histogram import Histogram

FILE = "fabricd.counters"       # in a lab's directory
MAGIC = 0x3172746362616664
QUEUES = 8
BUCKETS = 96
_RESERVED = 11


class EngineCounts(NamedTuple):
    """Of the engine itself. times in ns, busiest in millionths of a processor, the rest counts."""

    magic: int
    directions: int
    hosts: int
    switches: int
    pool: int
    pool_used: int
    pool_high: int
    pool_empty: int
    events: int
    wakes: int
    reads: int
    writes: int
    now: int
    processor: int
    busiest: int
    realtime: int
    packet_outs: int
    copies: int
    injected: int
    captured: int
    missed: int


class QueueCounts(NamedTuple):
    """Of one queue of a direction. packets, bytes: wait now; high: most bytes that have waited."""

    sent_packets: int
    sent_bytes: int
    drops: int
    drop_bytes: int
    headroom_drops: int
    marks: int
    pauses: int
    paused_ns: int
    packets: int
    bytes: int
    high: int


class DirectionCounts(NamedTuple):
    """Of one direction. rate bit/s, delay ns, is_up are as they are now; flying is a level; cut_flying: part of cut."""

    rate: int
    delay: int
    is_up: int
    lost: int
    bit_errors: int
    duplicates: int
    reordered: int
    cut: int
    pause_frames: int
    flying: int
    cut_flying: int


class HostCounts(NamedTuple):
    read_packets: int
    read_bytes: int
    written_packets: int
    written_bytes: int
    not_written: int
    gated: int


class SwitchCounts(NamedTuple):
    """Of one switch: power, frames, and why packets ended in its pipeline (docs/engine.md)."""

    is_on: int
    came: int
    left: int
    cut: int
    no_match: int
    no_bucket: int
    expired: int
    malformed: int
    no_port: int
    no_neighbour: int
    looping: int
    to_controller: int
    dropped_by_rule: int
    copies: int
    cache_hits: int
    cache_misses: int


REASONS = ("no_match", "no_bucket", "expired", "malformed", "no_port", "no_neighbour", "looping", "to_controller")
_ENGINE, _QUEUE, _DIRECTION = (len(c._fields) for c in (EngineCounts, QueueCounts, DirectionCounts))
_HISTOGRAM = 3 + BUCKETS
_HEADER = _ENGINE + _RESERVED + 2 * _HISTOGRAM
_RECORD = _DIRECTION + QUEUES * _QUEUE          # of a direction
_HOST, _SWITCH = len(HostCounts._fields), len(SwitchCounts._fields)


class Counters:
    """The counters of one engine, as they are at each reading."""

    def __init__(self, path: Path) -> None:
        """Raises HostError for a file that is none."""
        self._path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise HostError(str(path), "the counters of a fabric engine", str(error),
                            "the lab is down, or has another datapath") from None
        self.words = memoryview(self._map)[:len(self._map) // 8 * 8].cast("Q")
        self._check()
        head = self.engine()
        self._directions, self._hosts, self._switches = head.directions, head.hosts, head.switches

    def _check(self) -> None:
        whole = len(self.words) >= _HEADER and self.words[0] == MAGIC
        head = self.engine() if whole else None
        size = _HEADER + head.directions * _RECORD + head.hosts * _HOST + head.switches * _SWITCH if head else _HEADER
        if head is None or len(self.words) < size:
            found = f"{8 * len(self.words)} bytes that begin with {self.words[0]:#x}" if len(self.words) else "nothing"
            self.close()
            raise HostError(str(self._path), f"at least {8 * size} bytes of counters of this version's engine", found)

    def close(self) -> None:
        self.words.release()
        self._map.close()

    def _read(self, start: int, count: int) -> list[int]:
        return self.words[start: start + count].tolist()

    def engine(self) -> EngineCounts:
        return EngineCounts(*self._read(0, _ENGINE))

    def _histogram(self, number: int) -> Histogram:
        count, total, most, *buckets = self._read(_ENGINE + _RESERVED + number * _HISTOGRAM, _HISTOGRAM)
        return Histogram(count, total, most, tuple(buckets))

    def late_write(self) -> Histogram:
        """How long after its time a frame was written to a host's device."""
        return self._histogram(0)

    def late_read(self) -> Histogram:
        """How long after its direction was free a waiting frame was read from a host's device."""
        return self._histogram(1)

    def direction(self, number: int) -> DirectionCounts:
        return DirectionCounts(*self._read(_HEADER + number * _RECORD, _DIRECTION))

    def queue_at(self, direction: int, queue: int) -> int:
        """Index of the first word of a queue's counts, for who reads a few of them many times."""
        return _HEADER + direction * _RECORD + _DIRECTION + queue * _QUEUE

    def queue(self, direction: int, queue: int) -> QueueCounts:
        return QueueCounts(*self._read(self.queue_at(direction, queue), _QUEUE))

    def queues(self, direction: int) -> Iterator[QueueCounts]:
        return (self.queue(direction, number) for number in range(QUEUES))

    def host(self, number: int) -> HostCounts:
        return HostCounts(*self._read(_HEADER + self._directions * _RECORD + number * _HOST, _HOST))

    def switch(self, number: int) -> SwitchCounts:
        start = _HEADER + self._directions * _RECORD + self._hosts * _HOST
        return SwitchCounts(*self._read(start + number * _SWITCH, _SWITCH))
