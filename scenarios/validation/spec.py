"""A check as a scenario writes it: one subject, what it is held against, a sentence for either case.

    near-limit:
      metric: ring.busbw_of_limit
      at_least: 0.95
      pass: The ring comes close to what its links carry.
      fail: Something holds the ring back.

There is nothing to poll: a check is answered when the run is over, from files that do not change any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from scenarios.validation.limits import Limit, amount
from topologies.model.errors import Violation, Violations
from topologies.model.fields import Share, Strict, Time

Pair = tuple[str, str]
Level = Literal["VALID", "SUSPECT", "INVALID"]
CheckName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,60}$")]

NUMBERS = ("at_least", "at_most", "between", "equals")
SUBJECTS = {    # subject -> the keys that say what it is held against
    "metric": ("of", "of_prediction", *NUMBERS, "within"),
    "drops": ("of", "phase", "wait", *NUMBERS, "within"),
    "culprit": ("equals", "one_of"),
    "verdict": (),
    "isolation": (),
    "reachable": ("phase",),
    "unreachable": ("phase",),
}
_AGAINST = tuple(dict.fromkeys(key for keys in SUBJECTS.values() for key in keys))


class CheckSpec(Strict):
    """One named check. Exactly one of the subjects; `pass` and `fail` are what is reported of it."""

    model_config = ConfigDict(serialize_by_alias=True)

    metric: str | None = Field(None, description="a key of metrics.json, such as ring.busbw")
    drops: str | None = Field(None, description="packets lost: at a queue, at queues, by policy, on links, in faults")
    culprit: str | None = Field(None, description="a metric that names a link or a rank, such as "
                                                  "fabric.bottleneck_link")
    verdict: Level | tuple[Level, ...] | None = None
    isolation: Literal["proved"] | None = Field(None, description="every proof of the VPCs found what they say")
    reachable: tuple[Pair, ...] | None = Field(None, min_length=1, description="pairs whose packets arrived")
    unreachable: tuple[Pair, ...] | None = Field(None, min_length=1, description="pairs whose packets did not")

    of: str | None = Field(None, description="divide by another metric, or by other drops")
    of_prediction: str | None = Field(None, description="divide by a prediction")
    phase: str | None = Field(None, description="drops: only those of this phase; pairs: in the proof after it")
    wait: Time | None = Field(None, description="leave out so much of the phase's beginning")
    at_least: Limit | None = None
    at_most: Limit | None = None
    between: tuple[Limit, Limit] | None = None
    equals: Limit | str | None = Field(None, union_mode="left_to_right")
    one_of: tuple[str, ...] | None = Field(None, min_length=1)
    within: Share | None = Field(None, description="how far from `equals` is still equal")

    passes: str = Field(alias="pass", min_length=1)
    fails: str = Field(alias="fail", min_length=1)
    hint: str = Field("", description="what to do if it fails")
    level: Literal["error", "warning"] = "error"
    stop_on_error: bool = Field(False, description="if it fails, the checks after it are not made")

    @property
    def subject(self) -> str:
        """Which kind of check it is."""
        return next(name for name in SUBJECTS if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _fits_together(self) -> CheckSpec:
        violations = list(_violations(self))
        if violations:
            raise Violations(violations)
        return self


def _violations(check: CheckSpec) -> Iterator[Violation]:
    subjects = [name for name in SUBJECTS if getattr(check, name) is not None]
    if len(subjects) != 1:
        yield Violation((), f"exactly one of {', '.join(SUBJECTS)}", " and ".join(subjects) or "none of them")
        return
    subject, given = subjects[0], [key for key in _AGAINST if getattr(check, key) is not None]
    for key in given:
        if key not in SUBJECTS[subject]:
            fitting = ", ".join(SUBJECTS[subject])
            yield Violation((key,), f"with {subject} " + (f"one of {fitting}" if fitting else "nothing else"), key)
    if subject in ("metric", "drops"):
        yield from _number_violations(check, subject)
    elif subject == "culprit" and (check.equals is None) == (check.one_of is None):
        yield Violation((), "with culprit either equals or one_of", "both" if check.equals is not None else "neither")
    if check.level == "warning" and check.stop_on_error:
        yield Violation(("stop_on_error",), "false with level: warning, which stops nothing", "true")


def _number_violations(check: CheckSpec, subject: str) -> Iterator[Violation]:
    """The comparison of a number is one comparison, with bounds in order and in numbers."""
    given = [key for key in NUMBERS if getattr(check, key) is not None]
    if not given:
        yield Violation((), f"with {subject} one of {', '.join(NUMBERS)}", "nothing to compare it with")
    elif len(given) > 1 and set(given) != {"at_least", "at_most"}:
        yield Violation((given[1],), "one comparison (at_least and at_most may stand together)", ", ".join(given))
    if check.of is not None and check.of_prediction is not None:
        yield Violation(("of_prediction",), "either of or of_prediction", "both")
    if check.within is not None and check.equals is None:
        yield Violation(("within",), "within beside equals", "within alone")
    if check.wait is not None and check.phase is None:
        yield Violation(("wait",), "a phase, whose beginning is left out", "no phase",
                        "checks are made when the run is over: there is nothing else to wait for")
    yield from _limit_violations(check)


def _limit_violations(check: CheckSpec) -> Iterator[Violation]:
    """Both bounds in one unit, the lower first; `equals` of a number is a number."""
    try:
        limits = [amount(x) for _, x in bounds(check)]
    except ValueError as error:
        yield Violation(("equals",), str(error), str(check.equals))
        return
    if len(limits) == 2:
        (low, unit), (high, other) = limits
        if unit != other and low and high:
            yield Violation(("between" if check.between else "at_most",), "two bounds of one unit",
                            " and ".join(str(x) for _, x in bounds(check)))
        elif low > high:
            yield Violation(("between" if check.between else "at_most",), "the lower bound first, then the upper",
                            " and ".join(str(x) for _, x in bounds(check)))


def bounds(check: CheckSpec) -> list[tuple[str, float | str]]:
    """(key, limit) of every number that a check compares with."""
    found: list[tuple[str, float | str]] = []
    for key in NUMBERS:
        value = getattr(check, key)
        if value is not None:
            found += [(key, x) for x in value] if key == "between" else [(key, value)]
    return found
