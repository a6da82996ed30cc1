"""A real `aifab run` as a process that tests disturb: which stage it is in, who its helpers are, what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenarios.run.waits import wait_for
from tests.lab.fabric_lab import Traces, with_word_in_environment
from topologies.lab.journal import OWNER_MARK, all_labs
from topologies.model.inventory import Inventory

END = 60.0      # seconds
# The command line itself, but that it tells its stages on standard error, and the first bytes of traffic as one.
COMMAND = """
import sys
from scenarios import cli
from scenarios.run import progress
old = progress.Bars.stage
def stage(self, what):
    print("stage:", what, file=sys.stderr, flush=True)
    old(self, what)
progress.Bars.stage = stage
started = []
def moved(self, workload, done, total):
    if done and not started:
        started.append(workload)
        print("stage: traffic", file=sys.stderr, flush=True)
progress.Bars.progress = moved
sys.argv[0] = "aifab"
"""
SCENARIO = """
name: faulty
question: What is left when something breaks?
fabric: {name: faulty, leaves: 2, spines: 1, hosts_per_leaf: 1, host_rate: 10mbit}
workloads:
  stream: {kind: udp, pairs: [[h1, h2]], pps: 200, frame: 500, duration: 3s}
"""
TCP = """
name: faulty-tcp
question: What is left when something breaks?
fabric: {name: faulty, leaves: 2, spines: 1, hosts_per_leaf: 1, host_rate: 10mbit}
workloads:
  ring: {kind: collective, size: 8MB, iterations: 1, warmup: 0}
"""


@dataclass
class RunProcess:
    """`aifab run` in its own process group; said: its standard error so far."""

    process: subprocess.Popen[str]
    runs: Path
    said: list[str] = field(default_factory=list)
    traces: Traces | None = None

    def until(self, stage: str) -> None:
        """Read what it says until that stage begins."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith(f"stage: {stage}"):
                self.remember()
                return
        raise AssertionError(f"it ended before the stage {stage}: {''.join(self.said)}")

    def remember(self) -> None:
        """What its lab has made so far."""
        for journal in all_labs():
            if journal.owner is not None and journal.owner.pid == self.process.pid:
                self.traces = Traces(tuple(journal.namespaces), tuple(journal.processes), journal.directory)

    def signal(self, number: int) -> None:
        """To the whole process group, as a terminal does."""
        os.killpg(self.process.pid, number)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        assert self.process.stderr is not None
        self.said += self.process.stderr.readlines()
        return self.process.wait(END)

    @property
    def text(self) -> str:
        return "".join(line for line in self.said if not line.startswith("stage:"))

    @property
    def directory(self) -> Path:
        (found,) = self.runs.iterdir()
        return found

    @property
    def meta(self) -> dict[str, Any]:
        meta: dict[str, Any] = json.loads((self.directory / "meta.json").read_text())
        return meta

    @property
    def inventory(self) -> Inventory:
        return Inventory.read(self.directory / "inventory.json")

    def reasons(self) -> list[dict[str, Any]]:
        """Why the verdict is not VALID, beside that these runs do not take the machine's lock."""
        verdict = json.loads((self.directory / "verdict.json").read_text())
        assert verdict["verdict"] != "VALID" or not verdict["reasons"]
        return [r for r in verdict["reasons"] if r["invariant"] != "lock"]

    def records(self) -> list[dict[str, Any]]:
        path = self.directory / "records.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def helper(self, module: str) -> int:
        """Pid of the helper process that runs that module."""
        def look() -> int | None:
            for pid in map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()):
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    return pid
            return None
        return wait_for(f"the helper {module}", look, 10.0)

    def left(self) -> list[str]:
        """What is left of it on the machine: its lab, or any program or helper."""
        mine = [j.lab for j in all_labs() if j.owner is not None and j.owner.pid == self.process.pid]
        programs = [str(pid) for pid in with_word_in_environment(f"{OWNER_MARK}={self.process.pid}:")]
        helpers = [str(pid) for pid in with_word_in_environment(f"AIFAB_TEST_RUNS={self.runs}")]
        return mine + programs + helpers + (self.traces.left() if self.traces else [])


@contextmanager
def aifab_run(directory: Path, scenario: str = SCENARIO, arguments: Sequence[str] = ("--no-lock",), patch: str = "",
              runs: Path | None = None, prefix: Sequence[str] = ()) -> Iterator[RunProcess]:
    """Start `aifab run`; patch: Python that is executed first; prefix: a command to start it with."""
    file = directory / "scenario.yml"
    file.write_text(scenario)
    runs = runs or directory / "runs"
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", f"{COMMAND}{patch}\ncli.main()", "run", str(file), "--runs", str(runs),
         *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"AIFAB_TEST_RUNS": str(runs)})
    run = RunProcess(process, runs)
    try:
        yield run
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(END)
        if process.stderr:
            process.stderr.close()


def pause(seconds: float) -> None:
    """Let traffic run for a moment; what a test asserts does not depend on how long exactly."""
    time.sleep(seconds)
