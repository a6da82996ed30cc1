"""Where a benchmark writes its figures: a line on the terminal each, and a file for all of them.

    bench-results/20261123-ring.json        a list, one object per run of the benchmark on that (UTC) day
    bench-results/work/<time>-ring/         run directories, records and logs behind the figures
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from scenarios.evidence.results import versions
from topologies.access import files

RESULTS = Path("bench-results")


@dataclass(frozen=True)
class Figure:
    """One result. `met` is None where there is no target; `detail` holds what it was made of."""

    name: str
    value: Any
    unit: str
    target: str
    met: bool | None
    detail: dict[str, Any]

    def line(self) -> str:
        """'  bus bandwidth / ring limit: 0.981   (target: at least 0.97, met)'."""
        value = f"{self.value:.4g}" if isinstance(self.value, float) else str(self.value)
        judged = {None: "", True: ", met", False: ", NOT MET"}[self.met]
        target = f"   (target: {self.target}{judged})" if self.target else ""
        return f"  {self.name}: {value}{' ' + self.unit if self.unit else ''}{target}"


@dataclass
class Book:
    """The figures of one run of one benchmark."""

    name: str
    target: str
    quick: bool
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    load: tuple[float, float, float] = field(default_factory=os.getloadavg)
    figures: list[Figure] = field(default_factory=list)
    error: str = ""
    made: tuple[Path, files.Identity] | None = None     # the directory `work`, once somebody has asked for it

    @property
    def work(self) -> Path:
        """A directory for what is measured from."""
        path = RESULTS / "work" / f"{self.started:%Y%m%dT%H%M%SZ}-{self.name}"
        if self.made is None:
            files.make_directory(path.parent)
            path.mkdir()
            self.made = path.absolute(), files.identity(path)
        return path.absolute()

    def figure(self, name: str, value: Any, unit: str = "", *, target: str = "", met: bool | None = None,
               **detail: Any) -> None:
        """Note a result and print it."""
        self.figures.append(Figure(name, value, unit, target, met, detail))
        print(self.figures[-1].line(), flush=True)

    def median(self, name: str, values: Sequence[float], unit: str = "", **more: Any) -> None:
        """The median as a figure, with its samples and their range."""
        self.figure(name, median(values), unit, samples=list(values), least=min(values), most=max(values), **more)
        if len(values) > 1:
            print(f"    {len(values)} samples from {min(values):.4g} to {max(values):.4g}", flush=True)

    def save(self) -> Path:
        """Append to the file of this benchmark and day; a half-written file replaces nothing."""
        path = RESULTS / f"{self.started:%Y%m%d}-{self.name}.json"
        before = json.loads(path.read_text()) if path.exists() else []
        files.make_directory(path.parent)
        if self.made is not None:
            files.hand_over(*self.made)
        files.write_whole(path, (json.dumps([*before, self._as_json()], indent=1) + "\n").encode())
        return path

    def _as_json(self) -> dict[str, Any]:
        judged = [f.met for f in self.figures if f.met is not None]
        return {
            "benchmark": self.name, "target": self.target, "quick": self.quick,
            "met": not self.error and all(judged) if judged or self.error else None, "error": self.error,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - self.started).total_seconds(), 1),
            "machine": machine(), "load_before": self.load, "figures": [asdict(f) for f in self.figures]}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {"cores": os.cpu_count(), "cpu": cpu[1] if cpu else "unknown",
            "memory_gb": round(int(memory[1]) / 2**20, 1) if memory else None, "versions": versions()}
