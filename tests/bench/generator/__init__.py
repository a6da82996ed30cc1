"""The traffic generator in C beside this file: compiled, and run.

    with generating([udp("a", lab, "h1", "h5", rate=10e6)], seconds=3) as running:
        ...
    running.flows["a"]["received"]
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror")
DRAIN = 1.5         # seconds for what is under way
PATIENCE = 60.0     # more than it said that it takes
Row = dict[str, Any]
_made: list[Path] = []


def program() -> Path:
    """The compiled generator; compiled once by each process that asks."""
    if not _made:
        made = Path(tempfile.mkdtemp(prefix="generator-")) / "generator"
        subprocess.run(["cc", *FLAGS, *map(str, sorted(SOURCES.glob("*.c"))), "-o", str(made)], check=True)
        _made.append(made)
    return _made[0]


@dataclass
class Running:
    """seconds: between warm-up and end, as measured; processor: what the generator used of one then, seconds; flows: by
    their names."""

    process: subprocess.Popen[str]
    seconds: float = 0.0
    processor: float = 0.0
    flows: dict[str, Row] = field(default_factory=dict)

    def take(self, answer: str) -> None:
        found = json.loads(answer)
        self.seconds, self.processor, self.flows = found["seconds"], found["processor"], found["flows"]

    def total(self, key: str) -> int:
        """A count of all flows that have it."""
        return sum(f[key] for f in self.flows.values() if key in f)

    def goodputs(self) -> dict[str, float]:
        """Bit/s of payload of each TCP flow."""
        return {name: f["bytes"] * 8 / self.seconds for name, f in self.flows.items() if "bytes" in f}


@contextmanager
def generating(flows: Sequence[str], seconds: float, warmup: float = 0.0, drain: float = DRAIN, processor: int = -1,
               realtime: int = 0) -> Iterator[Running]:
    """Flows from their start, with all sockets open, until all is received when the block is left.

    processor: the one that it runs on, -1 for any; realtime: its SCHED_FIFO priority, for few flows whose times count.
    """
    pinned = [] if processor < 0 else ["taskset", "-c", str(processor)]
    first = ["chrt", "-f", str(realtime)] if realtime else []
    command = [*first, *pinned, str(program()), str(seconds), str(warmup), str(drain)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    running = Running(process)
    try:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the generator has no pipes")
        process.stdin.write("".join(f"{flow}\n" for flow in flows))
        process.stdin.close()
        process.stdin = None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the traffic generator ended with {process.wait()}")
        yield running
        running.take(process.communicate(timeout=seconds + drain + PATIENCE)[0])
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def generate(flows: Sequence[str], seconds: float, **more: Any) -> Running:
    """All of it; what was found."""
    with generating(flows, seconds, **more) as running:
        pass
    return running
