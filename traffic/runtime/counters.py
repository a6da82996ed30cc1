"""What a run's sampler counted, as arrays (topologies/proof/sampler.py describes the lines of counters.jsonl)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from topologies.model.errors import LabError
from traffic.runtime.reading import Row, lines

T = TypeVar("T")
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


@dataclass(frozen=True, kw_only=True)
class Counters:
    """n samples of d directions.

    period       s, of the schedule; rates bit/s, queues bytes (room) and frames bytes (full frame) of each direction
    t, took, late    (n,) s: middle of a reading, its length, how late it began
    bytes, drops, backlog    (n, d) cumulative bytes sent, packets dropped; bytes waiting
    """

    period: float
    directions: tuple[str, ...]
    rates: Floats
    queues: Floats
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
        """Raises LabError if the file is missing, damaged or without a header; half a line at its end is left out."""
        return cls.of(lines(path), str(path))

    @classmethod
    def of(cls, rows: Iterable[Row], where: str = "counters") -> Counters:
        """From the lines of a file, header first. Raises LabError."""
        kinds: dict[str, list[Row]] = {}
        for row in rows:
            kinds.setdefault(str(row["kind"]), []).append(row)
            if "header" not in kinds:
                break
        if "header" not in kinds:
            raise LabError(where, "a header as the first line of the sampler's counters", "none")
        header = _parsed(_HEADER, kinds["header"][0], where)
        samples = _parsed(_SAMPLES, kinds.get("wires", []), where)
        counts = np.array([s.v for s in samples], dtype=np.int64).reshape(len(samples), len(header.directions), 4)
        return cls(
            period=header.period, directions=header.directions, switches=header.switches,
            rates=np.array(header.rates), queues=np.array(header.queues), frames=np.array(header.frames),
            t=np.array([s.t for s in samples]), took=np.array([s.took for s in samples]),
            late=np.array([s.late for s in samples]), bytes=counts[:, :, 0], drops=counts[:, :, 2],
            backlog=counts[:, :, 3], cpu=_parsed(_CPU, kinds.get("cpu", []), where))

    def between(self, start: float, end: float) -> tuple[int, int]:
        """The samples from whose counts to whose is what was counted from `start` to `end` (s), a period exact."""
        first = max(int(np.searchsorted(self.t, start)) - 1, 0)
        return first, min(int(np.searchsorted(self.t, end)), len(self.t) - 1)


@dataclass(frozen=True)
class _Header:
    period: float
    directions: tuple[str, ...]
    rates: tuple[float, ...]
    queues: tuple[float, ...]
    frames: tuple[float, ...]
    switches: tuple[str, ...]


@dataclass(frozen=True)
class _Sample:
    """v: bytes, packets, drops, backlog of each direction."""

    t: float
    took: float
    late: float
    v: Sequence[tuple[int, int, int, int]]


_HEADER = TypeAdapter(_Header)
_SAMPLES = TypeAdapter(tuple[_Sample, ...])
_CPU = TypeAdapter(tuple[Cpu, ...])


def _parsed(adapter: TypeAdapter[T], rows: Row | Sequence[Row], where: str) -> T:
    try:
        return adapter.validate_python(rows)
    except ValidationError as error:
        first = error.errors()[0]
        raise LabError(where, "the sampler's counters",
                       f"not as this version of aifab writes it ({'.'.join(map(str, first['loc']))}: {first['msg']})",
                       "it was changed after the run or comes from another version; run the scenario again") from None
