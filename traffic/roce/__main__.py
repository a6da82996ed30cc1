"""`python -m traffic.roce JOB.json`: run a job of queue pairs; stdin and stdout as in traffic/streams/job.py."""

from __future__ import annotations

import sys

from traffic.roce.job import QueuePairs
from traffic.roce.plan import RoceJob
from traffic.streams.job import command_line

if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:], "traffic.roce", RoceJob, QueuePairs))
