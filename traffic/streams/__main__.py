"""`python -m traffic.streams JOB.json`: run a job of UDP streams; stdin and stdout as in job.py."""

from __future__ import annotations

import sys

from traffic.streams.job import Streams, command_line
from traffic.streams.plan import Job

if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:], "traffic.streams", Job, Streams))
