"""One phase of traffic on an event loop: connections, go, everything at once, the end.

    Session(..) ──> connect ──> until_end(go) ──> run ──> close
                       │                           │
                       └── fail, interrupt: the first one ends the phase, and every record is kept
"""

from __future__ import annotations

import asyncio
import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import ClassVar

from topologies.access.events import Progress, Standing, emit
from topologies.model.errors import RunError, SpecError, SpecErrors
from topologies.model.inventory import Inventory
from traffic.runtime.interfaces import InterfaceWatch
from traffic.runtime.job import PhaseJob
from traffic.runtime.records import InterruptedRecord, LatenessRecord, LatenessRunRecord, RecordWriter
from traffic.runtime.timers import Heartbeat, Lateness, Timers
from traffic.transports.base import Host
from traffic.transports.tcp.settings import prepare_namespace

PROGRESS_EVERY = 0.25   # seconds


class Interrupted(Exception):  # noqa: N818 - a wish, not an error
    """Somebody outside wants the phase to end."""


def hosts_of(names: Iterable[str], inventory: Inventory) -> dict[str, Host]:
    """The hosts that workloads use, by name. Raises SpecErrors naming those that do not exist."""
    wanted = sorted(set(names))
    unknown = [name for name in wanted if name not in inventory.netns or not inventory.fabric.host(name).ip]
    if unknown:
        known = ", ".join(h.name for h in inventory.fabric.all_hosts)
        raise SpecErrors([SpecError("workload hosts", f"hosts of the lab: {known[:300]}", ", ".join(unknown))])
    return {name: Host(name, inventory.fabric.host(name).ip, inventory.netns_path(name)) for name in wanted}


class Session(ABC):
    """Runs a job. Whatever happens, `close` leaves every record on disk.

    process           its name in records and in the verdict
    records_per_beat  encoded in one go every 10 ms: well under a millisecond of work
    """

    process: ClassVar[str]
    records_per_beat: ClassVar[int]

    def __init__(self, job: PhaseJob, hosts: Mapping[str, Host], inventory: Inventory, writer: RecordWriter) -> None:
        self._phase, self._t0, self._writer = job.phase, job.t0, writer
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._escaped)
        for name in hosts:
            writer.write(prepare_namespace(inventory.netns[name], inventory.fabric.spec.tcp, name))
        self._timers = Timers(self._loop)
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._heartbeat: Heartbeat | None = None
        self._watch = InterfaceWatch(self._loop, list(hosts.values()), self._interface_down)

    # -- what a session of a sort does ---------------------------------------------------------------

    @abstractmethod
    async def connect(self) -> None:
        """Have stand what must before traffic starts. Raises LabError."""

    def standing(self) -> Sequence[Standing]:
        """The connections whose ways through the fabric are asked before traffic starts."""
        return ()

    @abstractmethod
    def _begin(self, now: float) -> None:
        """Start everything. now: time.monotonic()"""

    @abstractmethod
    def _progress(self) -> Iterable[Progress]:
        """How far each workload is."""

    def _halt(self) -> None:  # noqa: B027 - nothing, unless a sort says otherwise
        """Start nothing more; twice is fine."""

    @abstractmethod
    def _release(self) -> None:
        """Close all sockets, and write the last records."""

    # -- the life of a phase -------------------------------------------------------------------------

    async def until_end(self, work: Awaitable[None]) -> None:
        """Wait for `work`, or for a failure that comes first."""
        task = asyncio.ensure_future(work)
        await asyncio.wait((task, self._end), return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._end
        await task

    async def run(self) -> None:
        """Start everything and wait for the end. Raises LabError or Interrupted."""
        gc.collect()
        gc.freeze()
        gc.disable()        # a collection is a pause of milliseconds; nothing here lives in cycles
        now = time.monotonic()
        self._heartbeat = Heartbeat(self._timers, self._beat, self._second)
        self._timers.at(now + PROGRESS_EVERY, self._tick)
        self._begin(now)
        await self._end
        self._show_progress()

    def over(self) -> None:
        """End the phase: all that was asked has been done."""
        if not self._end.done():
            self._end.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the phase with an error; only the first one counts."""
        if not self._end.done():
            self._end.set_exception(error)
            self._halt()

    def interrupt(self, reason: str) -> None:
        """End the phase because somebody wants it."""
        if not self._end.done():
            self._writer.write(InterruptedRecord(phase=self._phase, t=time.monotonic() - self._t0, reason=reason))
        self.fail(Interrupted(reason))

    def close(self) -> None:
        """Close all sockets and put the last records on disk. Raises LabError where the disk is full."""
        self._halt()
        if self._heartbeat is not None:     # closing takes its time, which is nobody's lateness
            lateness = self._heartbeat.stop()
            self._writer.write(LatenessRunRecord(
                phase=self._phase, n=lateness.n, p50=lateness.p50, p99=lateness.p99, max=lateness.max,
                process=self.process))
        self._release()
        self._watch.close()
        self._timers.close()
        gc.enable()
        gc.unfreeze()
        self._writer.flush()

    # -- what happens meanwhile ----------------------------------------------------------------------

    def _interface_down(self, host: Host, interface: str) -> None:
        self.fail(RunError(f"host {host.name}", "its interface to stay up during the run", f"{interface} went down",
                           "records up to now are kept; bring it up and run again"))

    def _escaped(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """An exception in a callback ends the phase; it must not be a line in a log."""
        error = context.get("exception")
        self.fail(error if isinstance(error, BaseException) else RuntimeError(context["message"]))

    def _beat(self) -> None:
        self._writer.pump(self.records_per_beat)

    def _second(self, lateness: Lateness) -> None:
        t = time.monotonic() - self._t0
        self._writer.write(LatenessRecord(
            phase=self._phase, t=t, n=lateness.n, p50=lateness.p50, p99=lateness.p99, max=lateness.max,
            process=self.process))
        self._writer.write_out()

    def _tick(self) -> None:
        self._show_progress()
        self._timers.at(time.monotonic() + PROGRESS_EVERY, self._tick)

    def _show_progress(self) -> None:
        for progress in self._progress():
            emit(progress)
