"""The life of a process that carries a phase's traffic: job, signals, protocol, exit code.

    stdout  ready when connections stand; then a line on stdin starts the traffic (topologies/access/events.py)
            error, exit 1; done, exit 0
    SIGTERM, SIGINT, end of stdin before the start, death of the parent: records kept, exit 130
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from topologies.access.events import Done, Failed, Ready, emit
from topologies.access.process import die_with_parent
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory
from traffic.runtime.job import PhaseJob
from traffic.runtime.protocol import INTERRUPTED, go_line
from traffic.runtime.records import RecordWriter
from traffic.runtime.session import Interrupted, Session

J = TypeVar("J", bound=PhaseJob)


def run_job(arguments: list[str], module: str, model: type[J], work: Callable[[J, Inventory], int]) -> int:
    """`python -m MODULE JOB.json`; the exit code, which is that of `work` unless it raises LabError."""
    die_with_parent()
    try:
        if len(arguments) != 1:
            raise LabError(f"python -m {module}", "one argument, a job as JSON", f"{len(arguments)}")
        job = model.read(Path(arguments[0]))
        return work(job, Inventory.read(job.inventory))
    except LabError as error:
        emit(Failed.of(error))
        return 1


def run_session(arguments: list[str], module: str, model: type[J],
                session: Callable[[J, Inventory, RecordWriter], Session]) -> int:
    """The same for traffic on an event loop."""
    def work(job: J, inventory: Inventory) -> int:
        _run_beside_switches()
        try:
            with RecordWriter(job.records) as writer:
                asyncio.run(_phase(lambda: session(job, inventory, writer)))
        except (Interrupted, EOFError):
            return INTERRUPTED
        emit(Done())
        return 0
    return run_job(arguments, module, model, work)


async def _phase(make: Callable[[], Session]) -> None:
    session = make()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, session.interrupt, signal.Signals(number).name)
    try:
        await session.connect()
        go = go_line(loop)
        emit(Ready(connections=session.standing()))
        await session.until_end(go)
        await session.run()
    finally:
        session.close()


def _run_beside_switches() -> None:
    """Give this process the priority of the switches, where that is allowed.

    It stands for the hosts, which have processors of their own; behind the switches it would wait for
    them (docs/decisions/015-switches-run-first.md).
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
