"""The queues of a running lab, read many times: what the sampler of a run does."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from topologies.links.htb import qdisc
from topologies.links.htb.wires import Queue
from topologies.model.errors import RunError

Reading = qdisc.Qdisc       # bytes, packets, drops and backlog of a direction count


class Wires:
    """The queues of a lab, one netlink socket per namespace."""

    def __init__(self, where: Sequence[Queue]) -> None:
        self.queues = where
        self._handle = 0 if any(q.classes for q in where) else qdisc.TRAFFIC_QUEUE      # 0: all, to choose from here
        self._sockets: list[tuple[socket.socket, dict[int, int]]] = []
        for netns in dict.fromkeys(q.netns for q in where):
            path = f"/run/netns/{netns}"
            index = qdisc.interfaces(path)
            positions = {_ifindex(index, q): n for n, q in enumerate(where) if q.netns == netns}
            self._sockets.append((qdisc.open_socket(path), positions))

    def read(self) -> list[qdisc.Qdisc]:
        """What each queue counts, in order. Raises RunError that names a queue that is gone."""
        found: list[qdisc.Qdisc | None] = [None] * len(self.queues)
        for sock, positions in self._sockets:
            for q in qdisc.dump(sock, self._handle):
                position = positions.get(q.ifindex)
                if position is not None and q.handle in self.queues[position].handles:
                    found[position] = _joined(found[position], q, self.queues[position])
        if None in found:
            queue = self.queues[found.index(None)]
            raise RunError(f"{queue.direction}: device {queue.device} in {queue.netns}",
                           "the queue bfifo 10: of this direction", "none",
                           "something outside of the lab changed its wires, or the lab went down")
        return [q for q in found if q is not None]


def _joined(before: qdisc.Qdisc | None, q: qdisc.Qdisc, queue: Queue) -> qdisc.Qdisc:
    """The queues of a direction's classes as one. What waits in a class that may not use all of the link is left
    out: it may wait while the link is idle, and the link invariant is about links that have no reason to be."""
    if any(c.handle == q.handle and c.max < 1 for c in queue.classes):
        q = q._replace(backlog=0)
    if before is None:
        return q
    return before._replace(bytes=before.bytes + q.bytes, packets=before.packets + q.packets,
                           drops=before.drops + q.drops, backlog=before.backlog + q.backlog)


def _ifindex(index: dict[str, int], queue: Queue) -> int:
    if queue.device not in index:
        raise RunError(f"{queue.direction}: namespace {queue.netns}", f"the device {queue.device}", "none",
                       "the inventory is not that of this running lab")
    return index[queue.device]
