"""What came of checks as rows and lines of text, the same for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scenarios.validation.evaluate import Outcome, Result, Status, Validation


@dataclass(frozen=True)
class Row:
    """One check to show. mark: 'PASS', 'FAIL, unproven', 'SKIP: blocked by NAME'; level: how grave it looks."""

    mark: str
    level: str
    name: str
    sentence: str
    measured: str
    hint: str


_LEVELS = {Status.PASS: "valid", Status.WARN: "suspect", Status.FAIL: "invalid", Status.SKIP: "suspect"}


def rows(validation: Validation) -> list[Row]:
    """Each check; what is not proven looks no better than SUSPECT."""
    return [_row(o) for o in validation.outcomes]


def _row(o: Outcome) -> Row:
    if o.blocked_by:
        return Row(f"SKIP: blocked by {o.blocked_by}", "suspect", o.name, "", "", "")
    mark = str(o.status) + ("" if o.proven else ", unproven")
    level = _LEVELS[o.status] if o.proven or o.status is not Status.PASS else "suspect"
    return Row(mark, level, o.name, o.sentence, f"expected {o.expected}; found {o.found}", o.hint)


def summary(validation: Validation) -> str:
    """One sentence for all checks, which says so where nothing is proven."""
    total, passed = len(validation.outcomes), validation.count(Status.PASS)
    counts = [f"{passed} of {total} {'check' if total == 1 else 'checks'} {'holds' if passed == 1 else 'hold'}"]
    counts += [f"{n} {words}" for status, words in (
        (Status.WARN, "with a warning"), (Status.SKIP, "skipped")) if (n := validation.count(status))]
    text = ", ".join(counts)
    if validation.result is Result.UNPROVEN:
        return f"Nothing is proven: the run is {validation.level}. By its numbers, {text}."
    return f"{text}."


def lines(validation: Validation) -> Iterator[str]:
    """The summary, then '[PASS] name: sentence', with what was measured below each."""
    yield f"Checks: {summary(validation)}"
    for row in rows(validation):
        yield f"  [{row.mark}] {row.name}" + (f": {row.sentence}" if row.sentence else "")
        if row.measured:
            yield f"         {row.measured}"
        if row.hint:
            yield f"         -> {row.hint}"
