"""python -m traffic.inference JOB.json: the serving workloads of one phase, as traffic/runtime/command.py has it.

Its progress counts bytes, at most 4 times a second.
"""

from __future__ import annotations

import sys

from traffic.inference.plan import ServingJob
from traffic.inference.session import ServingSession
from traffic.runtime.command import run_session

if __name__ == "__main__":
    sys.exit(run_session(sys.argv[1:], "traffic.inference", ServingJob, ServingSession))
