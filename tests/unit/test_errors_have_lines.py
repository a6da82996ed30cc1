"""What shows only when traffic is made has file and line as well, for several files and several mistakes at once."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from controller.intent.intent import read_intent
from scenarios import cli
from scenarios.spec.compiling import compiled
from scenarios.spec.load_scenario import load_scenario
from scenarios.workshops.work import read_scenario as read_work_scenario
from topologies.model.disciplines import FifoQueue
from topologies.model.document import other_encoding, read_document
from topologies.model.errors import Gathered, SpecError, SpecErrors, TraceError
from topologies.model.expansion import expand
from topologies.model.load import load_fabric
from topologies.model.spec import FabricSpec, ScaleSpec
from traffic.traces.rows import json_rows, text_lines

HEAD = "name: s\nquestion: Q?\nfabric: small\n"


def aifab(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["aifab", *arguments])
    with pytest.raises(SystemExit) as info:
        cli.main()
    return int(info.value.code or 0)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wheres(text: str) -> list[str]:
    return [line.split(": expected")[0] for line in text.splitlines() if ": expected" in line]


def test_traffic_that_cannot_be_made_has_a_line_in_each_of_several_files(
        here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yml").write_text(HEAD + "workloads:\n  r: {kind: collective, size: 1MB, ranks: 3, "
                             "algorithm: halving-doubling}\n  q: {kind: collective, size: 1MB, algorithm: tree}\n")
    Path("b.yml").write_text(HEAD + "workloads: {r: {kind: requests, trace: t.csv, clients: [h1], servers: [h2]}}\n")
    Path("t.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    Path("c.yml").write_text("name: c\nquestion: Q?\nfabric: {base: small, delay: 5ms, jitter: 10ms}\n"
                             "workloads: {r: {kind: collective, size: 1MB, ranks: 99}}\n")
    assert aifab(monkeypatch, "check", "a.yml", "b.yml", "c.yml") == 2
    assert wheres(capsys.readouterr().err) == [
        "a.yml:5 workloads.r", "a.yml:6 workloads.q", "b.yml:4 workloads.r.trace", "c.yml:3 fabric.jitter",
        "c.yml:4 workloads.r.ranks"]


def test_run_names_the_same_line_as_check(
        here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yml").write_text(HEAD + "workloads:\n  q: {kind: collective, size: 1MB, algorithm: tree}\n")
    monkeypatch.setattr("topologies.lab.host_limits.require_root", lambda: None)
    assert aifab(monkeypatch, "run", "a.yml", "--runs", "runs") == 2
    assert wheres(capsys.readouterr().err) == ["a.yml:5 workloads.q"]
    assert not Path("runs").exists()


def test_the_workload_has_its_line_where_an_option_made_it_wrong(
        here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yml").write_text(HEAD + "workloads:\n  q: {kind: collective, size: 1MB}\n")
    assert aifab(monkeypatch, "check", "a.yml", "--set", "algorithm=tree") == 2
    assert "a.yml:5 workloads.q: expected an algorithm for all-reduce" in capsys.readouterr().err


@pytest.mark.parametrize("python", [False, True], ids=["yaml", "skeleton"])
def test_a_learner_reads_the_line_before_anything_runs(here: Path, python: bool) -> None:
    path = here / ("s.py" if python else "s.yml")
    ring = "{'kind': 'collective', 'size': '1MB', 'algorithm': 'tree'}"
    whole = f"'question': 'Q?', 'fabric': 'small', 'workloads': {{'q': {ring}}}"
    path.write_text(f"def scenario():\n    return {{'name': 's', {whole}}}\n" if python
                    else HEAD + f"workloads:\n  q: {ring}\n")
    with pytest.raises(SpecErrors) as info:
        read_work_scenario(path)
    assert [e.where for e in info.value.errors] == [f"{path}:{1 if python else 5} workloads.q"]


def test_a_mistake_in_two_phases_is_reported_once(here: Path) -> None:
    path = here / "a.yml"
    path.write_text(HEAD + "workloads:\n  q: {kind: collective, size: 1MB, algorithm: tree}\n"
                    "phases: [{name: a, run: [q]}, {name: b, run: [q]}]\n")
    with pytest.raises(SpecErrors) as info:
        compiled(load_scenario(str(path)))
    assert [e.where for e in info.value.errors] == ["workloads.q"]


def test_errors_are_gathered_each_once_and_placed() -> None:
    gathered = Gathered()
    for _ in range(2):
        with gathered.at("workloads.a"):
            raise SpecError("ranks", "fewer", "many")
    with gathered.at("workloads.b"):
        raise TraceError("/t.csv:3", "a row", "half of one")
    with gathered.at("workloads.c"):
        raise TraceError("/t.csv", "a row", "none")
    with pytest.raises(SpecErrors) as info:
        gathered.raise_all()
    assert [(e.where, e.found) for e in info.value.errors] == [
        ("workloads.a: ranks", "many"), ("/t.csv:3", "half of one"), ("workloads.c.trace", "none (/t.csv)")]
    Gathered().raise_all()


@pytest.mark.parametrize("key", ["link", "switch", "rank"])
def test_a_hint_never_suggests_the_key_that_was_found(here: Path, key: str) -> None:
    """A key of another member of a union is unknown in this one, and named as what it is."""
    event = {"link": "switch: leaf1, state: down", "switch": "link: leaf1-spine1, state: down",
             "rank": "switch: leaf1, state: down"}[key]
    value = {"link": "leaf1-spine1", "switch": "leaf1", "rank": "0"}[key]
    path = here / "s.yml"
    path.write_text(HEAD + f"events: [{{at: 1s, {key}: {value}, {event}}}]\n"
                    "workloads: {r: {kind: udp, pairs: [[h1, h5]], pps: 100, duration: 3s}}\n")
    with pytest.raises(SpecErrors) as info:
        load_scenario(str(path))
    (error,) = info.value.errors
    assert "not both: an event changes one thing" in error.expected
    assert "did you mean" not in str(error)


def test_a_queue_in_bytes_is_as_long_as_it_says_and_holds_a_frame(here: Path) -> None:
    assert {k.queue for k in expand(FabricSpec(queue=FifoQueue(bytes=1600))).links if k.kind == "access"} == {1600}
    Path("f.yml").write_text("queue: 1513B\n")
    with pytest.raises(SpecErrors, match=r"f.yml:1 queue: expected a queue of at least 1514 B, one full frame"):
        load_fabric("f.yml")
    scaled = FabricSpec(queue=FifoQueue(bytes=60_000), scale=ScaleSpec(size=1e-3))      # packets are not scaled
    assert {k.queue for k in expand(scaled).links if k.kind == "access"} == {2 * 1514}


def test_a_queue_of_an_event_holds_a_frame(here: Path) -> None:
    path = here / "s.yml"
    path.write_text(HEAD + "events: [{at: 1s, link: leaf1-spine1, queue: 1563B}]\n"
                    "workloads: {r: {kind: udp, pairs: [[h1, h5]], pps: 100, duration: 3s}}\n")
    with pytest.raises(SpecErrors, match=r"s.yml:4 events.0.queue: expected a queue of at least 1564 B"):
        load_scenario(str(path))


def test_text_with_a_byte_order_mark_is_read(here: Path) -> None:
    mark = codecs.BOM_UTF8
    Path("t.jsonl").write_bytes(mark + b'{"a": 1}\n{"a": 2}\n')
    assert [row.data["a"] for row in json_rows(Path("t.jsonl"))] == [1, 2]
    Path("t.csv").write_bytes(mark + b"a,b\r\n1,2\r\n")
    assert text_lines(Path("t.csv")) == ["a,b", "1,2"]
    Path("f.yml").write_bytes(mark + b"leaves: 3\r\n")
    assert load_fabric("f.yml").leaves == 3
    Path("v.yml").write_bytes(mark + b"kind: VPC\nmetadata: {name: a}\nspec: {subnets: {x: {subnet: 10.1.0.0/24}}}\n")
    assert list(read_intent(Path("v.yml"))[0].vpcs) == ["a"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_of_another_encoding_is_named(here: Path, encoding: str) -> None:
    Path("f.yml").write_bytes("leaves: 3\n".encode(encoding))
    for read in (read_document, text_lines):
        with pytest.raises(SpecError, match=r"f.yml:1: expected .* UTF-8.*; found one in UTF-(16|32)"):
            read(Path("f.yml"))


def test_what_is_utf8_or_binary_is_no_other_encoding() -> None:
    assert [other_encoding(data) for data in (b"", b"a", "Grüße".encode(), b"\x00", bytes(range(256)))] == [""] * 5
