"""For tests on a whole running lab: datagrams that are counted at both ends, packet accounting, and what is left
behind."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scenarios.run.lab import Lab
from topologies.access.netns import inside
from topologies.lab.journal import BASE, Process
from topologies.model.disciplines import FifoQueue
from topologies.model.spec import FabricSpec
from topologies.proof.counters import hops, snapshot, wait_quiet
from topologies.proof.ledger import Fault, Ledger, balance

SMALL = FabricSpec(name="shared", leaves=2, spines=2, hosts_per_leaf=4, queue=FifoQueue(packets=40))
PORT = 9000
PAYLOAD = 1472      # a full frame of 1514 bytes


@dataclass(frozen=True)
class Traces:
    """What a lab may leave behind: its namespaces, processes and directory, as its journal had them."""

    namespaces: tuple[str, ...]
    processes: tuple[Process, ...]
    directory: Path

    @classmethod
    def of(cls, lab: Lab) -> Traces:
        journal = lab.net.journal
        return cls(tuple(journal.namespaces), tuple(journal.processes), journal.directory)

    def left(self) -> list[str]:
        """Whatever of them is still there."""
        return ([n for n in self.namespaces if Path(f"/run/netns/{n}").exists()]
                + [p.what for p in self.processes if p.alive]
                + [str(d) for d in (self.directory,) if d.exists()]
                + [f"settings held by {self.directory.name}" for _ in range(self.directory.name in holders())])


def holders() -> list[str]:
    """Labs that hold the machine's global settings."""
    path = BASE / "sysctl.json"
    return list(json.loads(path.read_text())["holders"]) if path.exists() else []


def with_word_in_environment(word: str) -> list[int]:
    """Pids of the processes that were started with `word` somewhere in their environment; not this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "environ").read_bytes()
            except OSError:
                continue
            if word.encode() in text:
                found.append(int(entry.name))
    return found


def udp(lab: Lab, host: str, port: int = 0) -> socket.socket:
    """A UDP socket of a host, bound to its address."""
    with inside(lab.inventory.netns_path(host)):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((lab.fabric.host(host).ip, port))
    return made


def waiting_at(sock: socket.socket) -> int:
    """Datagrams that arrived at a socket, taken out of it."""
    sock.setblocking(False)
    count = 0
    while True:
        try:
            sock.recv(2048)
        except BlockingIOError:
            return count
        count += 1


@dataclass
class Accounting:
    """The ledger of a block; filled when it ends."""

    faults: list[Fault] = field(default_factory=list)
    closed: Ledger | None = None

    @property
    def ledger(self) -> Ledger:
        assert self.closed is not None
        return self.closed


@contextmanager
def accounting(lab: Lab) -> Iterator[Accounting]:
    """Count all packets from here to the end of the block, quiet at both ends."""
    kept = Accounting()
    wait_quiet(lab.inventory)
    before = snapshot(lab.inventory, lab.policy_drops)
    yield kept
    wait_quiet(lab.inventory)
    after = snapshot(lab.inventory, lab.policy_drops)
    kept.closed = balance(lab.fabric, hops(lab.inventory), before, after, kept.faults)


def warm_neighbours(lab: Lab, pairs: Iterable[tuple[str, str]]) -> None:
    """ARP and datapath flows of these pairs, so that a count of datagrams is a count of packets."""
    with ExitStack() as stack:
        for source, target in pairs:
            receiver = stack.enter_context(udp(lab, target, 9001))
            receiver.settimeout(3)
            with udp(lab, source) as sender:
                sender.sendto(b"warm", (lab.fabric.host(target).ip, 9001))
            receiver.recv(100)
            receiver.close()


def burst(lab: Lab, sources: Sequence[str], target: str, count: int) -> tuple[int, int]:
    """`count` full datagrams from each source to one target as fast as their links take them.

    Returns how many the senders sent and how many the receiver's socket got.
    """
    with ExitStack() as stack:
        receiver = stack.enter_context(udp(lab, target, PORT))
        senders = [stack.enter_context(udp(lab, s)) for s in sources]
        payload, to = bytes(PAYLOAD), (lab.fabric.host(target).ip, PORT)
        for _ in range(count):
            for sender in senders:
                sender.sendto(payload, to)
        wait_quiet(lab.inventory)
        return count * len(senders), waiting_at(receiver)


def stream(lab: Lab, source: str, target: str, count: int, pause: float, events: dict[int, Callable[[], None]],
           payload: int = 100) -> tuple[int, int]:
    """`count` datagrams, `pause` seconds apart; events[n] is called just before packet n. (sent, received)"""
    with udp(lab, target, PORT) as receiver, udp(lab, source) as sender:
        start = time.monotonic()
        for n in range(count):
            if n in events:
                events[n]()
            time.sleep(max(0.0, start + n * pause - time.monotonic()))
            sender.sendto(bytes(payload), (lab.fabric.host(target).ip, PORT))
        wait_quiet(lab.inventory)
        return count, waiting_at(receiver)
