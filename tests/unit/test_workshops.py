"""Workshops without a lab: their files, the learner's directory, answers, skeletons, and grades of runs made up."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from scenarios.evidence.results import RunDirectory
from scenarios.spec.scenario import Scenario
from scenarios.validation.evaluate import Status, Validation
from scenarios.workshops.answers import read_answers
from scenarios.workshops.grade import after, before, kept_run, not_graded
from scenarios.workshops.learner import MARK, explanation, solve, start
from scenarios.workshops.lesson import WORKSHOPS, Lesson, find, lesson_of, lessons, names
from scenarios.workshops.ring import spread
from scenarios.workshops.skeleton import call
from scenarios.workshops.work import read_work
from tests.unit import run_factory
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

SLOW, ECMP = "01-slowest-link", "02-ecmp-entropy"


def changed(path: Path, old: str, new: str) -> None:
    """Replace a piece of a learner's file, which has to be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def failed(found: Validation) -> list[str]:
    return [o.name for o in found.outcomes if o.status is Status.FAIL]


def made_up(base: Path, scenario: Scenario, metrics: dict[str, Any], level: str = "VALID",
            **parts: Any) -> RunDirectory:
    """A finished run with these metrics: key -> value, or (value, where)."""
    pairs = {key: m if isinstance(m, tuple) else (m, None) for key, m in metrics.items()}
    units = {"step_time": "s", "time": "s", "bottleneck_link_rate": "bit/s", "busbw": "bit/s"}
    return run_factory.make(
        base, scenario, verdict=run_factory.verdict(level, int(level != "VALID")), ledger=run_factory.ledger(),
        metrics={key: {"value": value, "where": where, "unit": units.get(key.rpartition(".")[2], "")}
                 for key, (value, where) in pairs.items()}, **parts)


# As a lab gave them.
MONDAY = {"ring.sunday.step_time": 0.584, "ring.monday.step_time": 4.0, "ring.repaired.step_time": 0.962,
          "fabric.monday.bottleneck_link": (0.91, "spine3->leaf1"),
          "fabric.monday.bottleneck_link_rate": (1.054e6, "spine3->leaf1")}


# ---- what we ship

def test_every_workshop_has_all_its_parts_and_a_readme_with_all_its_sections() -> None:
    assert [n[:2] for n in names()] == ["01", "02", "03"]
    for name, lesson in lessons():
        text = (WORKSHOPS / name / "README.md").read_text()
        for part in ("**Objective.**", f"**Time.** {lesson.minutes} minutes", "## Run it as it is", "## Steps",
                     "## Food for thought", "## Troubleshooting", "## Clean-up"):
            assert part in text, f"{name}: {part}"
        assert text.splitlines()[0] == f"# {name[:2]}: {lesson.title}"
        assert explanation(name)


@pytest.mark.parametrize("name", names())
def test_starter_and_solution_load_and_differ_only_in_what_is_the_learners(tmp_path: Path, name: str) -> None:
    for make in (start, solve):
        work = read_work(make(name, tmp_path / make.__name__))
        assert work.changed() == []
        assert before(work).outcomes[0].status is Status.PASS
    assert failed(before(read_work(tmp_path / "solve"))) == []


@pytest.mark.parametrize(("flows", "spines"), [(1, 4), (4, 4), (2, 2), (8, 4), (4, 1)])
def test_the_cases_of_idle_spines_are_what_counting_all_outcomes_gives(flows: int, spines: int) -> None:
    every = [spines - len(set(taken)) for taken in itertools.product(range(spines), repeat=flows)]
    cases = dict(lesson_of(ECMP).functions["idle-spines"].cases)
    assert cases[float(flows), float(spines)] == pytest.approx(sum(every) / len(every))


# ---- finding and starting

def test_a_workshop_is_found_by_its_name_its_number_and_the_beginning_of_its_name() -> None:
    assert {find(n) for n in ("02", "02-ecmp", ECMP)} == {ECMP}


@pytest.mark.parametrize(("name", "hint"), [
    ("slowest-lnk", f"did you mean {SLOW}"), ("0", ""), ("", ""), ("../02", "")])
def test_an_unknown_name_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        find(name)
    assert SLOW in caught.value.expected
    assert hint in caught.value.hint


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    work = start(SLOW, tmp_path / "deep" / "mine")
    (work / "answers.yml").write_text("my work")
    for again in (start, solve):
        with pytest.raises(LabError, match=f"aifab workshop check {work}"):
            again(SLOW, work)
    assert (work / "answers.yml").read_text() == "my work"
    assert not list(work.parent.glob(".*.part"))


def test_a_place_where_nothing_can_be_made_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="a place where a directory can be made"):
        start(SLOW, tmp_path / "file" / "mine")


def test_checked_before_it_is_started_says_how_to_start_and_what_is_beside(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no directory(.|\n)*aifab workshop start NAME, NAME one of 01-slowest-link"):
        read_work(tmp_path / "nowhere")
    start(SLOW, tmp_path / "mine")
    with pytest.raises(LabError, match="none here, but in mine"):
        read_work(tmp_path)


@pytest.mark.parametrize("mark", ["{", "[]", '{"workshop": 3}', '{"workshop": "zz"}'])
def test_a_damaged_mark_is_an_error(tmp_path: Path, mark: str) -> None:
    work = start(SLOW, tmp_path / "mine")
    (work / MARK).write_text(mark)
    with pytest.raises(LabError, match="workshop"):
        read_work(work)


# ---- what a learner writes

def test_a_file_that_does_not_load_gives_the_loaders_own_error_with_its_line(tmp_path: Path) -> None:
    work = start(SLOW, tmp_path / "mine")
    changed(work / "start.yml", "events: []", "events:\n  - {phase: repaired, at: 0s, link: leaf1-spine9, state: down}")
    with pytest.raises(SpecErrors, match=r"start\.yml:\d+ events\.0\.link: expected a link"):
        read_work(work)
    (work / "start.yml").unlink()
    with pytest.raises(SpecError, match="no such file"):
        read_work(work)


def test_another_network_than_the_given_one_is_named_and_blocks_all_other_checks(tmp_path: Path) -> None:
    work = start(SLOW, tmp_path / "mine")
    changed(work / "start.yml", "uplink_rate: 10.6mbit", "uplink_rate: 100mbit")
    changed(work / "start.yml", "question:", "seed: 3\nquestion:")
    found = before(read_work(work))
    assert failed(found) == ["as-given"]
    assert found.outcomes[0].found == "fabric.uplink_rate is 100 Mbit/s instead of 10.6 Mbit/s; seed is 3 instead of 1"
    assert {o.blocked_by for o in found.outcomes[1:]} == {"as-given"}
    assert len(found.outcomes) == 1 + len(lesson_of(SLOW).checks)


def test_a_question_of_ones_own_is_no_other_network(tmp_path: Path) -> None:
    work = start(SLOW, tmp_path / "mine")
    changed(work / "start.yml", "question: Since", "question: Whatever, since")
    assert read_work(work).changed() == []


def test_the_fault_is_in_what_is_run_and_in_nothing_that_the_learner_has(tmp_path: Path) -> None:
    work = read_work(start(SLOW, tmp_path / "mine"))
    assert [(e.phase, e.link, e.hidden) for e in work.scenario.link_events("monday")] == [
        ("monday", "leaf1-spine3", True)]
    assert work.written.events == ()
    shipped = [p.read_text() for p in work.directory.iterdir()]
    assert not any("leaf1-spine3" in text for text in shipped)


@pytest.mark.parametrize(("text", "expected", "found"), [
    ("link: TODO", "your answer", "TODO"), ("rate: 4mbit", "your answer", "nothing"),
    ("link:", "your answer", "nothing"),
    ("link: leaf1-spine9", "a link of this fabric, such as leaf2-spine1; did you mean leaf1-spine4", "leaf1-spine9"),
    ("link: 3", "a link of this fabric", "3")])
def test_an_answer_that_is_none_says_what_was_expected_and_where(tmp_path: Path, text: str, expected: str,
                                                                  found: str) -> None:
    (tmp_path / "answers.yml").write_text(f"{text}\n")
    answer = read_answers(tmp_path, {"link": "link", "rate": "rate"}, _fabric())["link"]
    assert answer.value is None
    assert answer.expected.startswith(expected)
    assert answer.found == found
    assert answer.where.startswith(f"{tmp_path}/answers.yml:1")


@pytest.mark.parametrize(("kind", "text", "value"), [
    ("rate", "1.06mbit", "1.06mbit"), ("time", "3.8s", "3.8s"), ("number", "2", 2.0), ("link", "leaf2-spine1",
                                                                                      "leaf2-spine1"),
    ("rate", "1.06", None), ("time", "3.8", None), ("number", "2s", None), ("number", "true", None),
    ("number", ".nan", None), ("rate", "0mbit", None)])
def test_answers_are_taken_with_their_units_and_nothing_else(tmp_path: Path, kind: Any, text: str,
                                                             value: object) -> None:
    (tmp_path / "answers.yml").write_text(f"it: {text}\n")
    answer = read_answers(tmp_path, {"it": kind}, _fabric())["it"]
    assert answer.value == value
    assert (answer.expected == "") == (value is not None)


def test_an_answer_that_nobody_asked_for_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "answers.yml").write_text("lnk: leaf1-spine1\n")
    with pytest.raises(SpecErrors, match="did you mean link"):
        read_answers(tmp_path, {"link": "link"}, _fabric())


def _fabric() -> Any:
    return expand(FabricSpec(leaves=2, spines=4))


# ---- skeletons

def skeleton(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "skeleton.py"
    path.write_text(text)
    return path


def test_functions_of_a_skeleton_are_called_and_what_they_print_does_no_harm(tmp_path: Path) -> None:
    path = skeleton(tmp_path, "def twice(x):\n    print('hello')\n    return 2 * x\n")
    assert [r.value for r in call(path, [("twice", (2,)), ("twice", ([1],))])] == [4, [1, 1]]


@pytest.mark.parametrize(("body", "error", "todo"), [
    ("raise NotImplementedError('TODO 1')", "NotImplementedError: TODO 1", True),
    ("return 1 / x", "ZeroDivisionError: division by zero", False), ("exit(3)", "SystemExit: 3", False),
    ("return {1, 2}", "TypeError: Object of type set is not JSON serializable", False),
    ("return float('nan')", "ValueError", False)])
def test_what_goes_wrong_in_a_function_is_reported_with_its_line(tmp_path: Path, body: str, error: str,
                                                                 todo: bool) -> None:
    path = skeleton(tmp_path, f"\ndef half(x):\n    {body}\n")
    (reply,) = call(path, [("half", (0,))])
    assert reply.error.startswith(error)
    assert reply.todo is todo
    assert reply.where.startswith(f"{path}:{3 if 'return {' not in body and 'nan' not in body else 2} half")


@pytest.mark.parametrize(("text", "found"), [
    ("def f(:\n", r"skeleton\.py:1: expected Python that can be loaded; found SyntaxError"),
    ("import nosuch\n", r"skeleton\.py:1: expected Python that can be loaded; found ModuleNotFoundError"),
    ("import os\nos._exit(3)\n", "found exit code 3")])
def test_a_skeleton_that_cannot_be_loaded_is_an_error_with_its_line(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(SpecError, match=found):
        call(skeleton(tmp_path, text), [("f", ())])


def test_a_skeleton_that_does_not_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.workshops.skeleton.LIMIT", 0.5)
    with pytest.raises(SpecError, match="a loop without an end"):
        call(skeleton(tmp_path, "while True: pass\n"), [("f", ())])


@pytest.mark.parametrize(("old", "new", "found"), [
    ('"fabric": {"base": "spines4"', '"fabric": {"base": "spines5"', r"skeleton\.py:33 fabric\.base: .*\n.*spines4"),
    ("    return {\n", "    return [\n] or {\n", None), ("    return {\n", "    return [] and {\n", "as a dict"),
    ('"flows_per_pair": 1', '"flows_per_pair": 100', r"skeleton\.py:33 workloads\.many\.flows_per_pair: .*64")])
def test_a_scenario_of_a_skeleton_is_loaded_as_a_file_is(tmp_path: Path, old: str, new: str, found: str | None) -> None:
    work = start(ECMP, tmp_path / "mine")
    changed(work / "skeleton.py", old, new)
    if found is None:
        assert read_work(work).changed() == []
        return
    with pytest.raises(SpecError, match=found):
        read_work(work)


def test_a_function_with_another_formula_fails_with_the_case_that_shows_it(tmp_path: Path) -> None:
    work = start(ECMP, tmp_path / "mine")
    changed(work / "skeleton.py", 'raise NotImplementedError("TODO 1")', "return spines - 1")
    outcome = before(read_work(work)).outcomes[1]
    assert (outcome.name, outcome.status, outcome.expected, outcome.found) == (
        "idle-spines", Status.FAIL, "idle_spines(4, 4) = 1.26562", "3.0")


# ---- grading

def test_right_answers_pass_and_each_wrong_one_fails_its_own_check(tmp_path: Path) -> None:
    work = read_work(solve(SLOW, tmp_path / "mine"))
    run = made_up(tmp_path / "runs", work.scenario, MONDAY)
    assert failed(after(work, before(work), run)) == []
    for old, new, name in (("leaf1-spine3", "leaf2-spine3", "link-found"), ("1.06mbit", "2mbit", "rate-found"),
                           ("4s", "0.6s", "monday-predicted"), ("after: 1.65", "after: 2", "repair-predicted")):
        directory = solve(SLOW, tmp_path / name)
        changed(directory / "answers.yml", old, new)
        wrong = read_work(directory)
        assert failed(after(wrong, before(wrong), run)) == [name]


def test_todos_that_are_left_fail_with_their_place(tmp_path: Path) -> None:
    work = read_work(start(SLOW, tmp_path / "mine"))
    found = after(work, before(work), made_up(tmp_path / "runs", work.scenario, MONDAY))
    assert failed(found) == ["link-found", "rate-found", "monday-predicted", "repair-predicted"]
    outcome = found.outcomes[2]
    assert (outcome.found, outcome.expected) == ("TODO", f"your answer at {work.directory}/answers.yml:2 link")
    assert found.exit_code == 5


def test_a_check_that_the_others_rest_on_blocks_them(tmp_path: Path) -> None:
    work = read_work(solve(SLOW, tmp_path / "mine"))
    found = after(work, before(work), made_up(
        tmp_path / "runs", work.scenario, {**MONDAY, "ring.monday.step_time": 0.4}))
    assert failed(found) == ["monday-crawls"]
    assert {o.blocked_by for o in found.outcomes if o.status is Status.SKIP} == {"monday-crawls"}
    assert found.count(Status.SKIP) == 5


def test_functions_are_held_against_the_paths_that_the_flows_took(tmp_path: Path) -> None:
    """Two flows of four on one spine: a step of twice the time; a formula with the mean says as long as alone."""
    work = read_work(solve(ECMP, tmp_path / "mine"))
    there = {rank: f"leaf1->spine{spine}" for rank, spine in enumerate((1, 1, 2, 4))}
    paths = [{"kind": "path", "workload": name, "src_rank": rank, "dst_rank": rank + 4, "number": n,
              "there": ["h1->leaf1", direction if name == "elephants" else f"leaf1->spine{n % 4 + 1}", "leaf2->h5"]}
             for name, count in (("elephants", 1), ("many", 4)) for rank, direction in there.items()
             for n in range(count)]
    run = made_up(tmp_path / "runs", work.scenario, {
        "elephants.time": 2.9, "elephants.busbw": 4.7e6, "elephants.busbw_of_limit": 0.5, "many.time": 1.5,
        "many.busbw": 9e6, "fabric.many-flows.jfi": 0.99}, records=paths,
        predictions={f"{name}.time": {"value": 1.46} for name in ("elephants", "many")})
    assert max(spread(run, "elephants")[0]) == 2
    assert sum(spread(run, "many")[0]) == 16
    assert spread(run, "many")[1] == 4
    assert failed(after(work, before(work), run)) == []
    changed(work.file, "max(max(flows) / flows_per_pair, 1.0)", "sum(flows) / len([f for f in flows if f]) /"
            " flows_per_pair")
    wrong = read_work(work.directory)
    assert failed(after(wrong, before(wrong), run)) == ["few-predicted"]


def test_an_invalid_run_is_not_graded_and_says_why(tmp_path: Path) -> None:
    work = read_work(solve(SLOW, tmp_path / "mine"))
    run = made_up(tmp_path / "runs", work.scenario, MONDAY, "INVALID")
    reasons = not_graded(run)
    assert reasons[0].startswith("Not graded: the run is INVALID")
    assert "leaf1's switch waited for the CPU" in reasons[1]
    assert after(work, before(work), run).exit_code == 3
    assert not_graded(made_up(tmp_path / "runs", work.scenario, MONDAY, "SUSPECT")) == []


def test_the_last_run_is_kept_as_long_as_its_scenario_is_the_same(tmp_path: Path) -> None:
    directory = solve(SLOW, tmp_path / "mine")
    runs = directory / "runs"
    assert kept_run(read_work(directory), runs) is None
    made = made_up(runs, read_work(directory).scenario, MONDAY)
    changed(directory / "answers.yml", "after: 1.65", "after: 3")
    kept = kept_run(read_work(directory), runs)
    assert kept is not None
    assert kept.id == made.id
    changed(directory / "start.yml", "state: down", "state: up")
    assert kept_run(read_work(directory), runs) is None


@pytest.mark.parametrize("spoil", [
    {"level": "INVALID"}, {"status": "failed"}, {"status": "running"}])
def test_a_run_that_does_not_count_is_not_kept(tmp_path: Path, spoil: dict[str, str]) -> None:
    directory = solve(SLOW, tmp_path / "mine")
    made_up(directory / "runs", read_work(directory).scenario, MONDAY, **spoil)
    assert kept_run(read_work(directory), directory / "runs") is None


# ---- the command line

def test_a_check_that_names_no_answer_of_its_lesson_is_refused() -> None:
    lesson = {"title": "t", "minutes": 30, "about": "a", "free": ["events"], "answers": {"link": "link"}}
    check = {"culprit": "fabric.bottleneck_link", "equals": "$link", "pass": "p", "fail": "f"}
    assert Lesson.model_validate({**lesson, "validate": {"one": check}}).checks
    with pytest.raises(ValueError, match=r"one of the answers link; found \$lnk"):
        Lesson.model_validate({**lesson, "validate": {"one": {**check, "equals": "$lnk"}}})
