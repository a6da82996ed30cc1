"""One phase: connections, go, all workloads at once, the end; its events go to `emit`."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from topologies.model.errors import RunError
from topologies.model.inventory import Inventory
from traffic.engine.channels import Standing, channels
from traffic.engine.execution import Callbacks, Execution
from traffic.engine.job import Job, hosts_of
from traffic.engine.namespaces import allow_descriptors
from traffic.engine.reporting import Reporter
from traffic.engine.timers import Heartbeat, Lateness, Timers
from traffic.engine.watch import InterfaceWatch
from traffic.runtime.records import EngineRecord, InterruptedRecord, LatenessRecord, LatenessRunRecord, RecordWriter
from traffic.transports.base import Host
from traffic.transports.opening import connect_all
from traffic.transports.registry import Networks
from traffic.transports.tcp.settings import prepare_namespace

Emit = Callable[[dict[str, Any]], None]

PROGRESS_EVERY = 0.25   # seconds
RECORDS_PER_BEAT = 50   # encoded in one go: well under a millisecond
SPARE_DESCRIPTORS = 1024


class Interrupted(Exception):  # noqa: N818 - a wish, not an error
    """Somebody outside wants the phase to end."""


class Session:
    """Runs a job. Whatever happens, `close` leaves every record on disk."""

    def __init__(self, job: Job, inventory: Inventory, emit: Emit, writer: RecordWriter) -> None:
        self._job, self._emit, self._writer = job, emit, writer
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._escaped)
        programs = job.programs()
        hosts = hosts_of(programs, inventory)
        self._prepare_hosts(hosts, inventory)
        self._timers = Timers(self._loop)
        self._networks = Networks(self._loop, hosts)
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._executions = [
            Execution(p, self._timers, Reporter(p, job.phase, job.t0, writer), self._callbacks(p.workload.name))
            for p in programs]
        for e in self._executions:
            network = self._networks.of(e.program.workload.transport)
            e.use(channels(e.program, network, job.seed, job.phase, e.broken))
        self._unfinished = len(self._executions)
        self._heartbeat: Heartbeat | None = None
        self._watch = InterfaceWatch(self._loop, list(hosts.values()), self._interface_down)
        self._wall = self._cpu = 0.0

    def _prepare_hosts(self, hosts: dict[str, Host], inventory: Inventory) -> None:
        for name in hosts:
            self._writer.write(prepare_namespace(inventory.netns[name], inventory.fabric.spec.tcp, name))

    def _callbacks(self, name: str) -> Callbacks:
        return Callbacks(partial(self._iteration, name), self._finished, self.fail)

    # -- before and after the traffic ---------------------------------------------------------------

    async def connect(self) -> None:
        """Stand all connections that do not open on demand. Raises LabError."""
        wanted = [w for e in self._executions for w in e.channels.wanted()]
        allow_descriptors(2 * len(wanted) + 2 * len(self._networks.hosts) + SPARE_DESCRIPTORS)
        for e in self._executions:
            network = self._networks.of(e.program.workload.transport)
            for _, server in e.program.pairs():
                network.listen(network.hosts[e.program.workload.hosts[server]])
        limit = max(e.program.workload.timeout for e in self._executions)
        await self._until_end(connect_all(wanted, limit))

    def standing(self) -> list[Standing]:
        """The connections that stand."""
        return [c for e in self._executions for c in e.channels.standing()]

    async def run(self) -> None:
        """Start everything and wait for the end. Raises LabError or Interrupted."""
        gc.collect()
        gc.freeze()
        gc.disable()        # a collection is a pause of milliseconds; nothing here lives in cycles
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._heartbeat = Heartbeat(self._timers, self._beat, self._second)
        self._timers.at(self._wall + PROGRESS_EVERY, self._progress)
        for e in self._executions:
            self._sweep(e)
            e.start()
        await self._end
        self._show_progress()

    async def _until_end(self, work: Awaitable[None]) -> None:
        """Wait for `work`, or for a failure that comes first."""
        task = asyncio.ensure_future(work)
        await asyncio.wait((task, self._end), return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._end
        await task

    async def wait(self, go: asyncio.Future[None]) -> None:
        """Wait for `go`, or for a failure that comes first."""
        await self._until_end(go)

    def close(self) -> None:
        """Close all sockets and put the last records on disk. Raises LabError where the disk is full."""
        for e in self._executions:
            e.stop()
        if self._heartbeat is not None:     # closing takes its time, which is nobody's lateness
            self._summarise(self._heartbeat.stop())
        for e in self._executions:
            for reported in e.channels.close():
                self._writer.write(reported)
        self._networks.close()
        self._watch.close()
        self._timers.close()
        gc.enable()
        gc.unfreeze()
        self._writer.flush()

    def _summarise(self, lateness: Lateness) -> None:
        now, job = time.monotonic(), self._job
        self._writer.write(LatenessRunRecord(job.phase, lateness.n, lateness.p50, lateness.p99, lateness.max))
        self._writer.write(EngineRecord(job.phase, self._wall - job.t0, now - job.t0, time.process_time() - self._cpu,
                                        sum(e.done_bytes for e in self._executions)))

    # -- what happens meanwhile ---------------------------------------------------------------------

    def _iteration(self, name: str, number: int, seconds: float) -> None:
        self._emit({"event": "iteration", "workload": name, "iteration": number, "seconds": round(seconds, 6)})

    def _finished(self) -> None:
        self._unfinished -= 1
        if not self._unfinished and not self._end.done():
            self._end.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the phase with an error; only the first one counts."""
        if not self._end.done():
            self._end.set_exception(error)
            for e in self._executions:
                e.stop()

    def interrupt(self, reason: str) -> None:
        """End the phase because somebody wants it."""
        if not self._end.done():
            self._writer.write(InterruptedRecord(self._job.phase, time.monotonic() - self._job.t0, reason))
        self.fail(Interrupted(reason))

    def _interface_down(self, host: Host, interface: str) -> None:
        self.fail(RunError(f"host {host.name}", "its interface to stay up during the run", f"{interface} went down",
                           "records up to now are kept; bring it up and run again"))

    def _escaped(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception in a callback ends the phase; it must not be a line in a log."""
        self.fail(context.get("exception") or RuntimeError(context["message"]))

    def _beat(self) -> None:
        self._writer.pump(RECORDS_PER_BEAT)

    def _second(self, lateness: Lateness) -> None:
        t = time.monotonic() - self._job.t0
        self._writer.write(LatenessRecord(self._job.phase, t, lateness.n, lateness.p50, lateness.p99, lateness.max))
        self._writer.write_out()

    def _sweep(self, e: Execution) -> None:
        timeout = e.program.workload.timeout
        e.find_stalled()
        self._timers.at(time.monotonic() + min(max(timeout / 8, 0.05), 5.0), partial(self._sweep, e))

    def _progress(self) -> None:
        self._show_progress()
        self._timers.at(time.monotonic() + PROGRESS_EVERY, self._progress)

    def _show_progress(self) -> None:
        for e in self._executions:
            self._emit({"event": "progress", "workload": e.program.workload.name, "done": e.done_bytes,
                        "total": e.total_bytes})
