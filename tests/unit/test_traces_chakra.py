"""Chakra traces: decoded as they are, every byte of them sent, or an error that names the node."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.workloads import workload_of
from topologies.model.errors import TraceError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.traces.chakra_nodes import read
from traffic.workloads.lowering import lower
from traffic.workloads.specs import TrainingTraceSpec
from traffic.workloads.workload import Collective, Compute, Transfer, Workload

SETS = Path(__file__).parents[3] / "shared" / "traces" / "astrasim_chakra_et"
RING = SETS / "custom_ring_allreduce_8npus_1MB"
needs_traces = pytest.mark.skipif(not SETS.is_dir(), reason="the published Chakra traces are not here")
TYPES = ("INVALID_NODE", "METADATA_NODE", "MEM_LOAD_NODE", "MEM_STORE_NODE", "COMP_NODE", "COMM_SEND_NODE",
         "COMM_RECV_NODE", "COMM_COLL_NODE")
Json = dict[str, Any]


# --- a writer of the format, checked against the published files below ------------------------------


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def attribute(a: Json) -> bytes:
    out = field(1, a["name"].encode())
    for key, number in (("int32_val", 7), ("int64_val", 9), ("bool_val", 27)):
        if key in a:
            out += field(number, int(a[key]))
    for key, number in (("int64_list", 10), ("bool_list", 28)):
        if key in a:
            out += field(number, field(1, b"".join(varint(int(v)) for v in a[key])))
    text = a.get("stringVal", a.get("string_val"))
    return out if text is None else out + field(29, text.encode())


def node(n: Json) -> bytes:
    out = field(1, int(n["id"])) if int(n.get("id", 0)) else b""
    out += field(2, n["name"].encode()) + field(3, TYPES.index(n["type"]))
    for number, key in ((4, "ctrl_deps"), (5, "data_deps")):
        if n.get(key):
            out += field(number, b"".join(varint(int(d)) for d in n[key]))
    if "duration_micros" in n:
        out += field(7, int(n["duration_micros"]))
    if "inputs" in n:
        out += field(8, field(1, n["inputs"].encode()))
    return out + b"".join(field(10, attribute(a)) for a in n.get("attr", ()))


def metadata(m: Json) -> bytes:
    out = field(1, m["version"].encode()) if "version" in m else b""
    return out + b"".join(field(2, attribute(a)) for a in m.get("attr", ()))


def et(meta: Json, nodes: list[Json]) -> bytes:
    return b"".join(varint(len(m)) + m for m in (metadata(meta), *map(node, nodes)))


def ints(**values: int) -> list[Json]:
    return [{"name": name, "int64_val": str(value)} for name, value in values.items()]


def write(directory: Path, ranks: list[list[Json]]) -> Path:
    directory.mkdir(exist_ok=True)
    for r, nodes in enumerate(ranks):
        (directory / f"step.{r}.et").write_bytes(et({"version": "0.0.4"}, nodes))
    return directory


def collective(id_: int, kind: int, size: int, deps: tuple[int, ...] = ()) -> Json:
    return {"id": id_, "name": f"coll{id_}", "type": "COMM_COLL_NODE", "data_deps": deps,
            "attr": ints(comm_type=kind, comm_size=size)}


def comp(id_: int, micros: int, deps: tuple[int, ...] = ()) -> Json:
    return {"id": id_, "name": f"comp{id_}", "type": "COMP_NODE", "data_deps": deps, "duration_micros": micros}


def p2p(id_: int, type_: str, peer: int, size: int, tag: int = 0) -> Json:
    key = "comm_dst" if type_ == "SEND" else "comm_src"
    return {"id": id_, "name": f"{type_.lower()}{id_}", "type": f"COMM_{type_}_NODE",
            "attr": ints(comm_size=size, comm_tag=tag, **{key: peer})}


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec(leaves=2, hosts_per_leaf=4))


def workload(trace: Path, fabric: Fabric, **more: object) -> Workload:
    return workload_of(TrainingTraceSpec.model_validate(
        {"kind": "training-trace", "format": "chakra", "trace": str(trace), **more}), fabric, "step", 1)


def decoded(rank: int) -> tuple[Json, list[Json]]:
    first, *rows = [json.loads(line) for line in (RING / f"decoded.{rank}.jsonl").read_text().splitlines()]
    return first["GlobalMetadata"], rows


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """All eight ranks of the published ring, its missing files written from their decoded rows."""
    for rank in range(8):
        (tmp_path / f"custom_allreduce.{rank}.et").write_bytes(et(*decoded(rank)))
    return tmp_path


# --- the published sets ---------------------------------------------------------------------------


@needs_traces
@pytest.mark.parametrize("rank", [0, 1])
def test_the_writer_of_these_tests_writes_the_published_files_byte_by_byte(rank: int, ring: Path) -> None:
    name = f"custom_allreduce.{rank}.et"
    assert (ring / name).read_bytes() == (RING / name).read_bytes()


@needs_traces
def test_every_node_of_the_ring_is_read_as_it_was_decoded(ring: Path) -> None:
    for rank, nodes in enumerate(read(ring)):
        rows = decoded(rank)[1]
        assert len(nodes) == len(rows) == 35
        for n, row in zip(nodes, rows, strict=True):
            assert (n.id, n.name, n.type) == (int(row.get("id", 0)), row["name"], row["type"])
            assert n.deps == tuple(map(int, row.get("data_deps", ())))
            assert n.micros == int(row.get("duration_micros", 0))
            assert n.attributes == {a["name"]: int(a.get("int64_val", a.get("int32_val"))) for a in row.get("attr", ())}


@needs_traces
def test_every_byte_of_the_ring_is_sent_between_the_ranks_that_the_trace_names(ring: Path, fabric: Fabric) -> None:
    made = workload(ring, fabric)
    expected: Counter[tuple[int, int]] = Counter()
    for rank in range(8):
        for row in decoded(rank)[1]:
            values = {a["name"]: int(a.get("int64_val", a.get("int32_val"))) for a in row.get("attr", ())}
            if row["type"] == "COMM_SEND_NODE":
                expected[rank, values["comm_dst"]] += values["comm_size"]
    moved: Counter[tuple[int, int]] = Counter()
    for op in lower(made).ops:
        if isinstance(op, Transfer):
            moved[op.src, op.dst] += op.size
    assert moved == expected
    assert sum(moved.values()) == 2 * 7 * 1_048_576      # a ring all-reduce of 1 MiB on 8 ranks
    assert sum(op.seconds for op in made.ops if isinstance(op, Compute)) == pytest.approx(8 * 7 * 7e-6)


@needs_traces
@pytest.mark.parametrize(("name", "kind", "moved"), [
    ("all_reduce", "all-reduce", 2 * 7 * 2**20), ("all_gather", "all-gather", 7 * 8 * 2**20),
    ("all_to_all", "all-to-all", 7 * 2**20),
])
def test_published_collectives_move_what_their_ranks_hand_in(name: str, kind: str, moved: int, fabric: Fabric) -> None:
    made = workload(SETS / f"{name}_8npus_1MB", fabric)
    (only,) = [op for op in made.ops if isinstance(op, Collective)]
    assert (only.id, only.kind, only.ranks) == (f"c1-{name}", kind, tuple(range(8)))
    assert lower(made).total_bytes == moved


@needs_traces
def test_a_set_without_all_of_its_ranks_is_refused() -> None:
    with pytest.raises(TraceError, match=r"comm_src to be another rank from 0 to 1; found 7\n.*missing"):
        workload(RING, expand(FabricSpec()))


# --- what the nodes become ------------------------------------------------------------------------


def test_computes_and_collectives_follow_each_ranks_own_dependencies(tmp_path: Path, fabric: Fabric) -> None:
    ranks = [[comp(10 + r, 500 * (r + 1)), collective(20 + r, 0, 9000, (10 + r,)), comp(30 + r, 7, (20 + r,))]
             for r in range(3)]
    made = workload(write(tmp_path, ranks), fabric, bytes_factor=0.5, time_factor=2)
    by_id = {op.id: op for op in made.ops}
    assert by_id["n11/r1"] == Compute("n11/r1", 1, pytest.approx(2e-3), ())
    joined = by_id["c1-all_reduce"]
    assert isinstance(joined, Collective)
    assert joined.size == 4500
    assert by_id[joined.after[2]].after == ("n12/r2",)
    assert by_id["n32/r2"].after == ("c1-all_reduce", "n12/r2")     # n12 is before it on the GPU
    lower(made)


def test_sends_meet_their_receives_by_peer_tag_and_order(tmp_path: Path, fabric: Fabric) -> None:
    ranks = [[p2p(0, "SEND", 1, 100, tag=1), p2p(1, "SEND", 1, 200, tag=2), p2p(2, "SEND", 1, 300, tag=1)],
             [p2p(0, "RECV", 0, 200, tag=2), p2p(1, "RECV", 0, 100, tag=1), p2p(2, "RECV", 0, 300, tag=1)]]
    by_id = {op.id: op for op in workload(write(tmp_path, ranks), fabric).ops}
    assert [by_id[f"n{k}/r1"].after for k in range(3)] == [("n1/r0",), ("n0/r0",), ("n2/r0",)]


def test_a_cycle_in_a_trace_is_named_with_its_file(tmp_path: Path, fabric: Fabric) -> None:
    ranks = [[comp(0, 1, (1,)), comp(1, 1, (0,)), collective(2, 0, 80)], [collective(0, 0, 80)]]
    with pytest.raises(TraceError, match=r"step\.0\.et: .*(n0/r0 -> n1/r0 -> n0/r0|n1/r0 -> n0/r0 -> n1/r0)"):
        workload(write(tmp_path, ranks), fabric)


def test_a_node_may_depend_on_one_that_is_written_later(tmp_path: Path, fabric: Fabric) -> None:
    nodes = [collective(1, 0, 1000, (2,)), comp(3, 5, (1,)), collective(2, 6, 1000)]
    made = workload(write(tmp_path, [nodes] * 2), fabric)
    by_id = {op.id: op for op in made.ops}
    assert by_id["c2-all_reduce/after/r1"].after == ("c1-all_to_all",)
    assert by_id["n3/r0"].after == ("c2-all_reduce",)
    lower(made)


def test_collectives_meet_in_the_order_in_which_they_run_whatever_the_order_in_the_files(
        tmp_path: Path, fabric: Fabric) -> None:
    first, second = collective(2, 6, 1000), collective(1, 0, 500, (2,))
    by_id = {op.id: op for op in workload(write(tmp_path, [[first, second], [second, first]]), fabric).ops}
    assert {name for name in by_id if "/" not in name} == {"c1-all_to_all", "c2-all_reduce"}


def test_a_control_dependency_on_a_node_that_the_converter_left_out_holds_nothing_up(
        tmp_path: Path, fabric: Fabric) -> None:
    nodes = [{**comp(5, 10), "ctrl_deps": (3,)}, {**collective(6, 0, 80), "ctrl_deps": (5,)}]
    by_id = {op.id: op for op in workload(write(tmp_path, [nodes] * 2), fabric).ops}
    assert by_id["n5/r0"].after == ()
    assert by_id["c1-all_reduce/after/r0"].after == ("n5/r0",)


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ranks", "message"), [
    ([[collective(0, 1, 80)], [collective(0, 1, 80)]], "node 0 (coll0): expected a collective of ALL_REDUCE, "
     "ALL_GATHER, ALL_TO_ALL, BROADCAST, REDUCE_SCATTER, REDUCE_SCATTER_BLOCK, BARRIER; found REDUCE, which"),
    ([[collective(0, 3, 80)], [collective(0, 3, 80)]], "found GATHER, which is not supported"),
    ([[collective(0, 4, 80)], [collective(0, 4, 80)]], "found SCATTER, which is not supported"),
    ([[collective(0, 11, 80)], [collective(0, 11, 80)]], "found 11, which is not supported"),
    ([[{**collective(0, 0, 80), "attr": [*ints(comm_type=0, comm_size=80), {"name": "is_cpu_op", "bool_val": True}]}]]
     * 2, "expected communication of a GPU (is_cpu_op false); found is_cpu_op true"),
    ([[collective(0, 0, 80)], [collective(3, 0, 90)]], "node 3 (coll3): expected all-reduce of 80 bytes"),
    ([[collective(0, 0, 80)], [collective(0, 6, 80)]], "found all-to-all of 80 bytes"),
    ([[collective(0, 0, 80)], [collective(0, 0, 80), collective(1, 0, 80)]],
     "1 collectives on every rank, as on rank 0; found 2 on rank 1"),
    ([[collective(0, 0, 0)], [collective(0, 0, 0)]], "at least one byte to send; found 0 bytes"),
    ([[collective(0, 0, 80, (9,))], [collective(0, 0, 80)]], "dependencies on nodes of the file; found 9"),
    ([[comp(0, 1), comp(0, 1)], [comp(0, 1)]], "an id of its own and dependencies on nodes of the file; found id 0"),
    ([[comp(0, 1)], [comp(0, 1)]], "a node that communicates; found none"),
    ([[p2p(0, "SEND", 1, 100)], [p2p(0, "RECV", 0, 120)]], "node 0 (recv0): expected 100 bytes, as in"),
    ([[p2p(0, "SEND", 1, 100)], [comp(0, 1)]], "node 0 (send0): expected a receive of rank 1 for it; found none left"),
    ([[comp(0, 1)], [p2p(0, "RECV", 0, 100)]], "expected a send of rank 0 with tag 0 for it; found none left"),
    ([[p2p(0, "SEND", 5, 100)], [comp(0, 1)]], "comm_dst to be another rank from 0 to 1; found 5"),
    ([[{"id": 0, "name": "load", "type": "MEM_LOAD_NODE"}], [comp(0, 1)]], "MEM_LOAD_NODE, which is not supported"),
    ([[{"id": 0, "name": "x", "type": "COMM_COLL_NODE", "attr": ints(comm_type=0)}]] * 2,
     "expected an attribute comm_size of zero or more; found None"),
    ([[{**collective(0, 0, 8), "attr": [*ints(comm_type=0, comm_size=8), {"name": "pg_name", "string_val": "7"}]}]] * 2,
     "expected the ranks of group 7; found none"),
])
def test_traces_that_do_not_fit_together_are_refused_by_node(
        ranks: list[list[Json]], message: str, tmp_path: Path, fabric: Fabric) -> None:
    with pytest.raises(TraceError) as caught:
        workload(write(tmp_path, ranks), fabric)
    assert message in str(caught.value)


def test_missing_and_foreign_files_are_reported(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path / "t", [[collective(0, 0, 80)]] * 4)
    (trace / "step.2.et").unlink()
    with pytest.raises(TraceError, match=r"a file for each of ranks 0 to 3; found no step.2.et"):
        workload(trace, fabric)
    (trace / "other.2.et").write_bytes(b"")
    with pytest.raises(TraceError, match="of one trace; found those of other, step"):
        workload(trace, fabric)
    with pytest.raises(TraceError, match="no such directory"):
        workload(tmp_path / "none", fabric)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, fabric: Fabric) -> None:
    """At every length but those between two messages, where the other ranks notice that nodes are missing."""
    trace = write(tmp_path, [[comp(0, 300), collective(1, 0, 80_000, (0,))]] * 2)
    whole = (trace / "step.1.et").read_bytes()
    for length in range(len(whole)):
        (trace / "step.1.et").write_bytes(whole[:length])
        with pytest.raises(TraceError):
            workload(trace, fabric)


def test_damaged_bytes_end_in_a_trace_error_or_a_workload_never_in_a_traceback(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[comp(0, 300), collective(1, 0, 80_000, (0,)), p2p(2, "SEND", 1 - r, 70), p2p(
        3, "RECV", 1 - r, 70)] for r in range(2)])
    whole = (trace / "step.1.et").read_bytes()
    draw = random.Random(5)     # noqa: S311 - damage
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] = draw.randrange(256)
        (trace / "step.1.et").write_bytes(damaged)
        try:
            workload(trace, fabric)
        except TraceError:
            refused += 1
    assert refused > 50


def test_options_of_another_format_are_refused() -> None:
    with pytest.raises(ValueError, match="with format: aicb only"):
        TrainingTraceSpec.model_validate({"kind": "training-trace", "format": "chakra", "trace": "x", "ranks": 8})
