"""The fabric engine killed while a scenario runs: is the run INVALID by that at once, and the machine clean?"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bench.book import Book
from topologies.switches.engine.management.process import SOCKET, is_switch

TIMES, WITHIN = 50, 1.0
INVALID = 3             # exit code
PATIENCE = 120.0
TAG = "af"              # of the names of a lab's namespaces
LONGEST = 12.0          # seconds into a run at which it is killed at the latest
SCENARIO = """\
name: killed
question: What comes of a run whose network ends?
fabric: {name: killed, leaves: 2, spines: 2, hosts_per_leaf: 4, host_rate: 20mbit, datapath: engine}
workloads:
  ring: {kind: collective, size: 8MB, iterations: 20, warmup: 0, placement: strided}
"""


@dataclass(frozen=True)
class Killed:
    """at: seconds from the engine's start; took: from the kill to the end of the run; says: why, by its verdict."""

    at: float
    took: float
    exit_code: int
    level: str
    says: str
    left: list[str]


def engine_killed(book: Book) -> None:
    """SIGKILL at 50 random moments of a run: it ends INVALID, with the reason, within 1 s; nothing is left after
    `aifab clean`.
    """
    draw = random.Random(1)     # noqa: S311 - moments, not secrets
    moments = [draw.uniform(0, LONGEST) for _ in range(3 if book.quick else TIMES)]
    scenario = book.work / "killed.yml"
    scenario.write_text(SCENARIO)
    found = [_round(book.work, scenario, at) for at in moments]
    right = [k for k in found if k.exit_code == INVALID and k.level == "INVALID" and "engine" in k.says]
    book.figure("runs that end INVALID by the engine's end", len(right), target=f"all of {len(found)}",
                met=len(right) == len(found), others=[vars(k) for k in found if k not in right])
    book.median("from the kill to the end of the run", [k.took for k in found], "s", target=f"at most {WITHIN:g} each",
                met=max(k.took for k in found) <= WITHIN, at=[round(k.at, 2) for k in found])
    dirty = [k.left for k in found if k.left]
    book.figure("machines that were not clean after `aifab clean`", len(dirty), target="none", met=not dirty,
                left=dirty)


def _round(work: Path, scenario: Path, at: float) -> Killed:
    runs = work / f"{time.monotonic_ns()}"
    with (work / "runs.log").open("a") as log:
        run = subprocess.Popen([*_aifab(), "run", str(scenario), "--runs", str(runs), "--no-report", "--no-lock"],
                               stdout=log, stderr=log)
        engine = _wait(lambda: _engine_of(run.pid), run)
        socket = next(word for word in _words(engine) if word.endswith(f"/{SOCKET}"))
        with suppress(subprocess.TimeoutExpired):
            run.wait(at)
            raise RuntimeError(f"the run ended by itself, with {run.returncode}: its log is {log.name}")
        os.kill(engine, signal.SIGKILL)
        killed = time.monotonic()
        code = run.wait(PATIENCE)
        took = time.monotonic() - killed
        subprocess.run([*_aifab(), "clean"], check=False, stdout=log, stderr=log)
    verdict = next(runs.glob("*/verdict.json"), None)
    found = json.loads(verdict.read_text()) if verdict else {}
    return Killed(at, took, code, str(found.get("verdict", "none")), json.dumps(found), _left(socket))


def _aifab() -> list[str]:
    return [sys.executable, "-m", "scenarios.cli"]


def _wait(ask: Callable[[], int], run: subprocess.Popen[bytes]) -> int:
    """The first answer that is not 0."""
    end = time.monotonic() + PATIENCE
    while run.poll() is None and time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.01)
    raise RuntimeError(f"no engine was started; the run ended with {run.poll()}")


def _engine_of(parent: int) -> int:
    """The engine that this process has started and that has said that it is ready; 0: none yet."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next((int(pid) for pid in children if is_switch(int(pid))), 0)


def _words(pid: int) -> list[str]:
    """Of a process's command; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def _left(engine: str) -> list[str]:
    """What the lab of an engine's socket has left behind: namespaces, state, an engine."""
    lab = Path(engine).parent
    return [*(f"netns {p.name}" for p in Path("/run/netns").glob(f"{TAG}{lab.name}*")),
            *([str(lab)] if lab.exists() else []),
            *(f"process {p.name}" for p in Path("/proc").glob("[0-9]*") if engine in _words(int(p.name)))]
