"""`python -m traffic.replay JOB.json`: run a job of replayed captures; protocol as in traffic/streams/job.py."""

from __future__ import annotations

import sys

from traffic.replay.job import Replays
from traffic.replay.plan import ReplayJob
from traffic.streams.job import command_line

if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:], "traffic.replay", ReplayJob, Replays))
