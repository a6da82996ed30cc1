"""Real programs on the emulated hosts, one process a rank, as torchrun or mpirun would start them.

    rank r ──nsenter──> its host's namespace, RANK=r WORLD_SIZE=n ... in its environment
      │ stdout, stderr
      └──> "[r] line" to whoever asked, until all have ended or one has failed

Ranks know each other by MASTER_ADDR, the address of rank 0's host, so what they send crosses the fabric.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from topologies.model.errors import LabError, RunError
from topologies.model.inventory import Inventory

MASTER_PORT = 29_500        # torchrun's own default
PATIENCE = 5.0              # seconds from SIGTERM to SIGKILL for ranks that are told to end
LONGEST_LINE = 65_536       # bytes; a program that writes no line ends must not fill our memory
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
DIE_WITH_US = ("setpriv", "--pdeathsig", "TERM")     # should we be killed, the kernel ends the ranks
Tell = Callable[[int, str, str], None]      # rank, "stdout" or "stderr", one line


@dataclass(frozen=True)
class Rank:
    """Where a rank runs, and what its environment has beside our own."""

    number: int
    host: str
    netns: str
    environment: Mapping[str, str]


def ranks_on(inventory: Inventory, hosts: Sequence[str], port: int = MASTER_PORT) -> list[Rank]:
    """One rank for each name in `hosts`, in their order; a host that is named twice has two local ranks.

    Variables as PyTorch's launcher sets them, and the interface for Gloo, NCCL and TensorPipe.
    """
    fabric, local, size = inventory.fabric, Counter[str](), Counter(hosts)
    master = fabric.host(hosts[0]).ip
    found = []
    for number, host in enumerate(hosts):
        interface = fabric.access_link(host).a.interface
        found.append(Rank(number, host, inventory.netns_path(host), {
            "RANK": str(number), "WORLD_SIZE": str(len(hosts)),
            "LOCAL_RANK": str(local[host]), "LOCAL_WORLD_SIZE": str(size[host]),
            "MASTER_ADDR": master, "MASTER_PORT": str(port), **dict.fromkeys(INTERFACES, interface)}))
        local[host] += 1
    return found


@dataclass
class _Stream:
    """One output of a rank on its way to lines."""

    rank: int
    name: str
    file: IO[bytes]
    held: bytes = b""

    def lines(self) -> list[str] | None:
        """Lines that are whole by now, and what is left at the end; None when it has ended."""
        piece = os.read(self.file.fileno(), LONGEST_LINE)
        *whole, self.held = (self.held + piece).split(b"\n")
        if self.held and (not piece or len(self.held) >= LONGEST_LINE):
            whole, self.held = [*whole, self.held], b""
        return [w.decode(errors="replace") for w in whole] if piece or whole else None


@dataclass
class Launch:
    """Running ranks. `run` returns when all have ended well; whatever happens, none outlives it."""

    ranks: Sequence[Rank]
    command: Sequence[str]
    tell: Tell
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self) -> None:
        """Start all, pass on what they say, end all as soon as one has failed.

        Raises LabError for a program that cannot be started, RunError naming the ranks that failed.
        """
        with selectors.DefaultSelector() as poll:
            try:
                for rank in self.ranks:
                    self._start(rank, poll)
                while not self._failed() and any(p.poll() is None for p in self.processes):
                    self._listen(poll, 0.1)
                failed = self._failed()
            finally:
                self._end(poll)
        if failed:
            raise RunError(f"aifab exec --ranks {len(self.ranks)}", "every rank to end with exit code 0",
                           "; ".join(failed), "the other ranks were ended; what it said is above")

    def _start(self, rank: Rank, poll: selectors.BaseSelector) -> None:
        try:
            process = subprocess.Popen(
                [*DIE_WITH_US, "nsenter", f"--net={rank.netns}", *self.command], env={**os.environ, **rank.environment},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise LabError("setpriv", "the program of util-linux", error.strerror or str(error)) from None
        self.processes.append(process)
        for name, file in (("stdout", process.stdout), ("stderr", process.stderr)):
            if file is not None:
                poll.register(file, selectors.EVENT_READ, _Stream(rank.number, name, file))

    def _listen(self, poll: selectors.BaseSelector, timeout: float) -> bool:
        """Pass on what has been said; True if there was anything."""
        if not poll.get_map():      # their outputs are closed, the programs go on
            time.sleep(timeout)
            return False
        ready = poll.select(timeout)
        for key, _ in ready:
            lines = key.data.lines()
            if lines is None:
                poll.unregister(key.fileobj)
            for line in lines or ():
                self.tell(key.data.rank, key.data.name, line)
        return bool(ready)

    def _failed(self) -> list[str]:
        return list(_failures(zip(self.ranks, [p.poll() for p in self.processes], strict=False)))

    def _end(self, poll: selectors.BaseSelector) -> None:
        """End what still runs, gently first; each rank leads a session, so its own children go with it."""
        running = [p for p in self.processes if p.poll() is None]
        for process in running:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while any(p.poll() is None for p in running) and time.monotonic() < deadline:
            self._listen(poll, 0.1)
        for process in running:
            _signal(process, signal.SIGKILL)
        while self._listen(poll, 0):        # their last words
            pass
        for process in self.processes:
            process.wait()
            for file in (process.stdout, process.stderr):
                if file is not None:
                    file.close()


def _failures(ended: Iterable[tuple[Rank, int | None]]) -> Iterable[str]:
    """What became of the ranks that did not end well; a code of None still runs."""
    for rank, code in ended:
        if code is not None and code < 0:
            yield f"rank {rank.number} on {rank.host} was killed by {signal.Signals(-code).name}"
        elif code:
            yield f"rank {rank.number} on {rank.host} ended with exit code {code}"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the process group that this rank leads."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
