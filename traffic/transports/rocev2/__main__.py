"""`python -m traffic.transports.rocev2 JOB.json`: run queue pairs; protocol as in traffic/transports/udp/job.py."""

from __future__ import annotations

import sys

from traffic.transports.rocev2.job import QueuePairs
from traffic.transports.rocev2.plan import RoceJob
from traffic.transports.udp.job import command_line

if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:], "traffic.transports.rocev2", RoceJob, QueuePairs))
