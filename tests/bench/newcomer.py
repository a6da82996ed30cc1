"""What a newcomer waits for: the demo, the unit tests."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.book import Book

ROOT = Path(__file__).parents[2]
DEMO, UNIT = 180.0, 20.0
LONG = 900.0        # seconds after which a command is given up


def demo(book: Book) -> None:
    """`aifab run` of the demo under 3 minutes and VALID; `make unit` under 20 s."""
    aifab = Path(sys.executable).with_name("aifab")
    seconds, code = _timed([str(aifab), "run", str(ROOT / "scenarios/library/demo.yml")], book.work)
    book.figure("the demo, set up already", round(seconds, 1), "s", target=f"under {DEMO:g} s, VALID",
                met=seconds < DEMO and code == 0, exit_code=code)
    seconds, code = _timed(["make", "-C", str(ROOT), "unit"], book.work)
    book.figure("make unit, set up already", round(seconds, 1), "s", target=f"under {UNIT:g} s", exit_code=code,
                met=seconds < UNIT and code == 0)


def _timed(command: list[str], work: Path) -> tuple[float, int]:
    """Wall seconds and exit code of a command run in `work`; what it says goes to a log there."""
    start = time.monotonic()
    with (work / f"{Path(command[0]).name}.log").open("wb") as log:
        done = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
                              timeout=LONG)
    return time.monotonic() - start, done.returncode
