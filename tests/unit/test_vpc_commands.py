"""aifab vpc and evpn against the real API: what is printed, and how a wrong file is reported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import given

from controller.intent.intent import Intent, as_objects, read_intent
from controller.northbound.client import ControllerClient
from scenarios import cli
from scenarios.run import attach as attaching
from scenarios.run import vpcs
from scenarios.run.vpcs import as_yaml
from tests.unit.intents import intents
from tests.unit.served_api import FABRIC, OBJECTS, served

GOOD = "".join(f"---\n{json.dumps(o)}\n" for o in OBJECTS)
WRITTEN = [{**o, "metadata": {**o["metadata"], "namespace": "default"}, "status": {"vni": 3}} for o in OBJECTS]
NAMESPACE = "kind: IPv4Namespace\nmetadata: {name: default}\nspec: {subnets: [10.0.0.0/16]}\n"


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


def test_a_plan_is_reported_and_changes_nothing(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("v.yml").write_text(GOOD)
    assert aifab(monkeypatch, "vpc", "plan", "v.yml") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["+ VPC a", "+ VPC c", "+ VPCPeering a-c"]
    assert lines[-1] == "version 1"
    assert any(line.startswith("leaf1: ") and line.endswith(" removed") for line in lines)
    api.apply(OBJECTS)
    assert aifab(monkeypatch, "vpc", "plan", "v.yml") == 0
    assert capsys.readouterr().out == "nothing changes\n"


def test_every_mistake_of_a_file_is_reported_with_its_line_before_anything_is_asked(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("v.yml").write_text(GOOD.replace('"h3"', '"h33"').replace('"c/z"', '"c/zz"'))
    assert aifab(monkeypatch, "vpc", "apply", "v.yml") == 2
    err = capsys.readouterr().err
    assert "v.yml:10 spec.connection: expected a host of the fabric f that is not a probe; found h33" in err
    assert "v.yml:12 spec.subnet: expected one of the subnets z; found zz" in err
    assert "did you mean h3" in err
    assert api.intent()["version"] == 0


def applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hosts to address: the commands do all else."""
    monkeypatch.setattr(vpcs, "address_hosts", lambda *_: [])


def test_what_get_prints_is_no_change_to_apply_and_to_plan(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    applied(monkeypatch)
    written = "".join(f"---\n{json.dumps(o)}\n" for o in WRITTEN)
    for text in (written, GOOD, ""):        # with what is ignored, without, and no VPCs at all
        Path("v.yml").write_text(text)
        assert aifab(monkeypatch, "vpc", "apply", "v.yml", "--empty") == 0
        version, objects = (api.intent()[key] for key in ("version", "objects"))
        capsys.readouterr()
        assert aifab(monkeypatch, "vpc", "get") == 0
        Path("got.yml").write_text(capsys.readouterr().out)
        for command in ("plan", "apply"):
            assert aifab(monkeypatch, "vpc", command, "got.yml") == 0
            assert capsys.readouterr().out == "nothing changes\n"
        assert (api.intent()["version"], api.intent()["objects"]) == (version, objects)
        api.apply(objects, version, empty=not objects)     # as the API gives it, so it takes it
        assert api.intent()["version"] == version


@given(intents(["h1", "h2", "h3", "h4"]))
def test_any_intent_reads_back_from_what_get_prints(wanted: Intent) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "got.yml")
        path.write_text(as_yaml(as_objects(wanted)))
        assert read_intent(path)[0] == wanted


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "---\n---\n", NAMESPACE],
                         ids=["empty", "comment", "mark", "marks", "namespace"])
def test_a_file_without_vpcs_takes_none_away_unless_that_is_meant(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str) -> None:
    applied(monkeypatch)
    Path("v.yml").write_text(text)
    assert aifab(monkeypatch, "vpc", "apply", "v.yml") == 0     # there are none yet: nothing goes
    api.apply(OBJECTS)
    for command in ("apply", "plan"):
        capsys.readouterr()
        assert aifab(monkeypatch, "vpc", command, "v.yml") == 2
        err = capsys.readouterr().err
        assert "v.yml:1: expected at least one VPC, attachment, peering or External; found none: every tenant" in err
        assert "--empty removes every VPC" in err
    assert api.intent()["objects"] == OBJECTS
    assert aifab(monkeypatch, "vpc", "plan", "v.yml", "--empty") == 0
    assert api.intent()["objects"] == OBJECTS
    assert aifab(monkeypatch, "vpc", "apply", "v.yml", "--empty") == 0
    assert "- VPC a" in capsys.readouterr().out
    assert [o for o in api.intent()["objects"] if o["kind"] != "IPv4Namespace"] == []


@pytest.mark.parametrize("text", ["{}\n", "null\n", '""\n', "[]\n", "7\n", "name: s\nquestion: Q?\n",
                                  "kind: Nothing\n"])
def test_a_file_of_something_else_changes_nothing(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str) -> None:
    api.apply(OBJECTS)
    Path("v.yml").write_text(text)
    assert aifab(monkeypatch, "vpc", "apply", "v.yml", "--empty") == 2
    assert "v.yml:1" in capsys.readouterr().err
    assert api.intent()["objects"] == OBJECTS


def test_apply_notes_what_it_ignores_and_strict_refuses_it(
        api: ControllerClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    applied(monkeypatch)
    Path("v.yml").write_text("".join(f"---\n{json.dumps(o)}\n" for o in WRITTEN))
    assert aifab(monkeypatch, "vpc", "apply", "v.yml", "--strict") == 2
    assert "v.yml:2 metadata.namespace: expected only what has an effect here (--strict)" in capsys.readouterr().err
    assert api.intent()["objects"] == []
    assert aifab(monkeypatch, "vpc", "apply", "v.yml") == 0
    assert "v.yml:2 ignored: namespace (6 times): the lab has one namespace" in capsys.readouterr().err
    assert api.intent()["objects"] == OBJECTS


def test_check_reads_vpcs_without_a_lab_and_says_on_which_fabric(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("v.yml").write_text("".join(f"---\n{json.dumps(o)}\n" for o in WRITTEN))
    assert aifab(monkeypatch, "check", "v.yml") == 0
    out = capsys.readouterr().out
    assert "v.yml: OK, VPCs on the fabric border, which is assumed: --fabric names another" in out
    assert "VPC a: h1, h3" in out
    assert "v.yml:2 ignored: namespace" in out
    assert aifab(monkeypatch, "check", "v.yml", "--fabric", "small") == 0
    assert "VPCs on the fabric small\n" in capsys.readouterr().out
    assert aifab(monkeypatch, "check", "v.yml", "--strict") == 2
    Path("w.yml").write_text(GOOD.replace('"h3"', '"h33"').replace('"a/x"', '"a/xx"'))
    assert aifab(monkeypatch, "check", "w.yml", "v.yml") == 2
    err = capsys.readouterr().err
    assert "w.yml:10 spec.connection: expected a host of the fabric border that is not a probe; found h33" in err
    assert "w.yml:8 spec.subnet: expected one of the subnets x; found xx" in err
    Path("x.yml").write_text("kind: VPC\nkind: VPC\nmetadata: {name: a}\n")
    assert aifab(monkeypatch, "check", "x.yml") == 2
    assert "x.yml:2 kind: expected each key once" in capsys.readouterr().err


def test_check_notes_what_the_vpcs_of_a_scenario_say_without_effect(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yml").write_text(
        "name: s\nquestion: Q?\nfabric: small\nworkloads: {r: {kind: udp, pairs: [[h1, h3]], pps: 9, duration: 1s}}\n"
        "vpcs:\n" + "".join(f"- {json.dumps(o)}\n" for o in WRITTEN))
    assert aifab(monkeypatch, "check", "s.yml") == 0
    assert "s.yml:6 ignored: namespace (6 times): the lab has one namespace" in capsys.readouterr().out
    assert aifab(monkeypatch, "check", "s.yml", "--strict") == 2
    assert "s.yml:6 vpcs.0.metadata.namespace: expected only what has an effect" in capsys.readouterr().err


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
