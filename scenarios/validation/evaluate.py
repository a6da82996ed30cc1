"""Checks and facts -> what came of each, and of all of them: a pure function of a run's files.

    verdict VALID            checks are answered: PASS, FAIL, WARN (a FAIL of level warning)
    SUSPECT or INVALID       they are answered as well, and none is proven: the emulator, not the network, may have
                             made the numbers. The block is neither passed nor failed, but unproven.
    after a failed check     with stop_on_error, the rest is skipped

A check of the verdict itself is always proven: what the invariants said, they said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from scenarios.evidence.results import Recorded, RunDirectory
from scenarios.report.measured import Json
from scenarios.report.text import number, quantity
from scenarios.validation.facts import Facts
from scenarios.validation.limits import EXAMPLES, amount
from scenarios.validation.spec import CheckSpec
from scenarios.verdict.invariants.evidence import ROUNDING, Level
from scenarios.verdict.verdict import EXIT_CODES
from topologies.model.document import nearest

FAILED_EXIT = 5     # of a VALID run whose checks do not all hold


class Status(StrEnum):
    """What came of one check."""

    PASS = "PASS"  # noqa: S105 - no password
    FAIL = "FAIL"
    WARN = "WARN"
    SKIP = "SKIP"


class Result(StrEnum):
    """What came of all checks of a run."""

    PASSED = "passed"
    FAILED = "failed"
    UNPROVEN = "unproven"


@dataclass(frozen=True)
class Outcome:
    """One check: its sentence, what was expected and what was found.

    proven: whether the run's verdict lets it count. blocked_by: of a skipped one, the check that stopped it.
    """

    name: str
    status: Status
    sentence: str
    expected: str = ""
    found: str = ""
    hint: str = ""
    proven: bool = True
    blocked_by: str = ""


@dataclass(frozen=True)
class Validation:
    """All checks of a run in their order, under its verdict."""

    run: str
    scenario: str
    level: str
    outcomes: tuple[Outcome, ...]

    def count(self, status: Status) -> int:
        return sum(o.status is status for o in self.outcomes)

    @property
    def result(self) -> Result:
        """FAILED and PASSED only where every answer is proven."""
        if not all(o.proven for o in self.outcomes):
            return Result.UNPROVEN
        return Result.FAILED if self.count(Status.FAIL) else Result.PASSED

    @property
    def exit_code(self) -> int:
        """0 passed, 5 failed; unproven: that of the verdict, 3 or 4."""
        if self.result is Result.UNPROVEN:
            return EXIT_CODES[Level[self.level]]
        return FAILED_EXIT if self.result is Result.FAILED else 0

    def as_json(self) -> dict[str, object]:
        """For `--json`: the result, and each check as it is reported."""
        return {"result": str(self.result), "verdict": self.level,
                "checks": [{**o.__dict__, "status": str(o.status)} for o in self.outcomes]}


@dataclass(frozen=True)
class _Answer:
    holds: bool
    expected: str
    found: str


def validate(run: RunDirectory, checks: Mapping[str, CheckSpec] | None = None, *,
             recorded: Recorded | None = None) -> Validation:
    """Answer checks (default: those of the run's own scenario) from a run's files; recorded: those read before.

    Raises LabError for a run that did not come to its end, and for one with a damaged or missing file.
    """
    scenario, facts = run.scenario, Facts(run, recorded)
    outcomes: list[Outcome] = []
    blocker = ""
    for name, check in (scenario.checks if checks is None else checks).items():
        if blocker:
            outcomes.append(Outcome(name, Status.SKIP, f"blocked by {blocker}", proven=facts.level == "VALID",
                                    blocked_by=blocker))
            continue
        outcome = _outcome(name, check, facts)
        outcomes.append(outcome)
        if check.stop_on_error and outcome.status is Status.FAIL:
            blocker = name
    return Validation(run.id, scenario.name, facts.level, tuple(outcomes))


def _outcome(name: str, check: CheckSpec, facts: Facts) -> Outcome:
    answer = _SUBJECTS[check.subject](check, facts)
    proven = facts.level == "VALID" or check.subject == "verdict"
    if answer.holds:
        return Outcome(name, Status.PASS, check.passes, answer.expected, answer.found, proven=proven)
    status = Status.WARN if check.level == "warning" else Status.FAIL
    return Outcome(name, status, check.fails, answer.expected, answer.found, check.hint, proven)


# ---- numbers

def _of_metric(check: CheckSpec, facts: Facts) -> _Answer:
    key = check.metric or ""
    other, where = (check.of, facts.metrics) if check.of else (check.of_prediction, facts.predictions)
    words = {check.of: "", check.of_prediction: "the predicted "}.get(other, "") if other else ""
    label = f"{key} / {words}{other}" if other else key
    unit = "" if other else str(facts.metrics.get(key, {}).get("unit") or "")
    expected = f"{label} {_wanted(check, unit)}"
    value = _value(facts.metrics, key)
    if value is None:
        return _Answer(False, expected, _absent(key, facts.metrics))
    if other is None:
        return _Answer(_holds(check, value), expected, quantity(value, unit))
    base = _value(where, other)
    if base is None:
        return _Answer(False, expected, _absent(other, where, words))
    if base == 0:
        return _Answer(False, expected, f"{words}{other} is 0: there is no ratio")
    each = [quantity(v, str(facts.metrics[key].get("unit") or "")) for v in (value, base)]
    return _Answer(_holds(check, value / base), expected, f"{number(value / base)} ({each[0]} / {each[1]})")


def _value(metrics: Mapping[str, Json], key: str) -> float | None:
    """The value, in real units where the fabric is scaled, as the scenario is written."""
    metric = metrics.get(key, {})
    value = metric.get("real", metric.get("value"))
    return float(value) if isinstance(value, int | float) else None


def _absent(key: str, metrics: Mapping[str, object], words: str = "") -> str:
    """'no metric of this name', and which there are near it."""
    owner = key.partition(".")[0]
    mine = [k for k in metrics if k.startswith(f"{owner}.")] or list(metrics)
    near = nearest(key, mine)
    there = f"{near} " if near else ""
    shown = ", ".join(mine[:8]) + (f" and {len(mine) - 8} more" if len(mine) > 8 else "")
    return f"{words}{key} was not measured; {there}there is {shown or 'nothing'}"


def _of_drops(check: CheckSpec, facts: Facts) -> _Answer:
    within = f" in phase {check.phase}" if check.phase else ""
    within += f" after its first {quantity(check.wait, 's')}" if check.wait else ""
    label = f"drops at {check.drops}" + (f" / drops at {check.of}" if check.of else "") + within
    expected = f"{label} {_wanted(check, '')}"
    counts = [_count(facts, place, check) for place in (check.drops, check.of) if place is not None]
    if any(n is None for n in counts):
        return _Answer(False, expected, "nothing was counted: the phase was over by then, or nothing was sampled")
    packets = [n for n in counts if n is not None]
    if len(packets) == 1:
        return _Answer(_holds(check, packets[0]), expected, number(packets[0]))
    if not packets[1]:
        return _Answer(False, expected, f"no drops at {check.of}: there is no ratio")
    ratio = packets[0] / packets[1]
    return _Answer(_holds(check, ratio), expected, f"{number(ratio)} ({number(packets[0])} / {number(packets[1])})")


def _count(facts: Facts, place: str, check: CheckSpec) -> int | None:
    return facts.drops_of_phase(place, check.phase, check.wait or 0.0) if check.phase else facts.drops(place)


def _holds(check: CheckSpec, value: float) -> bool:
    """Whether a number meets the one comparison that its check makes; the last bit of a float decides nothing."""
    slack = ROUNDING * abs(value)
    if check.equals is not None:
        wanted = amount(check.equals)[0]
        return abs(value - wanted) <= abs(wanted) * (check.within or 0.0) + slack
    low, high = check.between or (check.at_least, check.at_most)
    return (low is None or value >= amount(low)[0] - slack) and (high is None or value <= amount(high)[0] + slack)


def _wanted(check: CheckSpec, unit: str) -> str:
    """'at least 9.4 Mbit/s'."""
    def shown(limit: float | str) -> str:
        value, own = amount(limit)
        return quantity(value, unit if unit in EXAMPLES else own)
    if check.equals is not None:
        return f"{shown(check.equals)}" + (f" within {100 * check.within:g} %" if check.within else "")
    if check.between is not None:
        return f"from {shown(check.between[0])} to {shown(check.between[1])}"
    return " and ".join(f"{words} {shown(limit)}" for words, limit in (
        ("at least", check.at_least), ("at most", check.at_most)) if limit is not None)


# ---- names

def _of_culprit(check: CheckSpec, facts: Facts) -> _Answer:
    key = check.culprit or ""
    wanted = [str(check.equals)] if check.equals is not None else list(check.one_of or ())
    expected = f"{key} at {' or '.join(wanted)}"
    where = facts.metrics.get(key, {}).get("where")
    if not where:
        return _Answer(False, expected, _absent(key, facts.metrics) if key not in facts.metrics else
                       f"{key} names no place in this run")
    return _Answer(any(same_place(w, where) for w in wanted), expected, str(where))


def same_place(wanted: str, found: str) -> bool:
    """Whether what a metric names ('leaf1->spine3', 'rank 3 on h4') is a link, direction, tier or rank."""
    if wanted == found or found.startswith(f"{wanted} on "):
        return True
    return "->" in found and wanted in {"-".join(pair) for a, b in [found.split("->")] for pair in ((a, b), (b, a))}


def _of_verdict(check: CheckSpec, facts: Facts) -> _Answer:
    wanted = (check.verdict,) if isinstance(check.verdict, str) else check.verdict or ()
    return _Answer(facts.level in wanted, f"verdict {' or '.join(wanted)}", facts.level)


# ---- VPCs

def _of_isolation(check: CheckSpec, facts: Facts) -> _Answer:
    expected = "every proof to find what the VPCs say"
    kinds = {"false_allows": "false allows", "false_denies": "false denies", "uncounted": "drop rules short"}
    wrong = [f"{len(p[key])} {words} {p['when']}" for p in facts.proofs for key, words in kinds.items() if p[key]]
    if not facts.proofs:
        return _Answer(False, expected, "no proof was made")
    return _Answer(not wrong, expected, ", ".join(wrong) or f"{len(facts.proofs)} proofs, all right")


def _of_pairs(check: CheckSpec, facts: Facts) -> _Answer:
    """Pairs in the proof after a phase, or in every proof."""
    arrived = check.reachable is not None
    pairs = check.reachable or check.unreachable or ()
    when = f"after phase {check.phase}" if check.phase else ""
    proofs = [p for p in facts.proofs if not when or p["when"] == when]
    shown = ", ".join(f"{a}->{b}" for a, b in pairs)
    expected = f"{shown} {'reachable' if arrived else 'unreachable'}" + (f" {when}" if when else " in every proof")
    if not proofs or any("reached" not in p for p in proofs):
        return _Answer(False, expected, f"no proof {when}".rstrip() if not proofs else
                       "proofs without single pairs: the run is of an older version")
    wrong = [f"{a}->{b} {'did not arrive' if arrived else 'arrived'} {p['when']}" for p in proofs for a, b in pairs
             if (f"{a}->{b}" in p["reached"]) != arrived]
    return _Answer(not wrong, expected, ", ".join(wrong) or "so it was")


_SUBJECTS: dict[str, Callable[[CheckSpec, Facts], _Answer]] = {
    "metric": _of_metric, "drops": _of_drops, "culprit": _of_culprit, "verdict": _of_verdict,
    "isolation": _of_isolation, "reachable": _of_pairs, "unreachable": _of_pairs}
