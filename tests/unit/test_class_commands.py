"""aifab class: what is printed of a lab's classes, and how a wrong share is reported."""

from __future__ import annotations

import pytest

from scenarios import cli
from scenarios.run import attach as attaching
from tests.unit.test_classes import inventory
from topologies.links.htb import shares
from topologies.model.spec import ClassSpec

CLASSES = {"gold": ClassSpec.model_validate({"dscp": 10, "min": "60%", "vpcs": ["a"]}),
           "bulk": ClassSpec.model_validate({"dscp": 20, "min": "10%", "max": "50%", "open_to": ["a", "b"]})}


@pytest.fixture(autouse=True)
def lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab with two classes, whose wires take what they are reported."""
    monkeypatch.setattr(attaching, "running_inventory", lambda _: inventory())
    monkeypatch.setattr(shares, "held_classes", lambda _: CLASSES)
    monkeypatch.setattr(shares, "set_shares", lambda *_: None)


def aifab(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["aifab", "class", *arguments])
    with pytest.raises(SystemExit) as info:
        cli.main()
    return int(info.value.code or 0)


def test_each_class_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert aifab(monkeypatch, "show") == 0
    assert capsys.readouterr().out.splitlines() == [
        "gold             DSCP 10  min 60% max 100%  VPCs a",
        "bulk             DSCP 20  min 10% max 50%  open to a, b"]


def test_a_lab_without_classes_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shares, "held_classes", lambda _: {})
    assert aifab(monkeypatch, "show") == 0
    assert capsys.readouterr().out == "the fabric has no classes\n"


def test_a_change_is_reported_with_what_the_class_has_from_now_on(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert aifab(monkeypatch, "set", "bulk", "--min", "30%") == 0
    assert capsys.readouterr().out.startswith("bulk: min 30% max 50% of every link, after ")


def test_a_share_without_a_unit_is_reported(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert aifab(monkeypatch, "set", "bulk", "--max", "0.5") == 2
    assert capsys.readouterr().err.startswith("--max: expected a number with a unit, such as 0.1%; found 0.5")
