"""One phase of serving: its requests from the first that is due to the last answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from topologies.access.events import Progress
from topologies.access.process import allow_files
from topologies.model.inventory import Inventory
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
from traffic.runtime.records import Record, RecordWriter
from traffic.runtime.session import Session, hosts_of
from traffic.runtime.timers import Timers
from traffic.transports.base import Network, Options
from traffic.transports.tcp.network import TcpNetwork

FILES = 8192                # sockets of requests that are open at the same time
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
            workload=self.serving.name, phase=self._job.phase, replica=replica, batch=step.batch, tokens=tokens,
            decoding=step.decoding, start=step.start - t0, end=end - t0, compute=step.compute, fabric=step.fabric,
            waited=step.waited, idle=parallel.idle_seconds(replica, tokens), part=parallel.part_size(tokens),
            train=parallel.train_size(tokens)))

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


class ServingSession(Session):
    """Runs a job of serving."""

    process, records_per_beat = "inference", 20

    def __init__(self, job: ServingJob, inventory: Inventory, writer: RecordWriter) -> None:
        hosts = hosts_of((name for s in job.workloads for name in s.hosts), inventory)
        super().__init__(job, hosts, inventory, writer)
        self._network = TcpNetwork(self._loop, hosts)
        self._runtimes = {s.name: Runtime(s, self._network, self._timers, job, writer.write, self._finished)
                          for s in job.workloads}

    async def connect(self) -> None:
        """One connection of each pair stands before traffic starts; more open on demand. Raises LabError."""
        allow_files(FILES, "the connections of requests", "fewer requests at the same time")
        for r in self._runtimes.values():
            for _, server in r.serving.pairs:
                self._network.listen(self._network.hosts[server])
        for r in self._runtimes.values():
            await warm(r.links, r.serving.pairs, READY)
            for workers in r.workers.values():
                workers.hold()

    def _begin(self, now: float) -> None:
        for r in self._runtimes.values():
            spec, scale = r.serving.spec, r.serving.time
            self._writer.write(ServingSetupRecord(
                workload=r.serving.name, phase=self._phase, routing=spec.routing, slo_ttft=spec.slo_ttft * scale,
                slo_tpot=spec.slo_tpot * scale, gateway=r.serving.gateway))
            r.start(now)

    def _release(self) -> None:
        for r in self._runtimes.values():
            for replica in r.replicas.values():
                self._writer.write(replica.record(self._phase, self._t0))
            if r.carrier is not None:
                r.carrier.close()
            for record in r.links.close():
                self._writer.write(record)
        self._network.close()

    def _finished(self) -> None:
        if not any(r.left for r in self._runtimes.values()):
            self.over()

    def _progress(self) -> Iterator[Progress]:
        for name, r in self._runtimes.items():
            yield Progress(name, r.links.meter.bytes, r.total)
