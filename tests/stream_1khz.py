"""A datagram a millisecond between two hosts, at whatever addresses they have, on a thread of its own."""

from __future__ import annotations

import socket
import threading
import time

from topologies.access.netns import inside
from topologies.model.inventory import Inventory

PORT = 9000
SO_RCVBUFFORCE = 33     # asm-generic/socket.h
LATE = 1.0              # seconds without a datagram after which none will come any more


def datagram_socket(inventory: Inventory, host: str, ip: str, port: int = 0) -> socket.socket:
    """A datagram socket of a host that may have another address than the fabric gave it."""
    with inside(inventory.netns_path(host)):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((ip, port))
    made.settimeout(2)
    return made


class Stream:
    """A datagram a millisecond from one host to another, each with its number.

    times: when each was sent (monotonic seconds); arrived: numbers of those that were received, known at the end.
    """

    def __init__(self, inventory: Inventory, source: str, target: str, source_ip: str, target_ip: str) -> None:
        self.times: list[float] = []
        self.arrived: set[int] = set()
        self._stop, self._to = threading.Event(), (target_ip, PORT)
        self._sender = datagram_socket(inventory, source, source_ip)
        self._receiver = datagram_socket(inventory, target, target_ip, PORT)
        self._receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64_000_000)    # it is read at the end
        self._thread = threading.Thread(target=self._send)

    @property
    def sent(self) -> int:
        return len(self.times)

    @property
    def lost(self) -> int:
        return self.sent - len(self.arrived)

    def _send(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._sender.sendto(b"%d" % self.sent, self._to)
            self.times.append(time.monotonic())
            due += 0.001
            time.sleep(max(due - time.monotonic(), 0))

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._receiver.settimeout(LATE)
        try:
            while self.lost:
                self.arrived.add(int(self._receiver.recv(100)))
        except TimeoutError:
            pass
        self._sender.close()
        self._receiver.close()
