"""python -m traffic.inference JOB.json: the serving workloads of one phase, reported in lines of JSON (see
traffic/engine/command.py), and besides

    stdout  {"event": "progress", "workload", "done", "total"}      bytes, at most 4 a second
"""

from __future__ import annotations

import sys

from topologies.model.inventory import Inventory
from traffic.engine.command import command_line
from traffic.inference.plan import ServingJob
from traffic.inference.session import Session
from traffic.runtime.protocol import emit
from traffic.runtime.records import RecordWriter


def _session(job: ServingJob, inventory: Inventory, writer: RecordWriter) -> Session:
    return Session(job, inventory, emit, writer)


def main(arguments: list[str]) -> int:
    """Run the job and return the exit code."""
    return command_line(arguments, "traffic.inference", ServingJob.read, _session)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
