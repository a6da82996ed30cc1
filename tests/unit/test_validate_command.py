"""aifab validate, and checks where a run is shown: terminal, page, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from rich.console import Console

from scenarios.report.page import build
from scenarios.report.terminal import json_object, show
from tests.unit.test_cli import aifab
from tests.unit.test_validation import CHECKS, SAID, run_with

PASSING = {"close": {**SAID, "metric": "ring.busbw_of_limit", "at_least": 0.9}}


def test_it_answers_the_runs_own_checks_by_exit_code_text_and_junit(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = run_with(tmp_path, checks=CHECKS)
    assert aifab(monkeypatch, "validate", str(run.path), "--junit", str(tmp_path / "checks.xml")) == 5
    out = capsys.readouterr().out
    assert "[FAIL] first: It does not hold." in out
    assert "[SKIP: blocked by first] second" in out
    assert Xml.parse(tmp_path / "checks.xml").getroot().get("failures") == "1"  # noqa: S314 - our own


@pytest.mark.parametrize(("level", "code"), [("VALID", 0), ("SUSPECT", 4), ("INVALID", 3)])
def test_its_exit_code_is_the_verdicts_where_checks_hold(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, level: str, code: int) -> None:
    run_with(tmp_path, level, PASSING)
    assert aifab(monkeypatch, "validate", "--runs", str(tmp_path)) == code     # the last run


def test_an_old_run_is_held_against_the_checks_of_a_file(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run, file = run_with(tmp_path), tmp_path / "new.yml"
    file.write_text("anything: else\nvalidate:\n"
                    "  close: {metric: ring.busbw_of_limit, at_least: 0.9, pass: A., fail: B.}\n")
    assert aifab(monkeypatch, "validate", str(run.path), "--checks", str(file), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["run"], found["result"]) == (run.id, "passed")
    assert [(c["name"], c["status"], c["proven"]) for c in found["checks"]] == [("close", "PASS", True)]


@pytest.mark.parametrize(("text", "said"), [
    ("other: 1\n", "validate: expected a value: this key is required; found nothing"),
    ("validate:\n  a: {metric: rink.busbw, at_least: 9mbit, pass: a, fail: b}\n",
     "new.yml:2 validate.a.metric: expected"),
    ("validate:\n  a: {metric: ring.busbw, pass: a}\n", "new.yml:2 validate.a.fail: expected a value")])
def test_what_is_wrong_with_such_a_file_is_reported_with_its_line(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str,
        said: str) -> None:
    run, file = run_with(tmp_path), tmp_path / "new.yml"
    file.write_text(text)
    assert aifab(monkeypatch, "validate", str(run.path), "--checks", str(file)) == 2
    assert said in capsys.readouterr().err


def test_a_run_without_checks_says_what_to_give(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = run_with(tmp_path)
    assert aifab(monkeypatch, "validate", str(run.path)) == 1
    assert "expected a scenario with checks (validate:); found none" in capsys.readouterr().err


@pytest.mark.parametrize("level", ["VALID", "INVALID"])
def test_checks_are_shown_and_not_as_proven_if_they_are_not(tmp_path: Path, level: str) -> None:
    run = run_with(tmp_path, level, PASSING)
    console = Console(width=160, record=True, file=(tmp_path / "out").open("w"))
    show(run, console)
    text = console.export_text()
    assert ("[PASS]" if level == "VALID" else "[PASS, unproven]") in text
    assert ("1 of 1 check holds." if level == "VALID" else "Nothing is proven: the run is INVALID.") in text
    assert json_object(run)["validation"]["result"] == ("passed" if level == "VALID" else "unproven")


@pytest.mark.large
def test_the_page_has_them_with_what_was_found(tmp_path: Path) -> None:
    page = build(run_with(tmp_path, "INVALID", PASSING))
    for text in ("[PASS, unproven]", "It holds.", "Nothing is proven: the run is INVALID.",
                 "expected ring.busbw_of_limit at least 0.9; found 0.98"):
        assert text in page


def test_a_run_whose_scenario_has_no_checks_shows_none(tmp_path: Path) -> None:
    assert json_object(run_with(tmp_path))["validation"] is None
