"""aifab as a user meets it: output, messages, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios import cli
from scenarios.commands.schema import Kind, schema_of
from scenarios.spec.load_scenario import LIBRARY
from topologies.model.load import CATALOG
from traffic.transports.udp.plan import Stream

ALL = sorted(p for folder in (LIBRARY, CATALOG) for p in folder.glob("*.yml"))


def aifab(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr("sys.argv", ["aifab", *arguments])
    with pytest.raises(SystemExit) as info:
        cli.main()
    return int(info.value.code or 0)


def test_check_accepts_every_file_that_we_ship(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert aifab(monkeypatch, "check", *map(str, ALL)) == 0
    assert capsys.readouterr().out.count(": OK, a ") == len(ALL)


def test_check_sums_up_nodes_oversubscription_and_traffic(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert aifab(monkeypatch, "check", "allreduce", "--set", "size=4MB") == 0
    out = capsys.readouterr().out
    assert "14 nodes (8 hosts, 2 probes, 2 leaves, 2 spines)" in out
    assert "oversubscription after encapsulation 0.97:1" in out
    # a ring moves 2 (n-1) S bytes: 2 x 7 x 4 MB, three times and a warm-up
    assert "all-reduce (ring) of 4 MB on 8 ranks, 4 times, 224 MB in all" in out


def test_check_tells_the_mistakes_of_all_files_and_exits_with_2(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yml").write_text("leafs: 2\n")
    Path("b.yml").write_text("name: b\nworkloads: {}\n")
    assert aifab(monkeypatch, "check", "a.yml", "b.yml", "c.yml", "nosuch") == 2
    captured = capsys.readouterr()
    wheres = [line.split(": expected")[0] for line in captured.err.splitlines() if ": expected" in line]
    assert wheres == ["a.yml:1 leafs", "b.yml:1 question", "b.yml:1 fabric", "b.yml:2 workloads", "c.yml", "nosuch"]
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [["chek"], ["check"], ["schema", "sonnet"], ["check", "--bogus"]])
def test_wrong_usage_exits_with_2_without_a_traceback(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert aifab(monkeypatch, *arguments) == 2
    err = capsys.readouterr().err
    assert "Usage: aifab" in err
    assert "Traceback" not in err


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scenarios.commands.check._described", interrupted)
    assert aifab(monkeypatch, "check", "small") == 130


def test_the_schema_is_written_to_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "fabric.schema.json"
    assert aifab(monkeypatch, "schema", "fabric", "-o", str(path)) == 0
    assert json.loads(path.read_text()) == schema_of(Kind.fabric)


def test_a_schema_that_cannot_be_written_is_an_error(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert aifab(monkeypatch, "schema", "-o", str(tmp_path / "no" / "file")) == 1
    assert "expected a file that can be written" in capsys.readouterr().err


def test_the_schema_knows_the_short_forms_and_refuses_unknown_keys() -> None:
    scenario = schema_of(Kind.scenario)
    definitions = scenario["$defs"]
    name, over_base, inline = scenario["properties"]["fabric"]["anyOf"]
    assert name["type"] == "string"
    assert "base" in definitions["FabricOverBase"]["properties"]
    assert over_base["$ref"].endswith("FabricOverBase")
    assert inline["$ref"].endswith("FabricSpec")
    queue = definitions["FabricSpec"]["properties"]["queue"]["anyOf"]
    assert "string" in {choice.get("type") for choice in queue}
    assert definitions["FabricSpec"]["properties"]["host_rate"]["type"] == "string"
    assert scenario["additionalProperties"] is definitions["FabricSpec"]["additionalProperties"] is False


def test_what_a_model_of_ours_refuses_is_a_sentence_and_no_traceback(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("scenarios.commands.check._described", lambda *_: Stream.model_validate({"pps": -1}))
    assert aifab(monkeypatch, "check", "small") == 1
    assert capsys.readouterr().err.startswith("Stream.name: expected what this model takes: Field required; found ")
