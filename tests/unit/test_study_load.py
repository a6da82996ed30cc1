"""A study is refused before anything runs, with its line; a right one becomes designs, seeds and an order."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.spec.compiling import Compiled, compiled
from scenarios.spec.load_scenario import load_scenario
from scenarios.spec.scenario import Scenario
from scenarios.study import load
from scenarios.study.load import load_study, order_of
from tests.unit.bounded import aifab, refused
from tests.unit.study_factory import BASE, STUDY, plan, write
from topologies.model.errors import SpecError, SpecErrors, TraceError
from topologies.model.fabric import Fabric


def refusal(directory: Path, old: str, new: str, *overrides: str, quick: bool = False) -> str:
    """What a user reads of the study with one thing changed in it."""
    assert old in STUDY
    path = write(directory, STUDY.replace(old, new))
    with pytest.raises(SpecError) as info:
        load_study(str(path), overrides, quick=quick)
    return str(info.value).replace(str(directory) + "/", "")


@pytest.mark.parametrize(("old", "new", "reported"), [
    ("repeats: 7", "repeats: 0", "spread.study.yml:9 repeats: expected a number of at least 1; found 0"),
    ("baseline: two", "baseline: tow", "spread.study.yml:8 baseline: expected a design: one, two, four; found tow\n"
     "  -> did you mean two?"),
    ("{fabric.spines: 4}", "{fabric.spine: 4}", "found the unknown key spine\n  -> did you mean spines"),
    ("{fabric.spines: 4}", "{fabrics.spines: 4}",
     "spread.study.yml:7 designs.four.set.fabrics.spines: expected a path that starts with one of name, "),
    ("{fabric.spines: 4}", "{fabric.spines: 400}",
     "spread.study.yml:7 designs.four.set.fabric.spines: expected a number of at most 32; found 400"),
    ("{fabric.spines: 4}", "{workloads.rong.size: 1MB}", "expected a workload of this scenario: ring; found rong\n"
     "  -> did you mean ring?"),
    ("{fabric.spines: 4}", "{seed: 4}", "designs.four.set.seed: expected no seed: every design runs with the study's "),
    ("{fabric.spines: 4}", "{fabric.scale: {rate: 1/10}}",
     "spread.study.yml:7 designs.four: expected the scale of two, rate 1 and size 1: runs of different scale cannot "
     "be compared, for TCP's timers, frames and the machine's noise do not scale; found rate 0.1 and size 1"),
    ("metric: ring.busbw", "metric: rung.busbw", "spread.study.yml:12 metrics.1.metric: expected a key WORKLOAD.TAG, "
     "of one of fabric, ring; found rung.busbw\n  -> did you mean ring.busbw?"),
    ("metric: ring.busbw", "metric: ring.bussbw", "found bussbw\n  -> did you mean ring.busbw?"),
    ("metric: ring.busbw", "metric: ring.step_time", "metrics.1.metric: expected each metric once"),
    ("better: higher", "better: more", "expected higher or lower; found more"),
    ("scenario: base.yml", "scenario: bass.yml", "bass.yml: expected a file; found no such file"),
    ("scenario: base.yml", "scenario: allreduse", "spread.study.yml:3 scenario: expected a file, or a scenario of "),
    ("designs: [one, two]", "designs: [one, tow]", "quick.designs.1: expected a design: one, two, four; found tow"),
])
def test_what_is_wrong_is_reported_with_its_line_before_anything_runs(
        tmp_path: Path, old: str, new: str, reported: str) -> None:
    assert reported in refusal(tmp_path, old, new)


def test_a_study_of_one_design_compares_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "name: a\nquestion: b\nscenario: base.yml\ndesigns: {one: {}}\n"
                           "metrics: [{metric: ring.busbw, better: higher}]\n")
    with pytest.raises(SpecErrors, match="designs: expected 2 to 64 designs to compare; found 1"):
        load_study(str(path))


def test_mistakes_of_all_designs_are_reported_at_once(tmp_path: Path) -> None:
    text = refusal(tmp_path, "{fabric.spines: 1}}\n  two: {set: {fabric.spines: 2}",
                   "{fabric.spines: 0}}\n  two: {set: {fabric.spines: 99}")
    assert "designs.one.set.fabric.spines: expected a number of at least 1; found 0" in text
    assert "designs.two.set.fabric.spines: expected a number of at most 32; found 99" in text


def test_what_is_wrong_in_every_design_is_reported_once(tmp_path: Path) -> None:
    text = refusal(tmp_path, "scenario: base.yml", "scenario: base.yml\nset: {fabric.leaves: 0}")
    assert text == "spread.study.yml:4 set.fabric.leaves: expected a number of at least 1; found 0"


def test_what_only_the_compiler_finds_is_reported_with_its_design(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(scenario: Scenario, fabric: Fabric) -> Compiled:
        if scenario.fabric.spines == 4:
            raise TraceError("t.csv:3", "a row of a trace", "half of one")
        return compiled(scenario, fabric)

    monkeypatch.setattr(load, "compiled", refuse)
    with pytest.raises(SpecErrors, match=r"^design four: t.csv:3: expected a row of a trace; found half of one$"):
        plan(tmp_path)


def test_a_value_of_an_axis_out_of_range_names_the_axis(tmp_path: Path) -> None:
    axes = "axes: {fabric.spines: [1, 77]}\n"
    text = STUDY[:STUDY.index("designs")] + axes + "metrics: [{metric: ring.busbw, better: higher}]\n"
    path = write(tmp_path, text)
    with pytest.raises(SpecErrors, match=r"spread.study.yml:4 axes.fabric.spines.1"):
        load_study(str(path))


def test_the_quick_form_needs_one_and_holds_the_baseline(tmp_path: Path) -> None:
    quick = STUDY[STUDY.index("quick"):]
    assert "quick: expected a quick form" in refusal(tmp_path, quick, "\n", quick=True)
    assert "quick.designs: expected the baseline two among them" in refusal(
        tmp_path, "designs: [one, two]", "designs: [one, four]", quick=True)


def test_designs_differ_in_what_they_set_and_run_with_the_same_seeds_in_blocks(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert {n: d.scenario.fabric.spines for n, d in found.designs.items()} == {"one": 1, "two": 2, "four": 4}
    assert found.seeds == (1, 2, 3, 4, 5, 6, 7)
    assert sorted(found.order) == sorted((n, s) for n in found.designs for s in found.seeds)
    blocks = [found.order[i:i + 3] for i in range(0, 15, 3)]
    assert [{s for _, s in block} for block in blocks] == [{1}, {2}, {3}, {4}, {5}]
    assert len({tuple(n for n, _ in block) for block in blocks}) > 1, "the order within a block is drawn"


def test_more_repeats_keep_the_order_of_those_before() -> None:
    names = ("a", "b", "c")
    assert order_of(names, (1, 2, 3))[:6] == order_of(names, (1, 2))


def test_the_quick_form_has_fewer_designs_and_repeats_and_smaller_loads(tmp_path: Path) -> None:
    found = plan(tmp_path, quick=True)
    assert list(found.designs) == ["one", "two"]
    assert found.seeds == (1, 2)
    assert found.designs["one"].settings == {"fabric.spines": 1, "workloads.ring.size": "1MB"}
    full = plan(tmp_path / "full")
    ring = [d.scenario.workloads["ring"] for d in (found.designs["one"], full.designs["one"])]
    assert [w.size for w in ring] == [1e6, 8e6]     # type: ignore[union-attr]


def test_axes_give_every_combination_and_short_names(tmp_path: Path) -> None:
    axes = "axes:\n  fabric.spines: [1, 2]\n  workloads.ring.size: [1MB, 2MB]\n"
    text = STUDY[:STUDY.index("designs")] + axes + "metrics: [{metric: ring.busbw, better: higher}]\n"
    found = load_study(str(write(tmp_path, text)))
    assert list(found.designs) == ["spines=1, size=1MB", "spines=1, size=2MB", "spines=2, size=1MB",
                                   "spines=2, size=2MB"]
    assert found.baseline == "spines=1, size=1MB"
    assert {d.scenario.fabric.spines for d in found.designs.values()} == {1, 2}


def test_a_study_is_changed_by_set_also_below_its_own_settings(tmp_path: Path) -> None:
    path = str(write(tmp_path))
    found = load_study(path, ["seed=11", "repeats=2", "set.fabric.leaves=3", "designs.one.set.fabric.spines=3"])
    assert found.seeds == (11, 12)
    assert {d.scenario.fabric.leaves for d in found.designs.values()} == {3}
    assert found.designs["one"].scenario.fabric.spines == 3


def test_a_design_may_be_another_scenario_beside_the_study(tmp_path: Path) -> None:
    study = STUDY.replace("four: {set: {fabric.spines: 4}}", "four: {scenario: other.yml}")
    write(tmp_path, study)
    (tmp_path / "other.yml").write_text(BASE.replace("name: base", "name: other"))
    found = load_study(str(tmp_path / "spread.study.yml"))
    assert found.designs["four"].scenario.name == "other"
    assert found.designs["two"].scenario.name == "base"


def test_a_scenario_is_no_study_and_a_study_no_scenario(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(SpecError, match=r"expected a study, whose file's name ends in .study.yml; found base.yml"):
        load_study(str(tmp_path / "base.yml"))
    with pytest.raises(SpecError, match="expected a scenario; found a study of several") as info:
        load_scenario(str(path))
    assert "aifab compare" in info.value.hint


AXES = "name: s\nquestion: q?\nscenario: allreduce\nmetrics: [{metric: ring.busbw, better: higher}]\n"


def test_a_study_is_reported_how_long_all_of_its_runs_take(tmp_path: Path) -> None:
    found = plan(tmp_path)
    each = {name: compiled(design.scenario).duration.total for name, design in found.designs.items()}
    assert {name: design.seconds for name, design in found.designs.items()} == each
    assert found.seconds[0] == pytest.approx(len(found.seeds) * sum(least for least, _ in each.values()))


@pytest.mark.large
def test_designs_are_counted_before_they_are_made(tmp_path: Path) -> None:
    axes = "".join(f"  fabric.k{n}: [{', '.join(map(str, range(100)))}]\n" for n in range(10))
    (tmp_path / "s.study.yml").write_text(f"{AXES}axes:\n{axes}")
    (error,) = refused(aifab(tmp_path, "check", "s.study.yml"))
    assert error == "s.study.yml:5 axes: expected 2 to 64 designs to compare; found 100000000000000000000"


@pytest.mark.large
def test_a_study_whose_designs_are_too_much_together_is_refused(tmp_path: Path) -> None:
    axes = "axes: {ranks: [200, 201, 202, 203, 204, 205, 206, 207, 208]}\nset: {fold: true, iterations: 1}\n"
    (tmp_path / "s.study.yml").write_text(AXES + axes)
    (error,) = refused(aifab(tmp_path, "check", "s.study.yml"))
    assert error.startswith("s.study.yml:1: expected at most 250,000 computes and transfers in all designs; found more "
                            "in the first 4 of 9 designs")


@pytest.mark.large
def test_a_study_of_months_is_refused(tmp_path: Path) -> None:
    axes = "axes: {iterations: [3000, 3001]}\nrepeats: 100\n"
    (tmp_path / "s.study.yml").write_text(AXES + axes)
    (error,) = refused(aifab(tmp_path, "check", "s.study.yml"))
    assert error.startswith("s.study.yml:6 repeats: expected a study of at most 30 days; found 200 runs, which take "
                            "about ")
