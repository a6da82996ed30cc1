"""`python -m traffic.transports.replay JOB.json`: replay captures; protocol as in traffic/transports/udp/job.py."""

from __future__ import annotations

import sys

from traffic.transports.replay.job import Replays
from traffic.transports.replay.plan import ReplayJob
from traffic.transports.udp.job import command_line

if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:], "traffic.transports.replay", ReplayJob, Replays))
