"""aifab workshop on the command line, with runs made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.workshops.learner import solve, start
from scenarios.workshops.work import read_work
from tests.unit.test_cli import aifab
from tests.unit.test_workshops import MONDAY, SLOW, changed, made_up


def test_the_command_line_lists_starts_and_grades_by_the_run_that_there_is(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert aifab(monkeypatch, "workshop", "list") == 0
    assert aifab(monkeypatch, "workshop", "start", "01") == 0
    out = capsys.readouterr().out
    assert "02-ecmp-entropy  (35 min)  ECMP collisions and entropy" in out
    assert "you work in 01-slowest-link/start.yml" in out
    work = read_work(Path(SLOW))
    made_up(Path(SLOW) / "runs", work.scenario, MONDAY)
    assert aifab(monkeypatch, "workshop", "check", SLOW) == 5
    out = capsys.readouterr().out
    assert "[FAIL] link-found" in out
    assert "[PASS] monday-crawls" in out
    assert "found TODO" in out


def test_the_command_line_explains_a_solution_and_writes_it_beside_where_it_passes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert aifab(monkeypatch, "workshop", "solution", "01", "solved") == 0
    assert "leaf1-spine3" in capsys.readouterr().out
    made_up(Path("solved/runs"), read_work(Path("solved")).scenario, MONDAY)
    assert aifab(monkeypatch, "workshop", "check", "solved") == 0
    assert "Well done" in capsys.readouterr().out
    assert aifab(monkeypatch, "workshop", "solution", "01", "solved") == 1


def test_the_command_line_runs_nothing_where_the_network_is_another(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    work = start(SLOW, tmp_path / "mine")
    changed(work / "start.yml", "size: 256kB", "size: 1kB")
    assert aifab(monkeypatch, "workshop", "check", str(work)) == 5
    out = capsys.readouterr().out
    assert "workloads.ring.size is 1000B instead of 256000B" in out
    assert "blocked by as-given" in out
    assert "Nothing was run." in out


def test_the_command_line_does_not_grade_an_invalid_run(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    work = read_work(solve(SLOW, tmp_path / "mine"))
    run = made_up(tmp_path / "elsewhere", work.scenario, MONDAY, "INVALID")
    monkeypatch.setattr("scenarios.commands.workshop._run_of", lambda _: run)
    assert aifab(monkeypatch, "workshop", "check", str(work.directory)) == 3
    out = capsys.readouterr().out
    assert "Not graded" in out
    assert "PASS" not in out
