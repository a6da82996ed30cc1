"""The life of a process with an event loop that carries a phase's traffic: signals, protocol, exit code.

    stdout  {"event": "ready", ...} when connections stand; then a line on stdin starts the traffic
            {"event": "error", "where", "expected", "found", "hint"}        exit 1
            {"event": "done"}                                               exit 0
    SIGTERM, SIGINT, end of stdin before the start, death of the parent: records kept, exit 130
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from topologies.model.errors import LabError
from topologies.model.inventory import Inventory
from traffic.engine.namespaces import die_with_parent, run_beside_switches
from traffic.engine.session import Interrupted
from traffic.runtime.protocol import INTERRUPTED, emit, error_event, go_line
from traffic.runtime.records import RecordWriter


class PhaseJob(Protocol):
    """What every job names."""

    @property
    def inventory(self) -> Path: ...

    @property
    def records(self) -> Path: ...


class PhaseSession(Protocol):
    """One phase's traffic."""

    def interrupt(self, reason: str) -> None: ...
    async def connect(self) -> None: ...
    async def wait(self, go: asyncio.Future[None]) -> None: ...
    async def run(self) -> None: ...
    def close(self) -> None: ...


J = TypeVar("J", bound=PhaseJob)
S = TypeVar("S", bound=PhaseSession)


def command_line(arguments: list[str], module: str, read: Callable[[Path], J],
                 session: Callable[[J, Inventory, RecordWriter], S],
                 ready: Callable[[S], dict[str, Any]] = lambda _: {}) -> int:
    """`python -m MODULE JOB.json`; the exit code. ready: what else is reported when the connections stand."""
    die_with_parent(signal.SIGTERM)
    try:
        if len(arguments) != 1:
            raise LabError(f"python -m {module}", "one argument, a job as JSON", f"{len(arguments)}")
        job = read(Path(arguments[0]))
        inventory = Inventory.read(job.inventory)
        run_beside_switches()
        with RecordWriter(job.records) as writer:
            asyncio.run(_phase(lambda: session(job, inventory, writer), ready))
    except LabError as error:
        emit(error_event(error))
        return 1
    except (Interrupted, EOFError):
        return INTERRUPTED
    emit({"event": "done"})
    return 0


async def _phase(make: Callable[[], S], ready: Callable[[S], dict[str, Any]]) -> None:
    session = make()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, session.interrupt, signal.Signals(number).name)
    try:
        await session.connect()
        go = go_line(loop)
        emit({"event": "ready", **ready(session)})
        await session.wait(go)
        await session.run()
    finally:
        session.close()
