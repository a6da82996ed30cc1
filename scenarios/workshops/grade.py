"""A learner's work and a finished run -> what came of each check, in the manner of a scenario's `validate:`.

    before a run   is what was to be left alone as it was? do the skeleton's functions give what they should?
    after it       the workshop's checks, with the learner's answers in their places

A run that the machine made INVALID is no ground for a grade.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from scenarios.evidence.results import RunDirectory
from scenarios.validation.evaluate import Outcome, Status, Validation, validate
from scenarios.validation.spec import CheckSpec
from scenarios.verdict.invariants.evidence import Level
from scenarios.workshops.answers import Answer
from scenarios.workshops.lesson import FunctionCheck, Predicted, is_answer
from scenarios.workshops.ring import ring_facts
from scenarios.workshops.skeleton import Reply, call
from scenarios.workshops.work import Work
from topologies.model.document import show
from topologies.model.errors import LabError

AS_GIVEN = "as-given"
NO_RUN = "VALID"        # of checks before a run: no machine has had a part in them
CLOSE = 1e-6            # relative; what a function gives is a formula's value


def before(work: Work) -> Validation:
    """The checks that need no run; those that a changed network would make worthless are then skipped."""
    first = _as_given(work)
    rest = [*work.lesson.functions, *work.lesson.checks]
    if first.status is Status.FAIL:
        blocked = tuple(_blocked(name, AS_GIVEN) for name in rest)
        return Validation("", work.written.name, NO_RUN, (first, *blocked))
    return Validation("", work.written.name, NO_RUN, (first, *_functions(work)))


def after(work: Work, ready: Validation, run: RunDirectory) -> Validation:
    """All checks: those of before, and those of the run. Raises LabError for a run that is damaged."""
    answers = {**work.answers, **_predicted(work, run)}
    outcomes: list[Outcome] = []
    blocker, level = "", NO_RUN
    for name, check in work.lesson.checks.items():
        if blocker:
            outcomes.append(_blocked(name, blocker))
            continue
        spec = CheckSpec.model_validate({k: _filled(v, answers) for k, v in check.items()})
        found = validate(run, {name: spec})
        level, outcome = found.level, found.outcomes[0]
        missing = [answers[v[1:]] for v in check.values() if is_answer(v) and answers[v[1:]].value is None]
        outcomes.append(_unanswered(name, spec, missing[0]) if missing else outcome)
        if spec.stop_on_error and outcome.status is Status.FAIL:
            blocker = name
    return Validation(run.id, work.written.name, level, (*ready.outcomes, *outcomes))


def kept_run(work: Work, runs: Path) -> RunDirectory | None:
    """The newest run below `runs` if it is of the same scenario and counts: an answer needs no new one."""
    try:
        run = RunDirectory.latest(runs)
        same = run.scenario.model_dump_json() == work.scenario.model_dump_json()
        return run if same and run.meta.status == "complete" and not not_graded(run) else None
    except LabError:        # none yet, or one that was changed or broken off: it is run again
        return None


def not_graded(run: RunDirectory) -> list[str]:
    """Lines that say why a run is no ground for a grade; none where it is."""
    verdict = run.read("verdict") or {}
    if verdict.get("verdict") != Level.INVALID.name:
        return []
    reasons = [f"  {r['invariant']}: {r['text']}" for r in verdict.get("reasons", [])
               if r["level"] == verdict["verdict"]]
    return ["Not graded: the run is INVALID, so its numbers are the machine's and not the network's.", *reasons,
            "  -> stop other programs on this machine and check again; docs/how-to/troubleshooting.md says more"]


def _as_given(work: Work) -> Outcome:
    changed = work.changed()
    expected = f"only {', '.join(work.lesson.free)} to be yours"
    if not changed:
        return Outcome(AS_GIVEN, Status.PASS, "The network and the job are the ones that you were given.", expected,
                       "so it is")
    return Outcome(AS_GIVEN, Status.FAIL, "This is not the problem that you were given.", expected,
                   "; ".join(changed), "undo that change: the workshop can be solved without it")


def _functions(work: Work) -> Iterator[Outcome]:
    """Each function of the skeleton, held against its cases."""
    asked = work.lesson.functions
    calls = [(check.function, arguments) for check in asked.values() for arguments, _ in check.cases]
    replies = iter(call(work.file, calls) if calls else ())
    for name, check in asked.items():
        yield _function(name, check, [next(replies) for _ in check.cases])


def _function(name: str, check: FunctionCheck, replies: list[Reply]) -> Outcome:
    for (arguments, wanted), reply in zip(check.cases, replies, strict=True):
        if not _close(reply.value, wanted):
            given = ", ".join(f"{a:g}" for a in arguments)
            found = f"a TODO at {reply.where}" if reply.todo else reply.error or show(reply.value)
            return Outcome(name, Status.FAIL, check.fails, f"{check.function}({given}) = {wanted:g}", found, check.hint)
    return Outcome(name, Status.PASS, check.passes, f"{check.function} right in {len(replies)} cases", "so it is")


def _close(value: object, wanted: float) -> bool:
    return isinstance(value, int | float) and abs(value - wanted) <= CLOSE * max(1.0, abs(wanted))


def _predicted(work: Work, run: RunDirectory) -> dict[str, Answer]:
    """What the skeleton's functions predict of each ring of the run."""
    asked = {name: a for name, a in work.lesson.answers.items() if isinstance(a, Predicted)}
    calls = [(a.function, ring_facts(run, a.ring)) for a in asked.values()]
    replies = call(work.file, calls) if calls else []
    return {name: _of_reply(reply) for name, reply in zip(asked, replies, strict=True)}


def _of_reply(reply: Reply) -> Answer:
    if reply.error or isinstance(reply.value, bool) or not isinstance(reply.value, int | float):
        found = "TODO" if reply.todo else reply.error or show(reply.value)
        return Answer(None, reply.where, "seconds", found)
    return Answer(f"{reply.value:.9f}s")


def _filled(value: object, answers: Mapping[str, Answer]) -> object:
    """A value of a check with the learner's answer in its place; where there is none the check is not made."""
    if not is_answer(value):
        return value
    answer = answers[value[1:]].value
    return 0 if answer is None else answer


def _unanswered(name: str, check: CheckSpec, missing: Answer) -> Outcome:
    return Outcome(name, Status.FAIL, check.fails, f"{missing.expected} at {missing.where}", missing.found, check.hint)


def _blocked(name: str, blocker: str) -> Outcome:
    return Outcome(name, Status.SKIP, f"blocked by {blocker}", blocked_by=blocker)
