"""Commands by which one finds one's way: list, show, new, graph, --version."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from scenarios.commands.discover import find
from scenarios.commands.starters import Starter
from tests.unit.test_cli import aifab
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from topologies.model.graphs import dot, mermaid, svg
from topologies.model.load import CATALOG, load_fabric, ready_files


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert aifab(monkeypatch, *words) == code
    found = capsys.readouterr()
    return found.err if code else found.out


def test_list_names_what_there_is_with_a_line_about_it(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(monkeypatch, capsys, "list")
    for line in ("scenarios:", "  demo ", "studies:", "  shared-fabric ", "fabrics:", "  small ", "workloads:",
                 "  training-job ", "workshops:", "  01-slowest-link "):
        assert line in out
    scenarios = said(monkeypatch, capsys, "list", "scenarios").splitlines()
    assert all(len(line.split(maxsplit=1)) == 2 for line in scenarios)


def test_list_runs_says_that_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    assert said(monkeypatch, capsys, "list", "runs", "--runs", str(tmp_path)) == "no runs\n"


def test_show_prints_the_file_behind_a_name(monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    assert said(monkeypatch, capsys, "show", "small") == (CATALOG / "small.yml").read_text()
    assert "slowest link" in said(monkeypatch, capsys, "show", "01-slowest-link")


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(LabError, match="did you mean small"):
        find("smal")


@pytest.mark.parametrize("kind", list(Starter))
def test_a_starter_checks_as_it_is_and_is_never_overwritten(
        kind: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(said(monkeypatch, capsys, "new", kind, "my-lab", "-d", str(tmp_path)).splitlines()[0])
    assert ": OK, a " in said(monkeypatch, capsys, "check", str(path))
    before = path.read_text()
    assert "File exists" in said(monkeypatch, capsys, "new", kind, "my-lab", "-d", str(tmp_path), code=1)
    assert path.read_text() == before


def test_a_name_that_no_file_can_have_is_refused_with_one_that_would_do(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "my-racks" in said(monkeypatch, capsys, "new", "fabric", "My Racks", "-d", str(tmp_path), code=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ready_files(CATALOG))
def test_every_link_and_node_of_a_fabric_is_drawn(name: str) -> None:
    fabric = expand(load_fabric(name, []))
    drawing = ET.fromstring(svg(fabric))        # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawing.findall(f"{space}line")) == len(fabric.links)
    assert len(drawing.findall(f"{space}g")) == len(fabric.nodes)
    boxes = {(r.get("x"), r.get("y")) for r in drawing.iter(f"{space}rect")}
    assert len(boxes) == len(fabric.nodes)      # none on another
    assert dot(fabric).count(" -- ") == mermaid(fabric).count("---|") == len(fabric.links)


def test_graphviz_reads_the_dot(tmp_path: Path) -> None:
    path = tmp_path / "small.dot"
    path.write_text(dot(expand(load_fabric("small", []))))
    try:
        subprocess.run(["dot", "-Tsvg", str(path)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no Graphviz: apt-get install graphviz")


def test_a_drawing_goes_to_the_file_that_its_suffix_names(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "allreduce.svg"
    said(monkeypatch, capsys, "graph", "allreduce", "-o", str(target))
    assert ET.fromstring(target.read_text()).tag.endswith("svg")     # noqa: S314 - our own
    assert said(monkeypatch, capsys, "graph", "small", "--format", "mermaid").startswith("flowchart TD\n")


def test_the_version_and_help_answer_in_their_short_forms(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(monkeypatch, capsys, "--version").startswith("aifab 0.")
    assert "Usage: aifab" in said(monkeypatch, capsys, "-h")
