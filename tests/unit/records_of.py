"""Records for tests: what matters is written out as in records.jsonl, the rest of each is neutral."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

from traffic.runtime.records import Record, encode
from traffic.transports.udp.records import Lateness, Outage
from traffic.workloads.kinds.registry import record_kinds

Json = dict[str, Any]
NEUTRAL: dict[object, object] = {
    str: "", int: 0, float: 0.0, bool: False, tuple: (), dict: {}, Outage: {"packets": 0, "seconds": 0.0},
    Lateness: {"p50": 0.0, "p99": 0.0, "max": 0.0}}


def record_of(row: Json) -> Record:
    """The record of a row, of the kind that it names; what it leaves out is empty, 0, or None where that may be."""
    adapter, neutral = _kinds()[row["kind"]]
    once = {"attempts": 1, "kv_parts": 1} if row["kind"] == "serving" else {}
    record: Record = adapter.validate_python({"workload": "w", "phase": "main", **neutral, **once, **row})
    return record


def records_of(*rows: Json) -> list[Record]:
    return [record_of(row) for row in rows]


def whole(row: Json) -> Json:
    """The row with all that a record of its kind has, as it stands in the file; one of no known kind as it is."""
    if row.get("kind") not in _kinds():
        return row
    found: Json = json.loads(encode(record_of(row)))
    return found


def _kinds() -> dict[str, tuple[TypeAdapter[Any], Json]]:
    return {kind.kind: _of(kind) for kind in record_kinds()}


@cache
def _of(kind: type[Record]) -> tuple[TypeAdapter[Any], Json]:
    hints = get_type_hints(kind)
    given = {f.name: _neutral(hints[f.name]) for f in fields(kind) if f.default is MISSING}
    given.pop("workload", None)
    return TypeAdapter(kind), {k: v for k, v in given.items() if k != "phase"}


def _neutral(annotation: object) -> object:
    if isinstance(annotation, UnionType) and NoneType in get_args(annotation):
        return None
    return NEUTRAL[get_origin(annotation) or annotation]
