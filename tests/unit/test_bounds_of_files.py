"""Files without end, and those that say more than they hold: refused in a sentence, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml.error import YAMLError

from controller.intent.intent import read_intent
from scenarios.spec.load_scenario import load_scenario
from tests.unit.bounded import MEMORY, aifab, refused
from topologies.model.document import parse_yaml, read_document
from topologies.model.errors import SpecError, SpecErrors, TraceError
from topologies.model.inputs import read_bounded
from topologies.model.load import load_fabric
from topologies.model.yaml_bounds import MAX_DEPTH, MAX_VALUES
from traffic.traces import chakra, pytorch_et
from traffic.traces.rows import text_lines

pytestmark = pytest.mark.large

NESTED = "a0: &a0 {x: 1}\n"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)      # it takes no room on the disk


ODD: dict[str, Callable[[Path], object]] = {
    "a pipe": _pipe, "a device": lambda path: path.symlink_to("/dev/zero"), "a directory": Path.mkdir,
    "a larger one": _huge}


@pytest.mark.parametrize("found", ODD)
@pytest.mark.parametrize("read", [read_document, read_intent, text_lines], ids=lambda f: f.__name__)
def test_what_is_no_regular_file_of_bounded_size_is_refused_by_what_it_is(
        tmp_path: Path, read: Callable[[Path], object], found: str) -> None:
    path = tmp_path / "f.yml"
    ODD[found](path)
    with pytest.raises(SpecError) as info:
        read(path)
    assert (info.value.where, info.value.found) == (str(path), found)


@pytest.mark.parametrize("found", ["a pipe", "a device", "a larger one"])
def test_files_inside_of_a_trace_are_looked_at_too(tmp_path: Path, found: str) -> None:
    for folder, names, read in (("et", ("x.0.et", "x.1.et"), chakra.read),
                                ("torch", ("et_comm_rank0.jsonl", "kineto_comm_rank0.jsonl", "et_comm_rank1.jsonl",
                                           "kineto_comm_rank1.jsonl"), pytorch_et.read)):
        (tmp_path / folder).mkdir()
        for name in names:
            ODD[found](tmp_path / folder / name)
        with pytest.raises(TraceError) as info:
            read(tmp_path / folder)
        assert info.value.found == found


def test_a_file_that_lies_about_its_size_is_read_to_its_bound_only() -> None:
    with pytest.raises(SpecError, match="found a larger one"):
        read_bounded(Path("/proc/self/smaps"), "a file", 100)       # of 0 bytes, if one believes stat


@pytest.mark.parametrize("kind", ["requests", "serving", "training-trace", "replay"])
@pytest.mark.parametrize("trace", ["/dev/zero", "pipe"])
def test_a_trace_that_is_no_file_is_refused_with_its_line(tmp_path: Path, kind: str, trace: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    more = ", hosts: {10.0.0.1: h1}" if kind == "replay" else ", clients: [h1]" if kind != "training-trace" else ""
    (tmp_path / "s.yml").write_text(f"name: s\nquestion: q?\nfabric: small\nworkloads:\n  w: {{kind: {kind}, "
                                    f"trace: {trace}{more}}}\n")
    with pytest.raises(SpecErrors) as info:
        load_scenario(str(tmp_path / "s.yml"))
    assert [(e.where, e.found.split(", ")[-1]) for e in info.value.errors if e.where.endswith(".trace")] == [
        (f"{tmp_path}/s.yml:5 workloads.w.trace", "a pipe" if trace == "pipe" else "a device")]


BOMBS = {
    "aliases of aliases": "\n".join([
        "a0: &a0 [1,1,1,1,1,1,1,1,1,1]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))]),
    "merged twice, again and again": NESTED + "\n".join(
        f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)),
    "merged and nested": NESTED + "\n".join(
        f"a{n}: &a{n}\n  <<: *a{n - 1}\n  k{n}: *a{n - 1}" for n in range(1, 50)),
    "a list of a megabyte": f"a: [{'1,' * 490_000}]",
    "brackets": "a: " + "[" * 400_000,
    "dashes": "- " * 400_000,
    "aliases that nest": "a0: &a0 [1]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 2000)),
    "a number of a megabyte": f"a: {'9' * 900_000}",
    "a hexadecimal one": f"a: 0x{'9' * 900_000}",
    "an exponent": f"a: 1e{'9' * 900_000}",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_a_file_would_expand_to_is_counted_before_it_is_expanded(tmp_path: Path, bomb: str) -> None:
    (tmp_path / "f.yml").write_text(BOMBS[bomb])
    (error,) = refused(aifab(tmp_path, "check", "f.yml"))
    assert error.startswith("f.yml:")
    assert ": expected a " in error


def test_values_are_counted_as_if_aliases_were_written_out(tmp_path: Path) -> None:
    path, n = tmp_path / "f.yml", MAX_VALUES // 2
    path.write_text(f"a: &a [{','.join('1' * (n - 10))}]\nb: *a\n")
    assert len(read_document(path).data["b"]) == n - 10
    path.write_text(f"a: &a [{','.join('1' * (n - 10))}]\nb: *a\nc: [{','.join('1' * 30)}]\n")
    with pytest.raises(SpecError, match=r"f.yml:3: .* at most 50,000 values; found more from this line"):
        read_document(path)


def test_levels_are_counted_through_aliases(tmp_path: Path) -> None:
    path = tmp_path / "f.yml"
    half = MAX_DEPTH // 2
    for more, fits in ((0, True), (4, False)):
        path.write_text(f"a: &a {'[' * half}1{']' * half}\nb: {'[' * (half - 3 + more)}*a{']' * (half - 3 + more)}\n")
        if fits:
            read_document(path)
        else:
            with pytest.raises(SpecError, match=r"f.yml:2: expected a file that a person can read"):
                read_document(path)


def test_a_file_of_a_megabyte_that_is_just_wrong_is_reported_in_bounded_memory(tmp_path: Path) -> None:
    (tmp_path / "f.yml").write_text("".join(f"k{i}: {{a: [1, 2], b: x}}\n" for i in range(MAX_VALUES // 9)))
    errors = refused(aifab(tmp_path, "check", "f.yml"))
    assert errors[0].startswith("f.yml:1 k0: expected one of the keys")


@pytest.mark.parametrize("value", ["1e308", "-1e300", "1e-300", ".inf", ".nan", "1" + "0" * 22, "0x1" + "0" * 30])
def test_a_number_that_no_network_has_is_refused_with_its_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "f.yml"
    path.write_text(f"leaves: 2\noversubscription: {value}\nspines: x\n")
    with pytest.raises(SpecErrors) as info:
        load_fabric(str(path))
    assert [e.where for e in info.value.errors] == [f"{path}:2 oversubscription", f"{path}:3 spines"]
    with pytest.raises(SpecErrors, match="--set oversubscription="):
        load_fabric("small", [f"oversubscription={value}"])


@pytest.mark.parametrize("value", ["1e308GB", "1e-300B", f"{'9' * 5000}B", "1e99999999999B"])
def test_a_size_beyond_all_measure_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "s.yml"
    path.write_text("name: s\nquestion: q?\nfabric: small\nworkloads: {r: {kind: collective, size: " + value + "}}\n")
    with pytest.raises(SpecErrors) as info:
        load_scenario(str(path))
    assert info.value.where == f"{path}:4 workloads.r.size"


@pytest.mark.parametrize("factor", ["1e999999999", "1/1e999999999", "9" * 100_000, "1/" + "9" * 100_000])
def test_a_factor_is_not_worked_out_that_has_no_end(factor: str) -> None:
    with pytest.raises(SpecErrors) as info:
        load_fabric("small", [f"scale.rate='{factor}'"])
    assert info.value.expected == "a factor such as 1/40000 or 0.001"


def test_a_fabric_has_as_many_hosts_as_can_be_checked(tmp_path: Path) -> None:
    (tmp_path / "f.yml").write_text("leaves: 64\nspines: 32\nhosts_per_leaf: 200\n")
    assert refused(aifab(tmp_path, "check", "f.yml")) == [
        "f.yml:3 hosts_per_leaf: expected at most 2048 hosts in a fabric, probes and outside hosts among them; "
        "found 12864"]
    (tmp_path / "f.yml").write_text("leaves: 64\nspines: 32\nhosts_per_leaf: 31\n")
    reported = aifab(tmp_path, "check", "f.yml")
    assert (reported.code, reported.kb < MEMORY) == (0, True), reported.err


def test_a_stream_of_documents_is_counted_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "i.yml"
    path.write_text("a: 1\n---\n" * 100_000)
    with pytest.raises(SpecError, match=r"i.yml:\d+: expected a file of at most 50,000 values"):
        read_intent(path)


def test_an_option_cannot_expand_without_end() -> None:
    with pytest.raises(YAMLError, match="lists and mappings over"):
        parse_yaml("[" * 5000)
