"""iperf3 between hosts: calibration, and bulk flows in the background.

python -m traffic.transports.iperf JOB.json speaks as the engine does (traffic.runtime.protocol): ready when the servers
listen, a line on stdin starts the clients, then progress (in milliseconds), error or done.

    {"inventory": path, "t0": seconds of CLOCK_MONOTONIC, "records": path (appended), "phase": name,
     "bulks": {name: a BulkSpec as JSON, ...}}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial

from pydantic import Field, model_validator

from topologies.access.events import Done, Progress, Ready, emit
from topologies.access.process import die_with_parent
from topologies.model.errors import HostError, RunError, Violation, Violations
from topologies.model.inventory import Inventory
from topologies.model.scale import Scale
from topologies.model.spec import FabricSpec
from traffic.runtime.command import run_job
from traffic.runtime.job import PhaseJob
from traffic.runtime.protocol import INTERRUPTED, go_line
from traffic.runtime.records import InterruptedRecord, IperfRecord, Record, RecordWriter
from traffic.runtime.session import Interrupted
from traffic.transports.tcp import TCP
from traffic.transports.tcp.settings import prepare_namespace
from traffic.workloads.specs import BulkSpec

FIRST_PORT = 5201
MAX_PAIRS = 256         # transfers of a phase: two processes each, and ports below the engine's
MAX_SECONDS = 86_400    # iperf3's own limit of --time (MAX_TIME in iperf.h)
SERVER_START = 10.0     # seconds
GRACE = 30.0            # seconds that a client may take beyond its duration
STOP = 2.0              # seconds between SIGTERM and SIGKILL
PROGRESS_EVERY = 0.25   # seconds


@dataclass(frozen=True, slots=True)
class Pair:
    """One iperf3 transfer: `connections` at once to the server's `port`, for `seconds`, of which iperf3 knows
    whole ones only: they are rounded up."""

    src: str
    dst: str
    seconds: float
    connections: int
    congestion_control: str
    port: int = FIRST_PORT
    dscp: int = 0
    workload: str = "iperf"

    @property
    def whole_seconds(self) -> int:
        return whole_seconds(self.seconds)


def whole_seconds(seconds: float) -> int:
    """Rounded up, at least 1: to iperf3, 0 is for ever."""
    return max(math.ceil(seconds), 1)


class Job(PhaseJob):
    """A job as it is written."""

    what = "a job of bulk flows"
    bulks: dict[str, BulkSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _iperf3_can(self) -> Job:
        violations = [Violation(("bulks", name, "duration"), f"at most {MAX_SECONDS:,} s, which is as long as iperf3 "
                                                             f"runs",
                                f"{whole_seconds(spec.duration):,} s") for name, spec in self.bulks.items()
                      if whole_seconds(spec.duration) > MAX_SECONDS]
        most = max(self.bulks, key=lambda name: len(self.bulks[name].pairs))
        if (count := sum(len(spec.pairs) for spec in self.bulks.values())) > MAX_PAIRS:
            violations.append(Violation(("bulks", most, "pairs"), f"at most {MAX_PAIRS} bulk transfers at the same "
                                                                  f"time",
                                        str(count)))
        if violations:
            raise Violations(violations)
        return self

    def pairs(self, fabric: FabricSpec) -> list[Pair]:
        """Every transfer, each with a port of its own."""
        wanted = [(name, spec, src, dst) for name, spec in self.bulks.items() for src, dst in spec.pairs]
        return [Pair(src, dst, spec.duration, spec.connections,
                     spec.congestion_control or TCP.congestion_control(fabric), FIRST_PORT + i,
                     fabric.dscp_of(spec.traffic_class), name)
                for i, (name, spec, src, dst) in enumerate(wanted)]


def bulks_of(specs: Mapping[str, BulkSpec], scale: Scale) -> dict[str, BulkSpec]:
    """The bulks of a phase with their durations in emulated seconds."""
    return {name: spec.model_copy(update={"duration": scale.to_emulated_time(spec.duration)})
            for name, spec in specs.items()}


def _command(inventory: Inventory, host: str, *words: str) -> list[str]:
    """iperf3 in a host's namespace; nsenter becomes iperf3, so the pid of the one is that of the other."""
    program = shutil.which("iperf3")
    if program is None:
        raise HostError("iperf3", "the program iperf3", "not installed", "apt-get install iperf3")
    return ["nsenter", f"--net={inventory.netns_path(host)}", program, *words]


@contextlib.asynccontextmanager
async def _process(command: list[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is gone when the block ends."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, limit=1 << 24,
        preexec_fn=partial(die_with_parent, signal.SIGKILL))
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP)


@contextlib.asynccontextmanager
async def serving(inventory: Inventory, pair: Pair) -> AsyncIterator[None]:
    """An iperf3 server for one transfer listens on the pair's dst. Raises RunError if it does not come up."""
    ip = inventory.fabric.host(pair.dst).ip
    command = _command(inventory, pair.dst, "--server", "--one-off", "--bind", ip, "--port", str(pair.port),
                       "--forceflush")
    async with _process(command) as server:
        where = f"iperf3 server on host {pair.dst}"
        try:
            await asyncio.wait_for(_listening(server, where), SERVER_START)
        except TimeoutError:
            raise RunError(where, f"it to listen within {SERVER_START:g} s", "nothing from it") from None
        yield


async def _listening(server: asyncio.subprocess.Process, where: str) -> None:
    assert server.stdout is not None  # noqa: S101 - we asked for a pipe
    async for line in server.stdout:
        if line.startswith(b"Server listening"):
            return
    assert server.stderr is not None  # noqa: S101
    said = (await server.stderr.read()).decode().strip()
    raise RunError(where, "it to listen", said or f"its end with code {await server.wait()}")


async def transfer(inventory: Inventory, pair: Pair, t0: float, phase: str) -> IperfRecord:
    """Run the client of a pair whose server is up. Raises RunError naming both hosts."""
    src, dst = inventory.fabric.host(pair.src).ip, inventory.fabric.host(pair.dst).ip
    command = _command(
        inventory, pair.src, "--client", dst, "--bind", src, "--port", str(pair.port),
        "--time", str(pair.whole_seconds), "--parallel", str(pair.connections),
        "--congestion", pair.congestion_control, "--dscp", str(pair.dscp), "--json")
    start = time.monotonic()
    async with _process(command) as client:
        try:
            out, _ = await asyncio.wait_for(client.communicate(), pair.whole_seconds + GRACE)
        except TimeoutError:
            raise RunError(f"iperf3 {pair.src} -> {pair.dst}", f"an end within {pair.whole_seconds + GRACE:g} s",
                           "none", f"is a link down between {pair.src} and {pair.dst}?") from None
    return parse(out.decode(), pair, start - t0, phase)


def parse(text: str, pair: Pair, start: float, phase: str) -> IperfRecord:
    """iperf3's --json output -> a record. Raises RunError with what iperf3 says is wrong."""
    where = f"iperf3 {pair.src} -> {pair.dst}"
    try:
        said = json.loads(text)
        if "error" in said:
            raise RunError(where, "a transfer", said["error"], f"is an interface of {pair.src} or {pair.dst} down?")
        received, sent = said["end"]["sum_received"], said["end"]["sum_sent"]
        return IperfRecord(
            workload=pair.workload, phase=phase, src=pair.src, dst=pair.dst, start=start,
            seconds=float(received["seconds"]), bytes=int(received["bytes"]),
            bits_per_second=float(received["bits_per_second"]), retransmits=int(sent["retransmits"]),
            connections=pair.connections, congestion_control=pair.congestion_control)
    except (ValueError, KeyError, TypeError):
        raise RunError(where, "iperf3's results as JSON", text[-200:].strip() or "nothing") from None


async def _measured(inventory: Inventory, pair: Pair, t0: float, phase: str) -> IperfRecord:
    async with serving(inventory, pair):
        return await transfer(inventory, pair, t0, phase)


def measure(inventory: Inventory, pair: Pair, t0: float = 0.0, phase: str = "calibration") -> IperfRecord:
    """One transfer from beginning to end, for calibration. Raises LabError."""
    return asyncio.run(_measured(inventory, pair, t0, phase))


async def _phase(job: Job, inventory: Inventory, writer: RecordWriter) -> None:
    """All flows, or Interrupted with the name of a signal."""
    loop = asyncio.get_running_loop()
    flows = asyncio.create_task(_flows(job, inventory, writer))
    signals: list[str] = []

    def stop(name: str) -> None:
        signals.append(name)
        flows.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, signal.Signals(number).name)
    try:
        await flows
    except (asyncio.CancelledError, EOFError) as reason:
        text = signals[0] if signals else str(reason)
        writer.write(InterruptedRecord(phase=job.phase, t=time.monotonic() - job.t0, reason=text))
        raise Interrupted(text) from None


async def _flows(job: Job, inventory: Inventory, writer: RecordWriter) -> None:
    pairs = job.pairs(inventory.fabric.spec)
    for host in sorted({name for p in pairs for name in (p.src, p.dst)}):
        name = inventory.fabric.host(host).name
        writer.write(prepare_namespace(inventory.netns[name], inventory.fabric.spec.tcp, name))
    async with contextlib.AsyncExitStack() as servers:
        for pair in pairs:
            await servers.enter_async_context(serving(inventory, pair))
        go = go_line(asyncio.get_running_loop())
        emit(Ready())
        await go
        clients = [asyncio.create_task(_recorded(inventory, p, job, writer)) for p in pairs]
        ticker = asyncio.create_task(_progress(job))
        try:
            await asyncio.gather(*clients)
        finally:
            for running in (ticker, *clients):
                running.cancel()
            await asyncio.gather(ticker, *clients, return_exceptions=True)


async def _recorded(inventory: Inventory, pair: Pair, job: Job, writer: RecordWriter) -> None:
    record: Record = await transfer(inventory, pair, job.t0, job.phase)
    writer.write(record)
    writer.flush()


async def _progress(job: Job) -> None:
    """Milliseconds stand in for bytes: iperf3 tells its bytes at the end only."""
    start = time.monotonic()
    while True:
        passed = time.monotonic() - start
        for name, spec in job.bulks.items():
            total = whole_seconds(spec.duration)
            emit(Progress(name, round(1000 * min(passed, total)), 1000 * total))
        await asyncio.sleep(PROGRESS_EVERY)


def _work(job: Job, inventory: Inventory) -> int:
    with RecordWriter(job.records) as writer:
        try:
            asyncio.run(_phase(job, inventory, writer))
        except Interrupted:
            return INTERRUPTED
    emit(Done())
    return 0


if __name__ == "__main__":
    sys.exit(run_job(sys.argv[1:], "traffic.transports.iperf", Job, _work))
