"""Run directories: written whole, read back, and reported plainly when they are missing or damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from scenarios.evidence.results import RUN_ID, RunDirectory
from tests.unit import run_factory
from topologies.access import files
from topologies.model.errors import LabError, RunError


def test_a_new_run_keeps_its_scenario_and_says_running(tmp_path: Path) -> None:
    spec = run_factory.scenario()
    run = RunDirectory.create(tmp_path, spec, ("aifab", "run", "ring8"))
    again = RunDirectory.open(run.path)
    assert RUN_ID.fullmatch(run.id)
    assert again.scenario == spec
    assert again.meta.status == "running"
    assert again.meta.finished is None
    assert again.meta.argv == ("aifab", "run", "ring8")
    assert again.meta.versions["python"].startswith("3.")
    assert again.logs.is_dir()


def test_two_runs_of_one_second_have_directories_of_their_own(tmp_path: Path) -> None:
    spec = run_factory.scenario()
    assert len({RunDirectory.create(tmp_path, spec).id for _ in range(5)}) == 5


@pytest.mark.parametrize("status", ["complete", "interrupted", "failed"])
def test_a_run_says_how_it_ended(tmp_path: Path, status: str) -> None:
    meta = run_factory.make(tmp_path, status=status).meta
    assert meta.status == status
    assert meta.finished is not None
    assert (meta.error == "the interface of h3 went down") == (status == "failed")


def test_parts_read_back_and_missing_ones_are_none(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path, ledger=run_factory.ledger())
    assert run.read("ledger") == run_factory.ledger()
    assert run.read("verdict") is None
    assert list(run.records()) == []
    assert run.counters() is None
    assert not list(run.path.glob("*.part"))


def test_numbers_of_numpy_are_written_and_what_is_no_number_becomes_null(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path)
    run.write("metrics", {"a": {"value": np.float64(1.5), "spread": np.array([1, 2])}, "b": {"value": float("nan")}})
    assert run.read("metrics") == {"a": {"value": 1.5, "spread": [1, 2]}, "b": {"value": None}}


def test_a_value_without_json_is_refused_and_the_old_part_stays(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path, ledger=run_factory.ledger())
    with pytest.raises(Exception, match="object"):
        run.write("ledger", {"balances": object()})
    assert run.read("ledger") == run_factory.ledger()


def test_a_full_disk_names_the_file_and_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_factory.make(tmp_path, ledger=run_factory.ledger())
    monkeypatch.setattr(files, "_new", lambda *_: os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(RunError) as caught:
        run.write("ledger", run_factory.ledger(1))
    assert str(run.path / "ledger.json") in caught.value.where
    assert caught.value.found == "No space left on device"
    assert str(run.path) in caught.value.hint
    assert run.read("ledger") == run_factory.ledger()


def test_a_place_that_is_no_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match="a directory that can be made"):
        RunDirectory.create(tmp_path / "runs", run_factory.scenario())


def test_a_run_is_found_by_its_id_and_by_its_path(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path)
    assert RunDirectory.open(run.id, tmp_path).path == run.path
    assert RunDirectory.open(run.path).path == run.path


def test_a_missing_run_is_reported_with_the_newest_that_exist(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path)
    with pytest.raises(LabError) as caught:
        RunDirectory.open("20990101T000000Z-none-0000", tmp_path)
    assert run.id in caught.value.hint


def test_a_directory_that_is_no_run_is_reported(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(LabError, match=r"meta\.json: expected a run directory"):
        RunDirectory.open(tmp_path / "other")


def test_the_latest_run_is_the_one_that_started_last(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="at least one run"):
        RunDirectory.latest(tmp_path)
    first, second = run_factory.make(tmp_path), run_factory.make(tmp_path)
    old = run_factory.make(tmp_path)
    old.path.rename(tmp_path / "20200101T000000Z-ring8-0000")
    (tmp_path / "zz-notes").mkdir()
    first.mark("complete")
    assert RunDirectory.latest(tmp_path).id == second.id


@pytest.mark.parametrize(("text", "reported"), [
    ("{\"id\": \"x\"", "in JSON"), ("[1]", "a JSON object"), ("{\"id\": \"x\"}", "what this version of aifab writes")])
def test_a_damaged_meta_is_reported_by_its_file(tmp_path: Path, text: str, reported: str) -> None:
    run = run_factory.make(tmp_path)
    (run.path / "meta.json").write_text(text)
    with pytest.raises(LabError, match=reported) as caught:
        RunDirectory.open(run.path)
    assert "meta.json" in caught.value.where


def test_a_cut_last_record_is_left_out_and_a_damaged_one_named_by_its_line(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path, records=run_factory.steps())
    whole = run.records_path.read_text()
    run.records_path.write_text(whole[:-20])
    assert len(list(run.records())) == len(run_factory.steps()) - 1
    lines = whole.splitlines()
    run.records_path.write_text("\n".join([lines[0], lines[1][:-9], *lines[2:], ""]))
    with pytest.raises(LabError, match=r"records\.jsonl:2"):
        list(run.records())


def test_the_fabric_comes_from_the_scenario_where_no_lab_was_up(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path)
    assert [n.name for n in run.fabric.hosts] == [f"h{i}" for i in range(1, 9)]


def test_meta_is_plain_json(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path)
    assert json.loads((run.path / "meta.json").read_text())["scenario"] == "ring8"
