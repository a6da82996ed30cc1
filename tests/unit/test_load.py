"""Loading tells every mistake, each by its place; options and bases land where they should."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from scenarios.spec.load_scenario import LIBRARY, load_scenario
from tests.examples import examples
from tests.golden import cases
from topologies.model.disciplines import FifoQueue
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.load import CATALOG, load_fabric, load_model, ready_files
from topologies.model.spec import FabricSpec
from traffic.workloads.specs import CollectiveSpec, RequestsSpec, StreamSpec, TrainingTraceSpec

GOLDEN = dict(cases())
SCENARIO = """\
name: s
question: Does it load?
fabric: {fabric}
workloads:
  ring: {{kind: collective, size: 1MB}}
  all: {{kind: collective, op: all-to-all, size: 1MB}}
  chat: {{kind: requests, trace: t.csv, clients: [h1], servers: [h2]}}
"""


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("")
    path = tmp_path / "s.yml"
    path.write_text(SCENARIO.format(fabric="small"))
    return path


def wheres(load: object, *args: object) -> list[str]:
    """Where the errors of a call are, as the user reads it."""
    with pytest.raises(SpecError) as info:
        load(*args)  # type: ignore[operator]
    errors = info.value.errors if isinstance(info.value, SpecErrors) else (info.value,)
    return [error.where for error in errors]


@pytest.mark.parametrize("path", sorted(GOLDEN), ids=lambda p: p.stem)
def test_what_users_read_is_as_recorded(path: Path) -> None:
    assert GOLDEN[path] == path.read_text()


@pytest.mark.parametrize("path", sorted(p for p in GOLDEN if p.parent.name == "errors"), ids=lambda p: p.stem)
def test_every_wrong_file_is_refused_with_file_and_line(path: Path) -> None:
    heads = [line for line in path.read_text().splitlines() if not line.startswith("  -> ")]
    assert heads
    assert all(re.match(r"[\w.-]+:\d+( |:)", head) and ": expected " in head and "; found " in head for head in heads)
    assert not any("found found" in head or "found but found" in head for head in heads)


@pytest.mark.parametrize("name", sorted(p.stem for p in CATALOG.glob("*.yml")))
def test_every_fabric_of_the_catalog_expands_without_more_blocking_than_it_says(name: str) -> None:
    fabric = expand(load_fabric(name))
    assert fabric.spec.name == name
    limit = fabric.spec.oversubscription or 1
    assert all(fabric.oversubscription(leaf.name) <= limit + 1e-9 for leaf in fabric.leaves)


@pytest.mark.parametrize("name", sorted(ready_files(LIBRARY)))
def test_every_scenario_of_the_library_loads_and_asks_a_question(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.question.endswith("?")


def test_the_default_fabric_is_two_leaves_two_spines_eight_hosts_at_10_mbit() -> None:
    spec = load_fabric("small")
    assert (spec.leaves, spec.spines, spec.hosts_per_leaf, spec.host_rate) == (2, 2, 4, 10e6)


@pytest.mark.parametrize(("content", "expected"), [
    (b"", "a mapping of keys to values"), (b"# only a comment\n", "a mapping of keys to values"),
    (b"just text", "a mapping of keys to values"), (b"\xff\xfe\x00", "a YAML file in UTF-8"),
    (b"name: \x00", "valid YAML"), (b"a: 1\n---\nb: 2\n", "valid YAML"),
    (b"a: !python/object:os.system {}", "valid YAML"), (b"a: *nowhere", "valid YAML"),
    (b"a: " + b"[" * 600, "a file that a person can read"),
    (b"a: 2001-99-99", "values that YAML 1.2 knows"), (b"[a]: 1", "names as keys (quote a number that is a name)"),
    (b"a: '" + b"x" * 1_000_001 + b"'", "a YAML file of at most 1000 kB"),
])
def test_a_file_that_is_no_spec_is_distinguished(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "f.yml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as info:
        load_fabric(str(path))
    assert info.value.expected == expected


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = tmp_path / "bomb.yml"
    path.write_text("\n".join(lines))
    with pytest.raises(SpecError, match="aliases count each time"):
        load_fabric(str(path))


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: None], ids=["a directory", "nothing"])
def test_what_is_no_file_is_an_error(tmp_path: Path, make: object) -> None:
    path = tmp_path / "f.yml"
    make(path)  # type: ignore[operator]
    assert wheres(load_fabric, str(path)) == [str(path)]


@examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.sampled_from("ab:-[]{}#&*!|>'\"%@` \n\t0,.?kind"), max_size=40))
def test_no_text_causes_a_traceback(tmp_path: Path, text: str) -> None:
    path = tmp_path / "f.yml"
    path.write_text(text)
    for load in (load_fabric, load_scenario):
        with suppress(SpecError):
            load(str(path))


def test_merge_keys_are_read_and_errors_point_at_the_merged_line(tmp_path: Path) -> None:
    path = tmp_path / "f.yml"
    path.write_text("links:\n  leaf1-spine1: &slow\n    rate: 1mbit\n    dely: 1ms\n  leaf1-spine2:\n    <<: *slow\n")
    assert wheres(load_fabric, str(path)) == [
        f"{path}:4 links.leaf1-spine1.dely", f"{path}:4 links.leaf1-spine2.dely"]


def test_an_option_changes_a_fabric_before_it_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "f.yml"
    path.write_text("host_rate: fast\nqueue: 60kB\n")
    spec = load_model(path, FabricSpec, ["host_rate=5mbit", "queue.packets=7", "border={hosts: 3, rate: 1mbit}",
                                         "border.hosts=4", "links.leaf1-spine1.rate=2mbit"])
    assert spec.host_rate == 5e6
    assert spec.queue == FifoQueue(packets=7)
    assert spec.border is not None
    assert spec.border.hosts == 4
    assert spec.links["leaf1-spine1"].rate == 2e6


@pytest.mark.parametrize(("option", "where"), [
    ("host_rate=-1mbit", "--set host_rate=-1mbit"), ("hots=1", "--set hots=1"), ("name", "--set name"),
    ("=1", "--set =1"), ("a..b=1", "--set a..b=1"), ("name=[", "--set name=["),
    ("border.hosts=2", "--set border.hosts=2 (border.rate)"),
])
def test_an_error_of_an_option_names_the_option(option: str, where: str) -> None:
    assert wheres(load_fabric, "small", [option]) == [where]


def test_all_unreadable_options_are_reported_at_once() -> None:
    assert wheres(load_fabric, "small", ["a", "b"]) == ["--set a", "--set b"]


def test_a_bare_name_addresses_the_only_workload_that_has_it(scenario_file: Path) -> None:
    scenario = load_scenario(str(scenario_file), ["speedup=4", "seed=9"])
    chat = scenario.workloads["chat"]
    assert isinstance(chat, RequestsSpec)
    assert chat.speedup == 4
    assert scenario.seed == 9


def test_a_bare_name_that_two_workloads_have_is_refused_with_both_paths(scenario_file: Path) -> None:
    with pytest.raises(SpecErrors) as info:
        load_scenario(str(scenario_file), ["size=2MB"])
    assert info.value.expected == "one of workloads.ring.size, workloads.all.size"


@pytest.mark.parametrize(("option", "hint"), [
    ("host_rate=1mbit", "did you mean fabric.host_rate"), ("speedupp=2", "did you mean workloads.chat.speedup"),
    ("workloads.rin.size=1MB", "did you mean ring"), ("fabric.host_rat=1mbit", "did you mean host_rate"),
    ("fabric=smal", "did you mean small"),
])
def test_an_unknown_path_is_refused_with_the_nearest(scenario_file: Path, option: str, hint: str) -> None:
    with pytest.raises(SpecErrors) as info:
        load_scenario(str(scenario_file), [option])
    assert [e.where for e in info.value.errors] == [f"--set {option}"]
    assert info.value.hint.startswith(hint)


def test_an_option_may_change_the_fabric_and_then_its_keys(scenario_file: Path) -> None:
    fabric = load_scenario(str(scenario_file), ["fabric.host_rate=3mbit", "fabric=wide16"]).fabric
    assert (fabric.name, fabric.leaves, fabric.host_rate) == ("wide16", 2, 3e6)


def test_an_entry_of_a_list_is_addressed_by_its_number() -> None:
    events = load_scenario("link-failure", ["events.1.at=4s"]).events
    assert [event.at for event in events] == [3.0, 4.0]
    assert wheres(load_scenario, "link-failure", ["events.7.at=4s"]) == ["--set events.7.at=4s"]


def test_keys_go_over_those_of_the_base_and_null_takes_one_away(scenario_file: Path) -> None:
    scenario_file.write_text(SCENARIO.format(
        fabric="{base: spines4, hosts_per_leaf: 3, uplink_rate: null, oversubscription: 2, tcp: {rto_min: 5ms}}"))
    fabric = load_scenario(str(scenario_file)).fabric
    assert (fabric.spines, fabric.hosts_per_leaf, fabric.uplink_rate, fabric.oversubscription) == (4, 3, None, 2)
    assert fabric.tcp.rto_min == 0.005


def test_a_fabric_of_its_own_file_lies_beside_the_scenario(scenario_file: Path) -> None:
    (scenario_file.parent / "net.yml").write_text("name: beside\n")
    scenario_file.write_text(SCENARIO.format(fabric="net.yml"))
    assert load_scenario(str(scenario_file)).fabric.name == "beside"
    scenario_file.write_text(SCENARIO.format(fabric="none.yml"))
    assert wheres(load_scenario, str(scenario_file)) == [f"{scenario_file}:3 fabric"]


def test_a_trace_lies_beside_the_scenario_and_that_of_an_option_where_one_is(
        scenario_file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "u.csv").write_text("")
    monkeypatch.chdir(here)
    for options, wanted in (([], scenario_file.parent / "t.csv"), (["trace=u.csv"], here / "u.csv")):
        chat = load_scenario(str(scenario_file), options).workloads["chat"]
        assert isinstance(chat, RequestsSpec)
        assert chat.trace == str(wanted)
    assert wheres(load_scenario, str(scenario_file), ["trace=t.csv"]) == ["--set trace=t.csv"]


def test_the_library_asks_for_what_its_files_say() -> None:
    ring = load_scenario("allreduce").workloads["ring"]
    assert isinstance(ring, CollectiveSpec)
    assert (ring.op, ring.ranks, ring.placement, ring.size) == ("all-reduce", 8, "strided", 6_000_000)
    senders = load_scenario("incast").workloads["senders"]
    assert isinstance(senders, StreamSpec)
    assert senders.rate is not None
    assert len(senders.pairs) * senders.rate > 2 * load_scenario("incast").fabric.host_rate
    demo = load_scenario("demo")
    assert {type(demo.workloads[name]) for name in demo.phases[-1].run} == {TrainingTraceSpec, RequestsSpec}


ODD = ["null", "5", "[]", "{}", "[1]", "text", "true", "1e400", "2001-01-01", "'a\\0b'", "x" * 5000,
       "{base: [1]}", "{base: small, x: 1}", "{racks: {leaf1: []}}", "{links: {a: null}}", "{scale: {rate: [1]}}",
       "{a: null}", "{a: {kind: [x]}}", "{a: {kind: udp, pairs: {h1: h2}}}", "{a: {kind: requests, trace: 5}}",
       "{a: {kind: collective, size: 1MB, splits: [[]]}}", "{a: {kind: collective, size: 1MB, placement: []}}",
       "[{at: 1s}]", "[{run: [a], name: null}]"]


@pytest.mark.parametrize("path", [
    "fabric", "fabric.base.x", "fabric.links.a.rate", "fabric.border", "fabric.racks.leaf1.0", "name.0", "seed",
    "workloads", "workloads.ring", "workloads.ring.kind", "workloads.ring.placement", "workloads.0.size", "0",
    "trace", "phases", "phases.0.run.0", "phases.x", "events", "events.0"])
def test_no_value_anywhere_causes_a_traceback(scenario_file: Path, path: str) -> None:
    refused = 0
    for value in ODD:
        try:
            load_scenario(str(scenario_file), [f"{path}={value}"])
        except SpecError as error:
            refused += bool(str(error))
    assert refused > len(ODD) // 2
