"""What is told of a study is computed: turn the data round and the sentences turn; without a difference, none."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from scenarios.study import page, tables, terminal, words
from scenarios.study.analysis import Analysis, analyse
from scenarios.study.execute import execute
from scenarios.study.statistics import MIN_PAIRS, Estimate, confidence, difference, estimate
from scenarios.study.store import Store
from tests.unit.study_factory import STUDY, TIMES, Times, plan, runner

FASTER: Times = {"one": lambda seed: 5 - 0.1 * seed, "two": TIMES["two"], "four": TIMES["four"]}


Keys = frozenset[tuple[str, int]]


def analysis(directory: Path, times: Times = TIMES, study: str = STUDY, invalid: Keys = frozenset(),
             suspect: Keys = frozenset()) -> Analysis:
    """A study that has been done, with these step times and verdicts."""
    it = plan(directory / "files", study)
    store = Store(directory / "study")
    store.runs.mkdir(parents=True, exist_ok=True)
    level = {**dict.fromkeys(invalid, "INVALID"), **dict.fromkeys(suspect, "SUSPECT")}
    return analyse(execute(it, store, runner(it, store, times, lambda d, s: level.get((d, s), "VALID"))))


def test_the_first_sentence_says_who_won_by_how_much_and_how_sure_that_is(tmp_path: Path) -> None:
    it = analysis(tmp_path, {**TIMES, "four": lambda seed: 8 + 0.2 * seed + 0.01 * (-1) ** seed})
    assert words.answer(it)[0] == (
        "four wins in step time with 8.59 s, 2.01 s (19 %) less than two, the next (94 % interval of the paired "
        "difference -2.01 s to -1.99 s, 5 of 5 pairs alike).")


def test_inverted_data_inverts_the_sentences(tmp_path: Path) -> None:
    slower, faster = analysis(tmp_path / "a"), analysis(tmp_path / "b", FASTER)
    assert words.answer(slower)[0].startswith(
        "four and two lead in step time, between them no difference was seen: four has 10.6 s, ")
    assert "less than one, the next" in words.answer(slower)[0]
    assert words.answer(faster)[0].startswith("one wins in step time with 4.7 s, ")
    assert any(s.startswith("one is worse than two in step time: 20.3 s, 9.7 s (92 %) more than 10.6 s")
               for s in words.findings(slower))
    assert any(s.startswith("one is better than two in step time: 4.7 s, 5.9 s (56 %) less than 10.6 s")
               for s in words.findings(faster))
    assert any(s.startswith("one is better than two in bus bandwidth: ") for s in words.findings(faster))
    assert any(s.startswith("one is worse than two in bus bandwidth: ") for s in words.findings(slower))


def test_no_difference_is_told_where_the_interval_holds_zero(tmp_path: Path) -> None:
    it = analysis(tmp_path)
    told = [s for s in words.findings(it) if "four" in s and "step time" in s]
    assert told == ["No difference seen between four and two in step time (94 % interval of the paired difference "
                    "-10 ms to +10 ms, 5 pairs)."]
    assert [f.seen for f in it.metrics[0].findings] == [True, False]


def test_too_few_pairs_are_no_finding_however_large_the_difference(tmp_path: Path) -> None:
    it = analysis(tmp_path, study=STUDY.replace("repeats: 5", "repeats: 4"))
    assert words.answer(it)[0].startswith("Too few runs to say which design is best in step time: 4 pairs with the "
                                          "same seeds, and 5 are needed; ")
    assert all(s.startswith("Too few pairs to tell ") for s in words.findings(it))


def test_a_design_with_too_few_pairs_neither_leads_nor_is_beaten(tmp_path: Path) -> None:
    times: Times = {**TIMES, "four": lambda seed: 8 + 0.2 * seed}
    it = analysis(tmp_path, times, STUDY.replace("repeats: 5", "repeats: 5\nretries: 0"), frozenset({("one", 3)}))
    step = it.metrics[0]
    assert (step.leaders, step.beaten, step.untold) == (("four",), {"two": step.of_leader["two"].difference}, ("one",))
    assert words.answer(it)[0].endswith("; of one there are too few pairs.")


def test_invalid_runs_are_left_out_counted_and_cost_their_pair(tmp_path: Path) -> None:
    it = analysis(tmp_path, study=STUDY.replace("repeats: 5", "repeats: 6\nretries: 0"),
                  invalid=frozenset({("one", 3), ("four", 4)}), suspect=frozenset({("two", 1)}))
    one = next(f for f in it.metrics[0].findings if f.design == "one")
    assert one.difference is not None
    assert one.difference.n == 5
    assert words.caveats(it)[:3] == [
        "2 of the 18 planned runs have no usable result.", "2 runs INVALID and left out.",
        "SUSPECT, of the runs that count: 1 of 16. The machine may have had a part in what they say."]
    assert tables.verdicts(it.result) == "15 VALID, 1 SUSPECT, 2 INVALID of 18 runs"
    assert ("one", "5 (1 INVALID)") in [row[:2] for row in tables.overview(it)[1]]


def test_a_reference_is_compared_but_cannot_win(tmp_path: Path) -> None:
    study = STUDY.replace("one: {set: {fabric.spines: 1}}", "one: {set: {fabric.spines: 1}, reference: true}")
    it = analysis(tmp_path, FASTER, study)
    assert "one" not in it.metrics[0].ranked
    assert any(s.startswith("one is better than two in step time") for s in words.findings(it))
    assert words.answer(it)[0].startswith("No difference was seen between ")


def test_another_unit_than_the_study_says_is_not_compared(tmp_path: Path) -> None:
    it = analysis(tmp_path, study=STUDY.replace("better: higher}", "better: higher, unit: B}"))
    assert words.answer(it)[1] == "The designs cannot be compared in bus bandwidth: its unit is B and bit/s."


def test_metrics_of_one_title_are_told_apart_by_their_workloads(tmp_path: Path) -> None:
    study = STUDY.replace("better: lower}", "better: lower, title: speed}").replace(
        "better: higher}", "better: higher, title: speed}")
    assert {m.label for m in analysis(tmp_path, study=study).metrics} == {"speed of ring"}


def test_a_study_with_no_run_yet_says_so(tmp_path: Path) -> None:
    it = plan(tmp_path / "files")
    store = Store(tmp_path / "study")
    store.runs.mkdir(parents=True)
    empty = analyse(store.collect(it))
    assert words.answer(empty) == ["No usable run of a design that could win has measured ring.step_time.",
                                   "No usable run of a design that could win has measured ring.busbw."]
    assert "No run has ended yet." in page.build(empty)


def test_one_design_alone_is_not_called_the_best(tmp_path: Path) -> None:
    gone = frozenset((name, seed) for name in ("one", "two") for seed in range(1, 6))
    it = analysis(tmp_path, study=STUDY.replace("repeats: 5", "repeats: 5\nretries: 0"), invalid=gone)
    assert words.answer(it)[0] == (
        "In step time only four has a usable run, 10.6 s: there is nothing to hold it against.")


def test_many_comparisons_are_told_with_what_chance_would_find(tmp_path: Path) -> None:
    assert words.caveats(analysis(tmp_path))[-1] == (
        "4 comparisons with the baseline were made; were there no differences at all, about 0.2 of them would be told "
        "by chance.")


# ---- page, terminal and data

def test_the_page_begins_with_the_answer_and_has_every_finding(tmp_path: Path) -> None:
    it = analysis(tmp_path)
    html = page.build(it)
    at = [html.index(text) for text in ("How many spines does the ring need?", "lead in step time",
                                        "15 VALID of 15 runs", "fig-designs", "fig-differences")]
    assert at == sorted(at)
    assert html.count("<svg") == 4
    assert "http" not in html.replace("http-equiv", "")
    assert all(run.run in html for _, run in it.result.outcomes)


def test_data_lie_beside_the_page(tmp_path: Path) -> None:
    it = analysis(tmp_path)
    _, *others = (tmp_path / "study" / "runs" / outcome.run / "report.html" for _, outcome in it.result.outcomes)
    for report in others:       # as if a kill had kept one run from its report
        report.write_text("of before")
    page.write(it, tmp_path / "study")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "study" / "runs.csv").read_text())))
    assert len(rows) == 15
    assert {float(r["ring.step_time"]) for r in rows if r["design"] == "one"} == {20.1, 20.2, 20.3, 20.4, 20.5}
    summary = {(r["metric"], r["design"]): r
               for r in csv.DictReader(io.StringIO((tmp_path / "study" / "summary.csv").read_text()))}
    assert float(summary["ring.step_time", "one"]["difference"]) == pytest.approx(9.7)
    assert summary["ring.step_time", "two"]["difference"] == ""
    assert {report.read_text() for report in others} == {"of before"}
    assert "<html" in (tmp_path / "study" / "runs" / it.result.outcomes[0][1].run / "report.html").read_text()
    told = json.loads(json.dumps(tables.json_object(it, {"answer": words.answer(it)})))
    assert told["leaders"]["ring.step_time"] == ["four", "two"]


def test_the_terminal_says_the_answer_on_its_first_lines(tmp_path: Path) -> None:
    it = analysis(tmp_path, FASTER)
    console = Console(width=100, record=True, file=io.StringIO())
    terminal.show(it, console)
    lines = console.export_text().splitlines()
    assert lines[0] == "How many spines does the ring need?"
    assert lines[2].startswith("one wins in step time with 4.7 s")


# ---- statistics

def test_the_confidence_of_few_values_is_what_order_statistics_give() -> None:
    assert [confidence(n) for n in (0, 1, 2, 3, 5, 6, 20)] == [0, 0, 0.5, 0.75, 0.9375, 0.95, 0.95]


def test_the_interval_of_up_to_five_values_is_their_range() -> None:
    assert estimate([3.0, 1.0, 2.0, 9.0, 4.0], "x") == Estimate(3.0, 1.0, 9.0, 5)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12))
def test_the_interval_holds_the_median_and_lies_within_the_values(values: list[float]) -> None:
    e = estimate(values, "x")
    assert e is not None
    assert min(values) <= e.low <= e.median <= e.high <= max(values)


def test_intervals_of_many_draws_hold_the_true_median_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for n in range(100):
        e = estimate(list(rng.normal(size=12)), f"draw {n}")
        assert e is not None
        held += e.low <= 0 <= e.high
    assert held >= 88


def test_pairs_are_of_one_seed_and_unpaired_seeds_are_left_out() -> None:
    mine = {1: 2.0, 2: 12.0, 3: 103.0, 4: 1.0}
    other = {1: 1.0, 2: 11.0, 3: 100.0, 9: 0.0}
    d = difference(mine, other, "x")
    assert d is not None
    assert (d.median, d.low, d.high, d.n, d.base, d.agree) == (1.0, 1.0, 3.0, 3, 11.0, 3)
    assert d.n < MIN_PAIRS
    assert not d.seen
    assert difference(mine, {9: 1.0}, "x") is None


def test_a_difference_turns_its_sign_with_its_sides() -> None:
    a, b = {s: 10.0 + s for s in range(6)}, {s: 9.0 + 0.5 * s for s in range(6)}
    one, two = difference(a, b, "x"), difference(b, a, "x")
    assert one is not None
    assert two is not None
    assert one.median == -two.median
    assert one.seen
    assert two.seen


def test_titles_keep_their_capitals_in_captions(tmp_path: Path) -> None:
    it = analysis(tmp_path, study=STUDY.replace("step_time, better: lower}", "step_time, better: lower, title: TTFT}"))
    assert "Lower is better in TTFT; higher is better in" in page.build(it)
