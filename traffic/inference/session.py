"""One phase of serving: connections, go, requests, the end; its events go to `emit`."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from topologies.model.errors import RunError, SpecError, SpecErrors
from topologies.model.inventory import Inventory
from traffic.engine.namespaces import allow_descriptors
from traffic.engine.session import Interrupted
from traffic.engine.timers import Heartbeat, Lateness, Timers
from traffic.engine.watch import InterfaceWatch
from traffic.inference.client import Clients, Exchange
from traffic.inference.gateway import Gateway
from traffic.inference.kv.carrier import Carrier
from traffic.inference.links import Links, warm
from traffic.inference.parallel import Parallel
from traffic.inference.plan import Serving, ServingJob
from traffic.inference.records import ServingSetupRecord, StepRecord
from traffic.inference.replica import Replica, Roofed
from traffic.inference.tasks import Agents, TaskRun
from traffic.inference.tools import ToolCall
from traffic.inference.workers import Pass, Workers
from traffic.runtime.records import InterruptedRecord, LatenessRecord, LatenessRunRecord, Record, RecordWriter
from traffic.transports.base import Host, Network, Options
from traffic.transports.tcp.network import TcpNetwork
from traffic.transports.tcp.settings import prepare_namespace

Emit = Callable[[dict[str, Any]], None]

PROCESS = "inference"       # its name in records and in the verdict
PROGRESS_EVERY = 0.25       # seconds
RECORDS_PER_BEAT = 20       # encoded in one go
DESCRIPTORS = 8192          # sockets of requests that are open at the same time
READY = 30.0                # seconds for a connection of each pair to stand


class Runtime:
    """One workload while it runs. `over` is called when all that it was asked has ended."""

    def __init__(self, serving: Serving, network: Network, timers: Timers, job: ServingJob,
                 write: Callable[[Record], None], over: Callable[[], None]) -> None:
        self.serving, self._timers, self._job, self._write, self._over = serving, timers, job, write, over
        self.links = Links(network, serving.name, job.phase, job.seed,
                           Options(serving.congestion_control, serving.dscp))
        self.workers = self._spread(serving.parallel) if serving.parallel else {}
        store = serving.spec.store
        self.carrier = Carrier(serving, store, self.links, job.phase, job.t0, write) if store is not None else None
        self.replicas = {name: Replica(name, serving, self.workers.get(name) or Roofed(timers), timers, self.carrier)
                         for name in serving.workers}
        self.gateway = Gateway(serving, self.replicas, self.links, job.seed)
        self.clients = Clients(serving, self.gateway, self.links, timers, self._exchange_over)
        self.agents = Agents(serving, self.clients, self.links, timers, self._tool_over, self._task_over)
        self.total = serving.planned_bytes
        self.left = len(serving.tasks) or len(serving.requests)

    def _spread(self, parallel: Parallel) -> dict[str, Workers]:
        """The workers of each replica."""
        return {name: Workers(name, parallel, self._timers, self.links, partial(self._step_over, name, parallel),
                              partial(self._broken, name)) for name in parallel.stages}

    def start(self, when: float) -> None:
        """Requests and failures from `when` on; with any of its workers a replica dies."""
        self.clients.start(when)
        self.agents.start(when)
        for name, after in self.serving.spec.failures:
            self._timers.at(when + after * self.serving.time, partial(self._kill, name))

    def _kill(self, host: str) -> None:
        """The replica, the tool servers and the store on a host die."""
        for name, hosts in self.serving.workers.items():
            if host in hosts:
                self.gateway.kill(name)
        self.agents.tools.kill(host)
        if self.carrier is not None:
            self.carrier.kill(host)

    def _broken(self, replica: str) -> None:
        """A connection between its workers broke: it is dead."""
        self.gateway.kill(replica)

    def _step_over(self, replica: str, parallel: Parallel, step: Pass, end: float) -> None:
        t0, tokens = self._job.t0, step.tokens
        self._write(StepRecord(
            self.serving.name, self._job.phase, replica, step.batch, tokens, step.decoding, step.start - t0, end - t0,
            step.compute, step.fabric, step.waited, parallel.idle_seconds(replica, tokens),
            parallel.part_size(tokens), parallel.train_size(tokens)))

    def _exchange_over(self, exchange: Exchange) -> None:
        self._write(exchange.record(self._job.phase, self._job.t0))
        if exchange.request.task < 0:
            self._one_less()
        else:
            self.agents.ended(exchange)

    def _tool_over(self, call: ToolCall) -> None:
        self._write(call.record(self.serving.name, self._job.phase, self._job.t0))

    def _task_over(self, task: TaskRun) -> None:
        self._write(task.record(self.serving.name, self._job.phase, self._job.t0))
        self._one_less()

    def _one_less(self) -> None:
        self.left -= 1
        if not self.left:
            self._over()


class Session:
    """Runs a job. Whatever happens, `close` leaves every record on disk."""

    def __init__(self, job: ServingJob, inventory: Inventory, emit: Emit, writer: RecordWriter) -> None:
        self._job, self._emit, self._writer = job, emit, writer
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._escaped)
        hosts = hosts_of(job, inventory)
        for name in hosts:
            writer.write(prepare_namespace(inventory.netns[name], inventory.fabric.spec.tcp, name))
        self._timers = Timers(self._loop)
        self._network = TcpNetwork(self._loop, hosts)
        self._end: asyncio.Future[None] = self._loop.create_future()
        self._runtimes = {s.name: Runtime(s, self._network, self._timers, job, writer.write, self._over)
                          for s in job.workloads}
        self._heartbeat: Heartbeat | None = None
        self._watch = InterfaceWatch(self._loop, list(hosts.values()), self._interface_down)

    async def connect(self) -> None:
        """One connection of each pair stands before traffic starts; more open on demand. Raises LabError."""
        allow_descriptors(DESCRIPTORS)
        for r in self._runtimes.values():
            for _, server in r.serving.pairs:
                self._network.listen(self._network.hosts[server])
        for r in self._runtimes.values():
            await warm(r.links, r.serving.pairs, READY)
            for workers in r.workers.values():
                workers.hold()

    async def run(self) -> None:
        """Start everything and wait for the end. Raises LabError or Interrupted."""
        gc.collect()
        gc.freeze()
        gc.disable()
        now = time.monotonic()
        self._heartbeat = Heartbeat(self._timers, self._beat, self._second)
        self._timers.at(now + PROGRESS_EVERY, self._progress)
        for r in self._runtimes.values():
            spec, scale = r.serving.spec, r.serving.time
            self._writer.write(ServingSetupRecord(r.serving.name, self._job.phase, spec.routing,
                                                  spec.slo_ttft * scale, spec.slo_tpot * scale, r.serving.gateway))
            r.start(now)
        await self._end
        self._show_progress()

    async def wait(self, go: asyncio.Future[None]) -> None:
        """Wait for `go`, or for a failure that comes first."""
        await asyncio.wait((go, self._end), return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            await self._end
        await go

    def close(self) -> None:
        """Close all sockets and put the last records on disk."""
        t0, phase = self._job.t0, self._job.phase
        for r in self._runtimes.values():
            for replica in r.replicas.values():
                self._writer.write(replica.record(phase, t0))
            if r.carrier is not None:
                r.carrier.close()
            for reported in r.links.close():
                self._writer.write(reported)
        if self._heartbeat is not None:
            lateness = self._heartbeat.stop()
            self._writer.write(LatenessRunRecord(phase, lateness.n, lateness.p50, lateness.p99, lateness.max, PROCESS))
        self._network.close()
        self._watch.close()
        self._timers.close()
        gc.enable()
        gc.unfreeze()
        self._writer.flush()

    # -- what happens meanwhile ---------------------------------------------------------------------

    def _over(self) -> None:
        if not any(r.left for r in self._runtimes.values()) and not self._end.done():
            self._end.set_result(None)

    def fail(self, error: BaseException) -> None:
        """End the phase with an error; only the first one counts."""
        if not self._end.done():
            self._end.set_exception(error)

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
        self._writer.write(LatenessRecord(self._job.phase, t, lateness.n, lateness.p50, lateness.p99, lateness.max,
                                          PROCESS))
        self._writer.write_out()

    def _progress(self) -> None:
        self._show_progress()
        self._timers.at(time.monotonic() + PROGRESS_EVERY, self._progress)

    def _show_progress(self) -> None:
        for name, r in self._runtimes.items():
            self._emit({"event": "progress", "workload": name, "done": r.links.meter.bytes, "total": r.total})


def hosts_of(job: ServingJob, inventory: Inventory) -> dict[str, Host]:
    """The hosts that these workloads use, by name. Raises SpecErrors naming those that do not exist."""
    wanted = sorted({name for s in job.workloads for name in s.hosts})
    unknown = [name for name in wanted if name not in inventory.netns]
    if unknown:
        known = ", ".join(h.name for h in inventory.fabric.all_hosts)
        raise SpecErrors([SpecError("workload hosts", f"hosts of the lab: {known[:300]}", ", ".join(unknown))])
    return {name: Host(name, inventory.fabric.host(name).ip, inventory.netns_path(name)) for name in wanted}
