"""The sentences of a study are computed: turn the data round and the sentences turn; without a difference, none."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from scenarios.study import narrative, page, tables, terminal
from scenarios.study.analysis import Analysis, analyse
from scenarios.study.load import load_study
from scenarios.study.result import DesignResult, Measure, Outcome, StudyResult
from scenarios.study.statistics import MIN_PAIRS, confidence, coverage, difference, estimate, rank
from scenarios.study.store import Store
from tests.unit.study_factory import STUDY, TIMES, Times, plan, runner

FASTER: Times = {"one": lambda seed: 5 - 0.1 * seed, "two": TIMES["two"], "four": TIMES["four"]}


Keys = frozenset[tuple[str, int]]
_DONE: dict[object, Analysis] = {}


def analysis(directory: Path, times: Times = TIMES, study: str = STUDY, invalid: Keys = frozenset(),
             suspect: Keys = frozenset()) -> Analysis:
    """A study that has been done, with these step times and verdicts; the same study is done once."""
    key = (tuple(times.items()), study, invalid, suspect)
    if key not in _DONE:
        _DONE[key] = _done(directory, times, study, invalid, suspect)
    return _DONE[key]


def _done(directory: Path, times: Times, study: str, invalid: Keys, suspect: Keys) -> Analysis:
    it = plan(directory / "files", study)
    store = Store(directory / "study")
    store.runs.mkdir(parents=True, exist_ok=True)
    level = {**dict.fromkeys(invalid, "INVALID"), **dict.fromkeys(suspect, "SUSPECT")}
    run = runner(it, store, times, lambda d, s: level.get((d, s), "VALID"))
    for name, seed in it.order:
        run(it.designs[name].with_seed(seed))
    return analyse(store.collect(it))


def test_the_first_sentence_says_who_won_by_how_much_and_how_sure_that_is(tmp_path: Path) -> None:
    it = analysis(tmp_path, {**TIMES, "four": lambda seed: 8 + 0.2 * seed + 0.01 * (-1) ** seed})
    assert narrative.answer(it)[0] == (
        "four wins in step time with 8.81 s, 2.01 s (19 %) less than two, the next (98.4 % interval of the paired "
        "difference -2.01 s to -1.99 s, 7 of 7 pairs alike).")


def test_inverted_data_inverts_the_sentences(tmp_path: Path) -> None:
    slower, faster = analysis(tmp_path / "a"), analysis(tmp_path / "b", FASTER)
    assert narrative.answer(slower)[0].startswith(
        "four and two lead in step time, with no difference seen between them: four has 10.8 s, ")
    assert "less than one, the next" in narrative.answer(slower)[0]
    assert narrative.answer(faster)[0].startswith("one wins in step time with 4.6 s, ")
    assert any(s.startswith("one is worse than two in step time: 20.4 s, 9.6 s (89 %) more than 10.8 s")
               for s in narrative.findings(slower))
    assert any(s.startswith("one is better than two in step time: 4.6 s, 6.2 s (57 %) less than 10.8 s")
               for s in narrative.findings(faster))
    assert any(s.startswith("one is better than two in bus bandwidth: ") for s in narrative.findings(faster))
    assert any(s.startswith("one is worse than two in bus bandwidth: ") for s in narrative.findings(slower))


def test_no_difference_is_reported_where_the_interval_holds_zero(tmp_path: Path) -> None:
    it = analysis(tmp_path)
    reported = [s for s in narrative.findings(it) if "four" in s and "step time" in s]
    assert reported == ["No difference seen between four and two in step time (98.4 % interval of the paired "
                        "difference -10 ms to +10 ms, 7 pairs)."]
    assert [f.seen for f in it.metrics[0].findings] == [True, False]


def test_too_few_pairs_are_no_finding_however_large_the_difference(tmp_path: Path) -> None:
    it = analysis(tmp_path, study=STUDY.replace("repeats: 7", "repeats: 5"))
    assert narrative.answer(it)[0].startswith("Too few runs to say which design is best in step time: 5 pairs with the "
                                              "same seeds, and a 95 % interval needs 6; ")
    assert narrative.findings(it)[0] == ("Too few pairs to tell one and two apart in step time: 5, and a 95 % interval "
                                         "needs 6 (differences +9.5 s to +9.9 s).")
    assert all(s.startswith("Too few pairs to tell ") for s in narrative.findings(it))


def test_of_fewer_than_six_runs_the_report_says_that_there_is_no_interval_and_shows_the_range(tmp_path: Path) -> None:
    it = analysis(tmp_path, study=STUDY.replace("repeats: 7", "repeats: 5"))
    assert narrative.caveats(it) == ["A median of fewer than 6 runs has no 95 % interval: the range is shown for "
                                     "one, two and four instead."]
    assert tables.overview(it)[1][0][2] == "20.3 s (range 20.1 s to 20.5 s)"
    assert tables.differences(it)[0][5:] == ("range +9.5 s to +9.9 s", "-", "5", "too few pairs")
    rows = list(csv.DictReader(io.StringIO(tables.summary_csv(it))))
    assert {(r["low"], r["high"], r["coverage"], r["difference_low"], r["seen"]) for r in rows} == {
        ("", "", "", "", "False"), ("", "", "", "", "")}
    assert page.build(it).count("range ") >= 6


def test_a_design_with_too_few_pairs_neither_leads_nor_is_beaten(tmp_path: Path) -> None:
    times: Times = {**TIMES, "four": lambda seed: 8 + 0.2 * seed}
    gone = frozenset({("one", 3), ("one", 5)})
    it = analysis(tmp_path, times, STUDY.replace("repeats: 7", "repeats: 7\nretries: 0"), gone)
    step = it.metrics[0]
    assert (step.leaders, step.beaten, step.unreported) == (("four",), {"two": step.of_leader["two"].difference},
                                                            ("one",))
    assert narrative.answer(it)[0].endswith("; of one there are too few pairs.")


def test_invalid_runs_are_left_out_counted_and_cost_their_pair(tmp_path: Path) -> None:
    it = analysis(tmp_path, study=STUDY.replace("repeats: 7", "repeats: 7\nretries: 0"),
                  invalid=frozenset({("one", 3), ("four", 4)}), suspect=frozenset({("two", 1)}))
    one = next(f for f in it.metrics[0].findings if f.design == "one")
    assert one.difference is not None
    assert one.difference.n == 6
    assert narrative.caveats(it)[:3] == [
        "2 of the 21 planned runs have no usable result.", "2 runs INVALID and left out.",
        "SUSPECT, of the runs that count: 1 of 19. The machine may have affected their numbers."]
    assert tables.verdicts(it.result) == "18 VALID, 1 SUSPECT, 2 INVALID of 21 runs"
    assert ("one", "6 (1 INVALID)") in [row[:2] for row in tables.overview(it)[1]]


def test_a_reference_is_compared_but_cannot_win(tmp_path: Path) -> None:
    study = STUDY.replace("one: {set: {fabric.spines: 1}}", "one: {set: {fabric.spines: 1}, reference: true}")
    it = analysis(tmp_path, FASTER, study)
    assert "one" not in it.metrics[0].ranked
    assert any(s.startswith("one is better than two in step time") for s in narrative.findings(it))
    assert narrative.answer(it)[0].startswith("No difference was seen between ")


def test_another_unit_than_the_study_says_is_not_compared(tmp_path: Path) -> None:
    it = analysis(tmp_path, study=STUDY.replace("better: higher}", "better: higher, unit: B}"))
    assert narrative.answer(it)[1] == "The designs cannot be compared in bus bandwidth: its unit is B and bit/s."


def test_metrics_of_one_title_are_distinguished_by_their_workloads(tmp_path: Path) -> None:
    study = STUDY.replace("better: lower}", "better: lower, title: speed}").replace(
        "better: higher}", "better: higher, title: speed}")
    assert {m.label for m in analysis(tmp_path, study=study).metrics} == {"speed of ring"}


def test_a_study_with_no_run_yet_says_so(tmp_path: Path) -> None:
    it = plan(tmp_path / "files")
    store = Store(tmp_path / "study")
    store.runs.mkdir(parents=True)
    empty = analyse(store.collect(it))
    assert narrative.answer(empty) == ["No usable run of a design that could win has measured ring.step_time.",
                                       "No usable run of a design that could win has measured ring.busbw."]
    assert "No run has ended yet." in page.build(empty)


def test_one_design_alone_is_not_called_the_best(tmp_path: Path) -> None:
    gone = frozenset((name, seed) for name in ("one", "two") for seed in range(1, 8))
    it = analysis(tmp_path, study=STUDY.replace("repeats: 7", "repeats: 7\nretries: 0"), invalid=gone)
    assert narrative.answer(it)[0] == (
        "In step time only four has a usable run, 10.8 s: there is nothing to compare it with.")


def test_many_comparisons_are_reported_with_what_chance_would_find(tmp_path: Path) -> None:
    assert narrative.caveats(analysis(tmp_path))[-1] == (
        "4 comparisons with the baseline were made; even if no design differed, chance would report about 0.1 of them.")


@pytest.mark.parametrize("quick", [False, True])
def test_the_shared_fabric_study_has_repeats_enough_to_tell_effects_of_the_size_that_it_has(quick: bool) -> None:
    """TTFT 0.2 s less with classes and 2 s more a step on half a fabric, each run 20 ms and 0.1 s off by chance."""
    it, rng = load_study("shared-fabric", [], quick=quick), random.Random(1)     # noqa: S311 - repeatable noise
    less = {"flat": (0.0, 0.0), "classes": (0.2, 0.0), "bifurcated": (0.24, -2.1)}

    def outcome(name: str, seed: int) -> Outcome:
        ttft, step = less.get(name, (0.0, 0.0))
        return Outcome(run=f"{name}-{seed}", seed=seed, verdict="VALID", metrics={
            "chat.ttft_p90": Measure(value=0.35 + rng.gauss(0, 0.02) - ttft, unit="s"),
            "train.step_time": Measure(value=3.3 + rng.gauss(0, 0.1) - step, unit="s")})

    designs = {name: DesignResult(settings=d.settings, scenario=d.scenario, reference=d.reference,
                                  runs=tuple(outcome(name, seed) for seed in it.seeds))
               for name, d in it.designs.items()}
    found = analyse(StudyResult(name="s", question="?", baseline=it.baseline, metrics=it.study.metrics, seeds=it.seeds,
                                order=it.order, designs=designs))
    reported = narrative.findings(found)
    assert any(s.startswith("classes is better than flat in TTFT (p90): ") and "98.4 % interval" in s for s in reported)
    assert any(s.startswith("bifurcated is worse than flat in training step time: ") for s in reported)
    assert any(s.startswith("No difference seen between classes and flat in training step time") for s in reported)


# ---- page, terminal and data

def test_the_page_begins_with_the_answer_and_has_every_finding(tmp_path: Path) -> None:
    it = analysis(tmp_path)
    html = page.build(it)
    at = [html.index(text) for text in ("How many spines does the ring need?", "lead in step time",
                                        "21 VALID of 21 runs", "fig-designs", "fig-differences")]
    assert at == sorted(at)
    assert html.count("<svg") == 4
    assert "http" not in html.replace("http-equiv", "")
    assert all(run.run in html for _, run in it.result.outcomes)


def test_data_lie_beside_the_page(tmp_path: Path) -> None:
    it = _done(tmp_path, TIMES, STUDY, frozenset(), frozenset())     # in a directory of its own
    _, *others = (tmp_path / "study" / "runs" / outcome.run / "report.html" for _, outcome in it.result.outcomes)
    for report in others:       # as if a kill had kept one run from its report
        report.write_text("of before")
    page.write(it, tmp_path / "study")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "study" / "runs.csv").read_text())))
    assert len(rows) == 21
    ones = sorted(float(r["ring.step_time"]) for r in rows if r["design"] == "one")
    assert ones == [20.1, 20.2, 20.3, 20.4, 20.5, 20.6, 20.7]
    summary = {(r["metric"], r["design"]): r
               for r in csv.DictReader(io.StringIO((tmp_path / "study" / "summary.csv").read_text()))}
    assert float(summary["ring.step_time", "one"]["difference"]) == pytest.approx(9.6)
    assert summary["ring.step_time", "two"]["difference"] == ""
    assert {report.read_text() for report in others} == {"of before"}
    assert "<html" in (tmp_path / "study" / "runs" / it.result.outcomes[0][1].run / "report.html").read_text()
    reported = json.loads(json.dumps(tables.json_object(it, {"answer": narrative.answer(it)})))
    assert reported["leaders"]["ring.step_time"] == ["four", "two"]


def test_the_terminal_says_the_answer_on_its_first_lines(tmp_path: Path) -> None:
    it = analysis(tmp_path, FASTER)
    console = Console(width=100, record=True, file=io.StringIO())
    terminal.show(it, console)
    lines = console.export_text().splitlines()
    assert lines[0] == "How many spines does the ring need?"
    assert lines[2].startswith("one wins in step time with 4.6 s")


# ---- statistics

@pytest.mark.parametrize(("n", "k", "covered"), [    # 1 - 2 x P(Bin(n, 1/2) < k), worked out by hand
    (6, 1, 62 / 64), (7, 1, 126 / 128), (8, 1, 254 / 256), (9, 2, 492 / 512), (10, 2, 1002 / 1024),
    (11, 2, 2024 / 2048), (12, 3, 3938 / 4096), (15, 4, 31616 / 32768),
])
def test_an_interval_reaches_from_the_kth_smallest_to_the_kth_largest_and_says_what_that_covers(
        n: int, k: int, covered: float) -> None:
    values = [float(v) for v in range(1, n + 1)]
    e = estimate(reversed(values))
    assert e is not None
    assert (e.low, e.high) == (values[k - 1], values[-k])
    assert e.confidence == pytest.approx(covered, abs=1e-12)


@pytest.mark.parametrize("n", range(6, 101))
def test_the_interval_is_the_shortest_that_covers_95_percent(n: int) -> None:
    k = rank(n)
    assert k is not None
    assert coverage(n, k) >= 0.95
    assert k == n // 2 or coverage(n, k + 1) < 0.95


@pytest.mark.parametrize("n", range(1, 6))
def test_fewer_than_six_values_have_no_95_percent_interval(n: int) -> None:
    e = estimate([float(v) for v in range(n)])
    assert e is not None
    assert (e.low, e.high, e.confidence) == (None, None, None)
    assert (e.least, e.most) == (0.0, n - 1.0)
    d = difference(dict.fromkeys(range(n), 1e9), dict.fromkeys(range(n), 1.0))
    assert d is not None
    assert not d.seen


def test_of_no_values_there_is_no_estimate() -> None:
    assert estimate([]) is None
    assert estimate([float("nan"), float("inf")]) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=30))
def test_the_interval_holds_the_median_and_lies_within_the_values(values: list[float]) -> None:
    e = estimate(values)
    assert e is not None
    assert e.low is not None
    assert e.high is not None
    assert e.least <= e.low <= e.median <= e.high <= e.most


@pytest.mark.parametrize("n", [6, 7, 8, 9, 11, 12, 15, 20])
def test_intervals_of_many_draws_hold_the_true_median_as_often_as_they_say(n: int) -> None:
    """4,000 draws of a skewed distribution: three standard errors of the share are at most 0.0103."""
    draws = np.random.default_rng(n).lognormal(size=(4000, n))
    found = [e for row in draws.tolist() if (e := estimate(row))]
    held = sum(e.low is not None and e.high is not None and e.low <= 1.0 <= e.high for e in found) / len(found)
    covered = confidence(n)
    assert covered is not None
    assert covered >= 0.95
    assert held == pytest.approx(covered, abs=3 * (covered * (1 - covered) / 4000) ** 0.5)


@pytest.mark.parametrize("n", [7, 9, 15])
def test_two_designs_that_are_the_same_are_distinguished_as_seldom_as_the_coverage_says(n: int) -> None:
    draws = np.random.default_rng(100 + n).normal(size=(4000, 2, n))
    found = [difference(dict(enumerate(a)), dict(enumerate(b))) for a, b in draws.tolist()]
    false = sum(d is not None and d.seen for d in found) / len(found)
    chance = 1 - (confidence(n) or 0.0)
    assert false == pytest.approx(chance, abs=3 * (chance * (1 - chance) / 4000) ** 0.5)


def test_equal_values_cover_more_and_never_less() -> None:
    """Whole numbers from 0 to 2 with the true median 1: the closed interval holds it at least as often."""
    draws = np.random.default_rng(5).integers(0, 3, size=(4000, 9)).astype(float)
    found = [e for row in draws.tolist() if (e := estimate(row))]
    assert sum(e.low is not None and e.high is not None and e.low <= 1 <= e.high for e in found) / 4000 >= 492 / 512


def test_pairs_without_any_difference_are_no_finding() -> None:
    same, mixed = dict.fromkeys(range(7), 5.0), {**dict.fromkeys(range(6), 4.0), 6: 5.0}
    for d in (difference(same, same), difference(mixed, same)):
        assert d is not None
        assert not d.seen       # one pair without a difference of seven: the interval holds zero


def test_what_is_no_finite_number_is_left_out_with_its_pair() -> None:
    mine = {**{s: 2.0 + 0.1 * s for s in range(6)}, 6: float("nan"), 7: float("inf"), 8: 3.0}
    other = {**dict.fromkeys(range(6), 1.0), 6: 1.0, 7: 1.0, 8: float("nan")}
    d, e = difference(mine, other), estimate(mine.values())
    assert d is not None
    assert e is not None
    assert (d.n, d.low, d.high, d.base, d.agree) == (6, 1.0, pytest.approx(1.5), 1.0, 6)
    assert (e.n, e.most) == (7, 3.0)


def test_pairs_are_of_one_seed_and_unpaired_seeds_are_left_out() -> None:
    mine = {1: 2.0, 2: 12.0, 3: 103.0, 4: 1.0}
    other = {1: 1.0, 2: 11.0, 3: 100.0, 9: 0.0}
    d = difference(mine, other)
    assert d is not None
    assert (d.median, d.least, d.most, d.n, d.base, d.agree) == (1.0, 1.0, 3.0, 3, 11.0, 3)
    assert d.n < MIN_PAIRS
    assert not d.seen
    assert difference(mine, {9: 1.0}) is None


def test_a_difference_turns_its_sign_with_its_sides() -> None:
    a, b = {s: 10.0 + s for s in range(6)}, {s: 9.0 + 0.5 * s for s in range(6)}
    one, two = difference(a, b), difference(b, a)
    assert one is not None
    assert two is not None
    assert one.median == -two.median
    assert one.seen
    assert two.seen


@pytest.mark.large
def test_titles_keep_their_capitals_in_captions(tmp_path: Path) -> None:
    it = analysis(tmp_path, study=STUDY.replace("step_time, better: lower}", "step_time, better: lower, title: TTFT}"))
    assert "Lower is better in TTFT; higher is better in" in page.build(it)
