"""`aifab` in a process of its own: its exit code, what it said, and the most memory that it held."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MEMORY = 500_000        # kB: what `aifab check` may take for any file of 1 MB
ADDRESSES = 4_000_000_000       # bytes of address space, so that a test that fails does not take the machine along
_PROGRAM = f"""
import os, resource
resource.setrlimit(resource.RLIMIT_AS, ({ADDRESSES}, {ADDRESSES}))
from scenarios import cli
try:
    cli.main()
finally:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(status["VmHWM"].split()[0], file=open(os.environ["PEAK"], "w"))
"""
# The high-water mark is the address space's own, so what the tests hold is not in it, as it would be in ru_maxrss.


@dataclass(frozen=True)
class Reported:
    """code and output of a command; kB: the most memory that it held."""

    code: int
    out: str
    err: str
    kb: int


def aifab(directory: Path, *arguments: str) -> Reported:
    """Run `aifab` in `directory`."""
    peak = directory / "peak"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], cwd=directory, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PEAK": str(peak)})
    return Reported(done.returncode, done.stdout, done.stderr, int(peak.read_text()))


def refused(reported: Reported) -> list[str]:
    """The errors of a check that refuses a file in time and memory, without their hints; what a user may rely on."""
    assert reported.code == 2, reported.err or reported.out
    assert "Traceback" not in reported.err
    assert reported.kb < MEMORY
    return [line for line in reported.err.splitlines() if not line.startswith("  ->")]
