"""Memory that parent, sender and receiver share: one row per packet, a few counters per stream.

Rows are indexed by sequence number (`late` by slot of the schedule). Anonymous memory takes pages
only where it was written, so an endless stream reserves its longest run and pays for what it sends.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass

MAP_NORESERVE = 0x4000
SENT, SLOTS, RECEIVED, DUPLICATES, FOREIGN, LAST_ARRIVAL = range(6)
COUNTERS = 6
BYTES_PER_PACKET = 8 + 8 + 8 + 4


def _shared(size: int) -> memoryview:
    flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    return memoryview(mmap.mmap(-1, max(size, mmap.PAGESIZE), flags=flags))


@dataclass(frozen=True)
class Lane:
    """The rows of one stream. Views of native 8 byte (order: 4 byte) integers.

    sent      CLOCK_MONOTONIC ns at which packet seq was given to the kernel
    delay     ns from its stamp to the receiver's kernel stamp; holds only where order is not 0
    order     1 for the first packet that arrived, 2 for the next ...; 0: has not arrived
    late      ns by which slot i of the schedule was served late
    count     SENT SLOTS RECEIVED DUPLICATES FOREIGN LAST_ARRIVAL (of the last, CLOCK_REALTIME ns)
    port_sent, port_received    packets per source port, in the order of the ports
    """

    capacity: int
    sent: memoryview
    delay: memoryview
    order: memoryview
    late: memoryview
    count: memoryview
    port_sent: memoryview
    port_received: memoryview

    def arrived(self, seq: int, way: int, arrival: int, stamp: int) -> bool:
        """Note packet `seq` from source port number `way`, with the receiver's and the sender's stamp (CLOCK_REALTIME
        ns). False, and counted as such, if it had arrived before.
        """
        count = self.count
        if seq >= self.capacity or self.order[seq]:
            count[DUPLICATES] += 1
            return False
        received = count[RECEIVED] + 1
        self.delay[seq] = arrival - stamp
        self.order[seq] = received
        self.port_received[way] += 1
        count[LAST_ARRIVAL] = arrival
        count[RECEIVED] = received      # last: the parent looks at it to see whether everything is there
        return True


def lane(capacity: int, flows: int) -> Lane:
    """Fresh shared memory for a stream of at most `capacity` packets from `flows` source ports."""
    rows = _shared(capacity * BYTES_PER_PACKET)
    a, b, c, d = (capacity * 8 * k for k in (1, 2, 3, 0))
    head = _shared((COUNTERS + 2 * flows) * 8)
    return Lane(
        capacity=capacity,
        sent=rows[d:a].cast("q"), delay=rows[a:b].cast("q"), late=rows[b:c].cast("q"),
        order=rows[c:c + capacity * 4].cast("I"),
        count=head[:COUNTERS * 8].cast("q"),
        port_sent=head[COUNTERS * 8:(COUNTERS + flows) * 8].cast("q"),
        port_received=head[(COUNTERS + flows) * 8:(COUNTERS + 2 * flows) * 8].cast("q"))


@dataclass(frozen=True)
class Board:
    """All lanes, and a flag that tells the sender to stop."""

    lanes: tuple[Lane, ...]
    stop: memoryview

    @property
    def finished(self) -> bool:
        """Everything that was sent has arrived."""
        return all(k.count[RECEIVED] >= k.count[SENT] for k in self.lanes)


def board(sizes: Sequence[tuple[int, int]]) -> Board:
    """`sizes`: (capacity, flows) of each stream."""
    return Board(tuple(lane(capacity, flows) for capacity, flows in sizes), _shared(8)[:8].cast("q"))

