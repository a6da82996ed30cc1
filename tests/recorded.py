"""What a process of traffic wrote down, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from traffic.runtime.reading import Records, read_records
from traffic.runtime.records import Record
from traffic.workloads.kinds.registry import record_kinds

R = TypeVar("R", bound=Record)


def recorded(path: Path) -> Records:
    """Everything in a file of records."""
    return read_records(path, record_kinds())


def records(path: Path, kind: type[R]) -> Iterator[R]:
    """Those of one kind in a file of records."""
    return iter(read_records(path, [kind])[kind])
