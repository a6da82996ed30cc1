"""aifab vpc and evpn against the real API: what is printed, and how a wrong file is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from controller.client import ControllerClient
from controller.intent import as_objects, read_intent
from scenarios import attach as attaching
from scenarios import cli
from tests.unit.served_api import FABRIC, OBJECTS, served

GOOD = "".join(f"---\n{json.dumps(o)}\n" for o in OBJECTS)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ControllerClient]:
    """The lab that the commands find: its API, and no hosts."""
    with served(tmp_path) as path:
        monkeypatch.setattr(attaching, "running_inventory", lambda _: SimpleNamespace(api_socket=path, fabric=FABRIC))
        monkeypatch.chdir(tmp_path)
        yield ControllerClient(path)


def aifab(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["aifab", *arguments])
    with pytest.raises(SystemExit) as info:
        cli.main()
    return int(info.value.code or 0)


def test_a_plan_is_told_and_changes_nothing(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("v.yml").write_text(GOOD)
    assert aifab(monkeypatch, "vpc", "plan", "v.yml") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["+ VPC a", "+ VPC c", "+ VPCPeering a-c"]
    assert lines[-1] == "version 1"
    assert any(line.startswith("leaf1: ") and line.endswith(" go") for line in lines)
    api.apply(OBJECTS)
    assert aifab(monkeypatch, "vpc", "plan", "v.yml") == 0
    assert capsys.readouterr().out == "nothing changes\n"


def test_every_mistake_of_a_file_is_told_with_its_line_before_anything_is_asked(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("v.yml").write_text(GOOD.replace('"h3"', '"h33"').replace('"c/z"', '"c/zz"'))
    assert aifab(monkeypatch, "vpc", "apply", "v.yml") == 2
    err = capsys.readouterr().err
    assert "v.yml:10 spec.connection: expected a host of the fabric f that is not a probe; found h33" in err
    assert "v.yml:12 spec.subnet: expected one of the subnets z; found zz" in err
    assert "did you mean h3" in err
    assert api.intent()["version"] == 0


def test_what_get_prints_apply_takes(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    api.apply(OBJECTS)
    assert aifab(monkeypatch, "vpc", "get") == 0
    Path("got.yml").write_text(capsys.readouterr().out)
    assert as_objects(read_intent(Path("got.yml"))[0]) == OBJECTS


def test_evpn_prints_tables_and_json(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert aifab(monkeypatch, "evpn", "routes") == 0
    assert capsys.readouterr().out.strip() == "no routes"
    api.apply(OBJECTS)
    assert aifab(monkeypatch, "evpn", "routes") == 0
    assert "[2]:[0]:[48]:[02:00:0a:09:01:01]:[32]:[10.1.0.2]" in capsys.readouterr().out
    for table in ("vnis", "macs", "arp"):
        assert aifab(monkeypatch, "evpn", table, "--json") == 0
        assert json.loads(capsys.readouterr().out) == api.evpn()[table] != []
    assert aifab(monkeypatch, "evpn", "drops", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
