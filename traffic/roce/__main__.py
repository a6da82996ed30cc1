"""`python -m traffic.roce JOB.json`: run a job of queue pairs; stdin and stdout as in traffic/streams/job.py."""

from __future__ import annotations

import sys
from pathlib import Path

from topologies.errors import LabError
from traffic.roce.job import QueuePairs
from traffic.roce.plan import RoceJob
from traffic.streams.job import emit, run
from traffic.streams.plan import read_job_of


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 an error that was told on stdout, 130 interrupted."""
    if len(arguments) != 1:
        print("usage: python -m traffic.roce JOB.json", file=sys.stderr)
        return 2
    try:
        job = read_job_of(Path(arguments[0]), RoceJob)
        return run(job, lambda inventory: QueuePairs(job, inventory))
    except LabError as error:
        emit("error", where=error.where, expected=error.expected, found=error.found, hint=error.hint)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
