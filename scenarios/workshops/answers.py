"""answers.yml: what a learner found or worked out, each answer a value or the reason why it is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scenarios.workshops.lesson import AnswerKind
from topologies.model.document import Problem, nearest, read_document, show
from topologies.model.errors import SpecErrors
from topologies.model.fabric import Fabric
from topologies.model.units import parse_rate, parse_time

FILE = "answers.yml"
TODO = "TODO"


@dataclass(frozen=True)
class Answer:
    """One answer as a check takes it; or what was expected instead of what was found at `where`."""

    value: float | str | None
    where: str = ""
    expected: str = ""
    found: str = ""


def read_answers(directory: Path, asked: Mapping[str, AnswerKind], fabric: Fabric) -> dict[str, Answer]:
    """Every answer that is asked for. Raises SpecError or SpecErrors for a file that cannot be read."""
    if not asked:
        return {}
    document = read_document(directory / FILE)
    unknown = [Problem((key,), f"an answer that is asked for: {', '.join(asked)}", key, nearest(key, list(asked)))
               for key in document.data if key not in asked]
    if unknown:
        raise SpecErrors(document.errors(unknown))
    return {name: _answer(document.data.get(name), kind, document.place((name,)).where((name,)), fabric)
            for name, kind in asked.items()}


def _answer(value: object, kind: AnswerKind, where: str, fabric: Fabric) -> Answer:
    if value is None or value == TODO:
        return Answer(None, where, "your answer", "TODO" if value else "nothing")
    try:
        parsed = _link(value, fabric) if kind == "link" else _PARSERS[kind](value)
    except ValueError as error:
        return Answer(None, where, str(error), show(value))
    return Answer(parsed if kind == "number" else str(value))


def _link(value: object, fabric: Fabric) -> str:
    names = list(fabric.links_by_name)
    if not isinstance(value, str) or value not in names:
        close = nearest(str(value), names)
        raise ValueError(f"a link of this fabric, such as leaf2-spine1{f'; {close}' if close else ''}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a bare number, such as 1.5")
    return float(value)


_PARSERS: dict[AnswerKind, Callable[[object], float]] = {"rate": parse_rate, "time": parse_time, "number": _number}
