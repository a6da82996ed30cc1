"""python -m traffic.inference JOB.json: the serving workloads of one phase, told in lines of JSON.

    stdout  {"event": "ready"}      connections stand; then a line on stdin starts the traffic
            {"event": "progress", "workload", "done", "total"}      bytes, at most 4 a second
            {"event": "error", "where", "expected", "found", "hint"}        exit 1
            {"event": "done"}                                               exit 0
    SIGTERM, SIGINT, end of stdin before the start, death of the parent: records kept, exit 130
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from topologies.errors import LabError
from topologies.inventory import Inventory
from traffic.engine.namespaces import die_with_parent, run_beside_switches
from traffic.engine.session import Interrupted
from traffic.inference.plan import ServingJob
from traffic.inference.session import Session
from traffic.protocol import INTERRUPTED, emit, error_event, go_line
from traffic.records import RecordWriter


async def _phase(job: ServingJob, inventory: Inventory, writer: RecordWriter) -> None:
    session = Session(job, inventory, emit, writer)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, session.interrupt, signal.Signals(number).name)
    try:
        await session.connect()
        go = go_line(loop)
        emit({"event": "ready"})
        await session.wait(go)
        await session.run()
    finally:
        session.close()


def main(arguments: list[str]) -> int:
    """Run the job and return the exit code."""
    die_with_parent(signal.SIGTERM)
    try:
        if len(arguments) != 1:
            raise LabError("python -m traffic.inference", "one argument, a job as JSON", f"{len(arguments)}")
        job = ServingJob.read(Path(arguments[0]))
        inventory = Inventory.read(job.inventory)
        run_beside_switches()
        with RecordWriter(job.records) as writer:
            asyncio.run(_phase(job, inventory, writer))
    except LabError as error:
        emit(error_event(error))
        return 1
    except (Interrupted, EOFError):
        return INTERRUPTED
    emit({"event": "done"})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
