"""Records of a run, read once: each line becomes an object of its kind (traffic/runtime/records.py and its like).

    records.jsonl ──lines──> dicts ──read_records──> Records ──records[StepRecord]──> the metrics
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, cast, runtime_checkable

from pydantic import TypeAdapter, ValidationError

from topologies.model.errors import LabError
from traffic.runtime.records import Record

Row = dict[str, object]     # a line as JSON has it


class WorkloadRecord(Record, Protocol):
    """A record of a workload in a phase."""

    @property
    def workload(self) -> str: ...

    @property
    def phase(self) -> str: ...


@runtime_checkable
class Iterated(Protocol):
    """A record of an iteration; those of the warm-up are negative."""

    @property
    def iteration(self) -> int: ...


R = TypeVar("R", bound=Record)


class Records:
    """Records in the order in which they were written; `records[StepRecord]` are those of a kind."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._all = tuple(records)
        self._of: dict[type[Record], list[Record]] = {}
        for record in self._all:
            self._of.setdefault(type(record), []).append(record)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._all)

    def __getitem__(self, kind: type[R]) -> Sequence[R]:
        return cast("Sequence[R]", self._of.get(kind, ()))

    def by_phase(self, *kinds: type[WorkloadRecord]) -> dict[tuple[str, str], Records]:
        """(workload, phase) -> its records of these kinds, in the order in which each pair first comes."""
        found: dict[tuple[str, str], list[Record]] = {}
        for record in self._all:
            if isinstance(record, kinds):
                found.setdefault((record.workload, record.phase), []).append(record)
        return {key: Records(its) for key, its in found.items()}


def read_records(path: Path, kinds: Iterable[type[Record]], renamed: Callable[[Row], Row] = dict) -> Records:
    """The records of these kinds in a file; others are passed over.

    renamed: a line of an earlier version -> one of today. Raises LabError for a missing file, or for a line that is no
    record or lacks what its kind has.
    """
    adapters = {kind.kind: TypeAdapter(kind) for kind in kinds}
    found: list[Record] = []
    for number, line in enumerate(lines(path), start=1):
        row = renamed(line)
        adapter = adapters.get(str(row["kind"]))
        if adapter is not None:
            try:
                found.append(adapter.validate_python(row))
            except ValidationError as error:
                raise _unlike(f"{path}:{number}", str(row["kind"]), error) from None
    return Records(found)


def _unlike(where: str, kind: str, error: ValidationError) -> LabError:
    first = error.errors()[0]
    return LabError(where, f"a record of the kind {kind}",
                    f"not as this version of aifab writes it ({'.'.join(map(str, first['loc']))}: {first['msg']})",
                    "it was changed after the run or comes from another version; run the scenario again")


def lines(path: Path) -> Iterator[Row]:
    """Every record as a dict, of whatever kind. A last line cut short (a killed writer) is left out.

    Raises LabError for a missing file, or for a line in the middle that is no record.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise LabError(str(path), "a file of records", os.strerror(error.errno or 0)) from None
    rows = text.split(b"\n")
    for number, row in enumerate(rows[:-1], start=1):
        try:
            record = json.loads(row)
            record["kind"]
        except (ValueError, KeyError, TypeError):
            raise LabError(f"{path}:{number}", "a record: a JSON object with its kind",
                           row[:60].decode(errors="replace")) from None
        yield record
