"""What a user reads when something is wrong: where, what was expected, what was found, what to do.

Every error that a user can cause is a LabError; anything else that escapes is a bug of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


class LabError(Exception):
    """One problem, reported completely.

    where     file:line and dotted path, a host, a file, a command: the place to look at
    expected  what would have been right
    found     what was there instead
    hint      what to do next (may be empty)
    """

    exit_code = 1

    def __init__(self, where: str, expected: str, found: str, hint: str = "") -> None:
        self.where, self.expected, self.found, self.hint = where, expected, found, hint
        super().__init__(where, expected, found, hint)

    def __str__(self) -> str:
        text = f"{self.where}: expected {self.expected}; found {self.found}"
        return f"{text}\n  -> {self.hint}" if self.hint else text


class SpecError(LabError):
    """A spec, a trace or an option that says something wrong."""

    exit_code = 2


class SpecErrors(SpecError):  # noqa: N818 - it is several
    """Everything that is wrong with one file, reported at once."""

    def __init__(self, errors: Sequence[LabError]) -> None:
        if not errors:
            raise ValueError("SpecErrors needs at least one error")
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(first.where, first.expected, first.found, first.hint)

    def __str__(self) -> str:
        return "\n".join(str(e) for e in self.errors)


class TraceError(SpecError):
    """A trace file that is none, or a row of it that cannot be read."""


class HostError(LabError):
    """This machine lacks something: a right, a program, a kernel module."""


class RunError(LabError):
    """A run that could not go on; what was recorded so far is kept."""


_AT_A_LINE = re.compile(r":\d+(?: |$)")


class Gathered:
    """Errors of several things that are checked one after the other, reported at once: none hides the others."""

    def __init__(self) -> None:
        self.errors: dict[str, LabError] = {}

    @contextmanager
    def at(self, path: str = "") -> Iterator[None]:
        """Keep what goes wrong inside, placed under a dotted path unless it has a file's line or that path already."""
        try:
            yield
        except SpecErrors as several:
            for error in several.errors:
                self._add(path, error)
        except SpecError as error:
            self._add(path, error)

    def _add(self, path: str, error: LabError) -> None:
        placed = _placed(path, error)
        self.errors.setdefault(str(placed), placed)

    def raise_all(self) -> None:
        """Raises SpecErrors with everything that was kept, each once; nothing if there is nothing."""
        if self.errors:
            raise SpecErrors(list(self.errors.values()))


def _placed(path: str, error: LabError) -> LabError:
    if not path or error.where.startswith(path) or _AT_A_LINE.search(error.where):
        return error
    if isinstance(error, TraceError):       # of a whole file: its name is part of what was found
        return SpecError(f"{path}.trace", error.expected, f"{error.found} ({error.where})", error.hint)
    return SpecError(f"{path}: {error.where}", error.expected, error.found, error.hint)


@dataclass(frozen=True)
class Violation:
    """One rule that the fields of a model break together; `at` is the path of the culprit inside the model."""

    at: tuple[str | int, ...]
    expected: str
    found: str
    hint: str = ""


class Violations(ValueError):  # noqa: N818 - it is several
    """What a model's validator raises: pydantic carries it, the loader finds each culprit's line."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{'.'.join(map(str, m.at))}: {m.expected}; found {m.found}" for m in violations))
