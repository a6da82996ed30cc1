"""counters.jsonl as arrays (the lines are described in topologies/proof/sampler.py)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from topologies.model.errors import RunError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cpu:
    """One second (about) that ends at t; fractions of the machine, of a thread, of a core.

    doubt: process -> (its wait for a CPU at most, what the kernel counted), where it counted what cannot be.
    """

    t: float
    seconds: float
    idle: float
    steal: float
    runq: Mapping[str, float]
    nice: Mapping[str, int]
    gone: tuple[str, ...] = ()
    doubt: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def start(self) -> float:
        return self.t - self.seconds


@dataclass(frozen=True)
class Counters:
    """n samples of d directions.

    period       s, of the schedule; rates bit/s and frames bytes (full frame) of each direction
    t, took, late    (n,) s: middle of a reading, its length, how late it began
    bytes, drops, backlog    (n, d) cumulative bytes sent, packets dropped; bytes waiting
    """

    period: float
    directions: tuple[str, ...]
    rates: Floats
    frames: Floats
    switches: tuple[str, ...]
    t: Floats
    took: Floats
    late: Floats
    bytes: Ints
    drops: Ints
    backlog: Ints
    cpu: tuple[Cpu, ...]

    @classmethod
    def read(cls, path: Path) -> Counters:
        """Raises RunError if the file is missing or has no header; half a line at its end is left out."""
        try:
            with path.open() as file:
                return cls.of(_lines(file), str(path))
        except OSError as error:
            raise RunError(str(path), "the sampler's counters", error.strerror or str(error)) from None

    @classmethod
    def of(cls, lines: Iterable[Mapping[str, Any]], where: str = "counters") -> Counters:
        """From the lines of a file, header first."""
        lines = list(lines)
        if not lines or lines[0].get("kind") != "header":
            raise RunError(where, "a header as the first line of the sampler's counters", "none")
        header = lines[0]
        wires = [x for x in lines if x["kind"] == "wires"]
        v = np.array([x["v"] for x in wires], dtype=np.int64).reshape(len(wires), len(header["directions"]), 4)
        return cls(
            period=header["period"], directions=tuple(header["directions"]), switches=tuple(header["switches"]),
            rates=np.array(header["rates"], float), frames=np.array(header["frames"], float),
            t=_column(wires, "t"), took=_column(wires, "took"), late=_column(wires, "late"),
            bytes=v[:, :, 0], drops=v[:, :, 2], backlog=v[:, :, 3],
            cpu=tuple(_cpu(x) for x in lines if x["kind"] == "cpu"))


def _column(wires: list[Mapping[str, Any]], key: str) -> Floats:
    return np.array([x[key] for x in wires], float)


def _cpu(x: Mapping[str, Any]) -> Cpu:
    return Cpu(x["t"], x["seconds"], x["idle"], x["steal"], x["runq"], x["nice"], tuple(x["gone"]),
               {name: (most, claimed) for name, (most, claimed) in x.get("doubt", {}).items()})


def _lines(file: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    for line in file:
        try:
            yield json.loads(line)
        except ValueError:      # a sampler that was killed leaves half a line, at the end only
            return
