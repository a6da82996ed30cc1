"""The reachability proof: every pair of hosts, by packets, held against what intent alone says.

Each probe carries a number of its own, and every host listens to all that comes in on its interface. Where a packet
is allowed, the sender is an ordinary socket (ARP, gateway and all) and the receiver must be that host and no other.
Where it is denied, the frame is forged for it, with the MAC that would have to be used; no host may see it, and the
drop rule that intent names must have counted it at the sender's leaf.
"""

from __future__ import annotations

import secrets
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from controller.intent.intent import Intent
from controller.intent.vpc import Allocation
from controller.northbound.client import ControllerClient
from controller.verify.reachability import Cell, matrix, places
from topologies.access.netns import inside
from topologies.lab.host_addresses import device_of
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory

PORT = 47123            # of the probes
ARRIVE = 3.0            # seconds for allowed probes to arrive, and for denied ones to be counted
LINGER = 0.3            # seconds in which a probe that should not have arrived may still show up
OUTGOING = 4            # PACKET_OUTGOING: what the host itself sends
ETH_IPV4, UDP = 0x0800, 17
HEADERS = 14 + 20 + 8
_MARK = struct.Struct("!8sI")       # run, number of the cell

Drop = tuple[str, str]      # leaf, rule


@dataclass
class Verification:
    """What was expected and what came of it. `heard`: number of the cell -> hosts that saw its probe."""

    cells: tuple[Cell, ...]
    leaf_of: dict[str, str]
    heard: dict[int, set[str]] = field(default_factory=dict)
    counted: Counter[Drop] = field(default_factory=Counter)

    def expected_drops(self) -> Counter[Drop]:
        """Probes that each drop rule has to have counted."""
        return Counter((self.leaf_of[c.source], c.drop) for c in self.cells if c.drop)

    def false_denies(self) -> list[Cell]:
        """Somebody should have received it, and has not."""
        return [c for n, c in enumerate(self.cells) if c.receiver and c.receiver not in self.heard.get(n, ())]

    def false_allows(self) -> list[tuple[Cell, str]]:
        """Somebody has received it who should not have."""
        return [(c, host) for n, c in enumerate(self.cells) for host in sorted(self.heard.get(n, set()) - {c.receiver})]

    def uncounted(self) -> dict[Drop, tuple[int, int]]:
        """Drop rules that have counted fewer probes than they should: (expected, counted)."""
        return {drop: (count, self.counted[drop]) for drop, count in self.expected_drops().items()
                if self.counted[drop] < count}

    @property
    def is_right(self) -> bool:
        return not (self.false_denies() or self.false_allows() or self.uncounted())


def verify(inventory: Inventory) -> Verification:
    """Test every pair of hosts of a running lab. Raises LabError."""
    client = ControllerClient(inventory.api_socket)
    answer = client.intent()
    intent = Intent.model_validate({"objects": answer["objects"]})
    allocation = Allocation.model_validate(answer["allocation"])
    where = places(intent, inventory.fabric, allocation)
    result = Verification(matrix(intent, inventory.fabric, allocation),
                          {h: inventory.fabric.host(h).leaf for h in where})
    before = _drops(client)
    with ExitStack() as stack:
        Probes(inventory, {h: p.ip for h, p in where.items()}, stack).run(result)
    deadline = time.monotonic() + ARRIVE
    while True:
        result.counted = _drops(client) - before
        if not result.uncounted() or time.monotonic() > deadline:
            return result


def _drops(client: ControllerClient) -> Counter[Drop]:
    return Counter({(switch, rule): int(count["packets"]) for switch, s in client.counters()["switches"].items()
                    for rule, count in s["drops"].items()})


class Probes:
    """Sockets of all hosts: one that hears everything, one that sends and keeps the port open."""

    def __init__(self, inventory: Inventory, addresses: dict[str, str], stack: ExitStack) -> None:
        self._inventory, self._addresses, self._run = inventory, addresses, secrets.token_bytes(8)
        self._ears: dict[str, socket.socket] = {}
        self._mouths: dict[str, socket.socket] = {}
        self._selector = stack.enter_context(selectors.DefaultSelector())
        for host, ip in addresses.items():
            with inside(inventory.netns_path(host)):
                ear = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_IPV4)))
                mouth = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                ear.bind((device_of(inventory, host), ETH_IPV4))
                _claim(mouth, host, ip)
            ear.setblocking(False)
            self._selector.register(ear, selectors.EVENT_READ, host)
            self._ears[host], self._mouths[host] = ear, mouth

    def run(self, result: Verification) -> None:
        """Send all probes, a few at a time, and note who hears them."""
        for n, cell in enumerate(result.cells):
            self._send(n, cell)
            self._listen(result, 0)
        deadline = time.monotonic() + ARRIVE
        while result.false_denies() and time.monotonic() < deadline:
            self._listen(result, LINGER)
        self._linger(result)

    def _linger(self, result: Verification) -> None:
        deadline = time.monotonic() + LINGER
        while (left := deadline - time.monotonic()) > 0:
            self._listen(result, left)

    def _send(self, n: int, cell: Cell) -> None:
        mark = _MARK.pack(self._run, n)
        if cell.allowed:
            self._mouths[cell.source].sendto(mark, (cell.ip, PORT))
        else:
            mac = self._inventory.fabric.host(cell.source).mac
            self._ears[cell.source].send(udp_frame(mac, cell.next_mac, self._addresses[cell.source], cell.ip, mark))

    def _listen(self, result: Verification, timeout: float) -> None:
        """Note what has arrived; wait at most `timeout` s for the first of it."""
        for key, _ in self._selector.select(timeout):
            for n in self._heard(self._ears[key.data]):
                result.heard.setdefault(n, set()).add(key.data)

    def _heard(self, ear: socket.socket) -> Iterator[int]:
        while True:
            try:
                frame, (_, _, kind, _, _) = ear.recvfrom(2048)
            except BlockingIOError:
                return
            payload = frame[HEADERS: HEADERS + _MARK.size]
            if kind != OUTGOING and len(payload) == _MARK.size and payload.startswith(self._run):
                yield _MARK.unpack(payload)[1]


def _claim(mouth: socket.socket, host: str, ip: str) -> None:
    try:
        mouth.bind((ip, PORT))
    except OSError as error:
        raise LabError(f"host {host}", f"the address {ip}, port {PORT} free", error.strerror or str(error),
                       "aifab vpc apply gives hosts the addresses that the intent has for them") from None


def udp_frame(source_mac: str, target_mac: str, source: str, target: str, payload: bytes, port: int = PORT) -> bytes:
    """An Ethernet frame with a UDP datagram (RFC 768; a checksum of 0 is none)."""
    udp = struct.pack("!HHHH", PORT, port, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, UDP, 0, socket.inet_aton(source),
                       socket.inet_aton(target))
    total = sum(struct.unpack("!10H", head))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    macs = bytes.fromhex((target_mac + source_mac).replace(":", ""))
    return macs + struct.pack("!H", ETH_IPV4) + head[:10] + struct.pack("!H", checksum) + head[12:] + udp
