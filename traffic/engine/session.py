"""One phase of the engine's workloads, all at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from topologies.access.events import Iteration, Progress, Standing, emit
from topologies.access.process import allow_files
from topologies.model.inventory import Inventory
from traffic.engine.channels import channels
from traffic.engine.execution import Callbacks, Execution
from traffic.engine.job import Job
from traffic.engine.reporting import Reporter
from traffic.runtime.records import EngineRecord, RecordWriter
from traffic.runtime.session import Session, hosts_of
from traffic.transports.opening import connect_all
from traffic.transports.registry import Networks

SPARE_FILES = 1024


class EngineSession(Session):
    """Runs a job of the engine."""

    process, records_per_beat = "engine", 50

    def __init__(self, job: Job, inventory: Inventory, writer: RecordWriter) -> None:
        programs = job.programs()
        hosts = hosts_of((name for p in programs for name in p.workload.hosts), inventory)
        super().__init__(job, hosts, inventory, writer)
        self._networks = Networks(self._loop, hosts)
        self._executions = [
            Execution(p, self._timers, Reporter(p, job.phase, job.t0, writer), self._callbacks(p.workload.name))
            for p in programs]
        for e in self._executions:
            network = self._networks.of(e.program.workload.transport)
            e.use(channels(e.program, network, job.seed, job.phase, e.broken))
        self._unfinished = len(self._executions)
        self._wall = self._cpu = 0.0

    def _callbacks(self, name: str) -> Callbacks:
        return Callbacks(partial(self._iteration, name), self._finished, self.fail)

    async def connect(self) -> None:
        """Stand all connections that do not open on demand. Raises LabError."""
        wanted = [w for e in self._executions for w in e.channels.wanted()]
        allow_files(2 * len(wanted) + 2 * len(self._networks.hosts) + SPARE_FILES, "the connections of this run",
                    "fewer ranks or flows_per_pair")
        for e in self._executions:
            network = self._networks.of(e.program.workload.transport)
            for _, server in e.program.pairs():
                network.listen(network.hosts[e.program.workload.hosts[server]])
        limit = max(e.program.workload.timeout for e in self._executions)
        await self.until_end(connect_all(wanted, limit))

    def standing(self) -> list[Standing]:
        return [c for e in self._executions for c in e.channels.standing()]

    def _begin(self, now: float) -> None:
        self._wall, self._cpu = now, time.process_time()
        for e in self._executions:
            self._sweep(e)
            e.start()

    def _sweep(self, e: Execution) -> None:
        timeout = e.program.workload.timeout
        e.find_stalled()
        self._timers.at(time.monotonic() + min(max(timeout / 8, 0.05), 5.0), partial(self._sweep, e))

    def _halt(self) -> None:
        for e in self._executions:
            e.stop()

    def _release(self) -> None:
        if self._wall:
            self._writer.write(EngineRecord(
                phase=self._phase, start=self._wall - self._t0, end=time.monotonic() - self._t0,
                cpu_seconds=time.process_time() - self._cpu, bytes=sum(e.done_bytes for e in self._executions)))
        for e in self._executions:
            for record in e.channels.close():
                self._writer.write(record)
        self._networks.close()

    def _iteration(self, name: str, number: int, seconds: float) -> None:
        emit(Iteration(name, number, round(seconds, 6)))

    def _finished(self) -> None:
        self._unfinished -= 1
        if not self._unfinished:
            self.over()

    def _progress(self) -> Iterator[Progress]:
        for e in self._executions:
            yield Progress(e.program.workload.name, e.done_bytes, e.total_bytes)
