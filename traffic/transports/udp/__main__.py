"""`python -m traffic.transports.udp JOB.json`: run a job of UDP streams; stdin and stdout as in job.py."""

from __future__ import annotations

import sys

from traffic.transports.udp.job import Streams, command_line
from traffic.transports.udp.plan import Job

if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:], "traffic.transports.udp", Job, Streams))
