"""python -m traffic.engine JOB.json: the traffic of one phase, as traffic/runtime/command.py has it.

Its progress counts bytes, at most 4 times a second; its ready has the connections that stand.
"""

from __future__ import annotations

import sys

from traffic.engine.job import Job
from traffic.engine.session import EngineSession
from traffic.runtime.command import run_session

if __name__ == "__main__":
    sys.exit(run_session(sys.argv[1:], "traffic.engine", Job, EngineSession))
