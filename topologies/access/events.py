"""What a process of ours tells the one that started it: an event a line, as JSON, on its standard output.

    process ──> {"event":"ready"}       all is prepared
            ──> {"event":"progress",..}  {"event":"iteration",..}
            ──> {"event":"done"} or {"event":"error",..}: its last one

What an event does not know is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal, TypedDict

from topologies.model.errors import LabError, RunError


class Standing(TypedDict):
    """A connection that stands, of a pair of ranks: which one of the pair's, between which hosts and ports."""

    workload: str
    ranks: tuple[int, int]
    number: int
    src: str
    dst: str
    protocol: Literal["tcp", "udp"]
    sport: int
    dport: int


@dataclass(frozen=True, slots=True)
class Ready:
    """It waits for a line to start by. pids: of its own processes, under the names by which they are watched."""

    event: ClassVar[str] = "ready"
    pids: Mapping[str, int] = field(default_factory=dict)
    connections: Sequence[Standing] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a workload, bytes unless the process says otherwise; no total where it has no end. Packets of streams."""

    event: ClassVar[str] = "progress"
    workload: str
    done: float
    total: float | None = None
    sent: int | None = None
    received: int | None = None


@dataclass(frozen=True, slots=True)
class Iteration:
    """One of a workload is over."""

    event: ClassVar[str] = "iteration"
    workload: str
    iteration: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The fields of a LabError."""

    event: ClassVar[str] = "error"
    where: str = ""
    expected: str = ""
    found: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: LabError) -> Failed:
        return cls(error.where, error.expected, error.found, error.hint)

    def error(self) -> RunError:
        """As the parent raises it."""
        return RunError(self.where, self.expected, self.found, self.hint)


@dataclass(frozen=True, slots=True)
class Done:
    """It has written all that it has to write. streams: what became of each stream of packets."""

    event: ClassVar[str] = "done"
    streams: Sequence[Mapping[str, object]] = ()


Event = Ready | Progress | Iteration | Failed | Done
_KINDS: dict[object, type[Event]] = {kind.event: kind for kind in (Ready, Progress, Iteration, Failed, Done)}


def emit(event: Event) -> None:
    """Write an event at once. A reader that has gone away is no reason to stop."""
    known = {f.name: value for f in fields(event) if (value := getattr(event, f.name)) not in (None, (), {})}
    line = memoryview(json.dumps({"event": event.event, **known}, separators=(",", ":")).encode() + b"\n")
    with contextlib.suppress(BrokenPipeError):
        while line:
            line = line[os.write(sys.stdout.fileno(), line):]


def parse(line: str) -> Event | None:
    """The event of a line; None for one that is none."""
    try:
        said = json.loads(line)
        kind = _KINDS[said.get("event")]
        return kind(**{f.name: said[f.name] for f in fields(kind) if f.name in said})
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
