"""python -m traffic.engine JOB.json: the traffic of one phase, reported in lines of JSON (see command.py), and besides

    stdout  "ready" has "connections": those that stand (channels.Standing)
            {"event": "progress", "workload", "done", "total"}      bytes, at most 4 a second
            {"event": "iteration", "workload", "iteration", "seconds"}
"""

from __future__ import annotations

import sys

from topologies.model.inventory import Inventory
from traffic.engine.command import command_line
from traffic.engine.job import Job
from traffic.engine.session import Session
from traffic.runtime.protocol import emit
from traffic.runtime.records import RecordWriter


def _session(job: Job, inventory: Inventory, writer: RecordWriter) -> Session:
    return Session(job, inventory, emit, writer)


def main(arguments: list[str]) -> int:
    """Run the job and return the exit code."""
    return command_line(arguments, "traffic.engine", Job.read, _session, lambda s: {"connections": s.standing()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
