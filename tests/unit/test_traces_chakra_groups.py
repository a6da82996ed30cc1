"""Groups, kinds and streams of Chakra traces, and the forms that their files take."""

from __future__ import annotations

import gzip
import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_traces_chakra import collective, comp, et, field, ints, p2p, varint, workload, write
from topologies.model.errors import TraceError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.traces import compressed
from traffic.traces.chakra_attributes import attribute
from traffic.workloads.lowering import lower
from traffic.workloads.specs import TrainingTraceSpec
from traffic.workloads.workload import Collective, Compute, Transfer, Workload

Json = dict[str, Any]


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec(leaves=2, hosts_per_leaf=4))


def with_attrs(node: Json, *attrs: Json) -> Json:
    return {**node, "attr": [*node["attr"], *attrs]}


def involved(*dimensions: bool) -> Json:
    return {"name": "involved_dim", "bool_list": dimensions}


def group(name: str) -> Json:
    return {"name": "pg_name", "string_val": name}


def collectives(w: Workload) -> list[tuple[str, tuple[int, ...], int]]:
    return [(op.kind, op.ranks, op.size) for op in w.ops if isinstance(op, Collective)]


def init_node(groups: list[Json]) -> Json:
    return {"id": 0, "name": "## process_group:init ##", "type": "METADATA_NODE", "inputs": repr([json.dumps(groups)])}


def moved(w: Workload) -> set[tuple[int, int]]:
    return {(op.src, op.dst) for op in lower(w).ops if isinstance(op, Transfer)}


# --- groups ---------------------------------------------------------------------------------------


def test_an_all_reduce_in_one_dimension_stays_in_its_groups(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[with_attrs(collective(1, 0, 8000), involved(True, False))]] * 4)
    assert collectives(workload(trace, fabric, dimensions=(2, 2))) == [
        ("all-reduce", (0, 1), 8000), ("all-reduce", (2, 3), 8000)]
    write(tmp_path, [[with_attrs(collective(1, 0, 8000), involved(False, True))]] * 4)
    assert collectives(workload(trace, fabric, dimensions=(2, 2))) == [
        ("all-reduce", (0, 2), 8000), ("all-reduce", (1, 3), 8000)]


def test_the_first_dimension_runs_fastest_in_three(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[with_attrs(collective(1, 0, 800), involved(True, False, True))]] * 8)
    assert [ranks for _, ranks, _ in collectives(workload(trace, fabric, dimensions=(2, 2, 2)))] == [
        (0, 1, 4, 5), (2, 3, 6, 7)]


def test_all_dimensions_are_all_ranks_without_their_sizes(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[with_attrs(collective(1, 0, 800), involved(True, True, True, True))]] * 4)
    assert collectives(workload(trace, fabric)) == [("all-reduce", (0, 1, 2, 3), 800)]


@pytest.mark.parametrize(("dims", "dimensions", "message"), [
    ((True, False), (), "found involved_dim [1, 0] without them\n  -> say them, the one that runs fastest first: "
                        "dimensions: [2, 2]"),
    ((True, False), (2, 4), "expected dimensions whose product is the 4 ranks of the trace; found 2 x 4"),
    ((False,), (2, 2), "expected involved_dim for each of 2 dimensions; found 1 of them"),
    ((False, False), (2, 2), "expected at least one dimension that is involved; found none"),
])
def test_dimensions_that_say_no_group_are_refused(
        dims: tuple[bool, ...], dimensions: tuple[int, ...], message: str, tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[with_attrs(collective(1, 0, 800), involved(*dims))]] * 4)
    with pytest.raises(TraceError) as caught:
        workload(trace, fabric, dimensions=dimensions)
    assert message in str(caught.value)


def test_group_0_is_pytorchs_default_group_of_all_ranks(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[with_attrs(collective(1, 0, 800), group("0"))]] * 3)
    assert collectives(workload(trace, fabric)) == [("all-reduce", (0, 1, 2), 800)]


def test_a_collective_of_a_group_runs_over_the_ranks_that_its_node_lists(tmp_path: Path, fabric: Fabric) -> None:
    def rank(r: int) -> list[Json]:
        name, first = str(1 + r // 2), r // 2 * 2
        mine = [{"pg_name": "0", "ranks": [], "group_size": 4}, {"pg_name": name, "ranks": [first, first + 1]}]
        return [init_node(mine), with_attrs(collective(1, 0, 800), group(name)),
                with_attrs(collective(2, 2, 90, (1,)), group("0"))]
    assert collectives(workload(write(tmp_path, [rank(r) for r in range(4)]), fabric)) == [
        ("all-reduce", (0, 1), 800), ("all-reduce", (2, 3), 800), ("all-gather", (0, 1, 2, 3), 360)]


def test_a_group_is_looked_up_in_the_json_file_beside_the_trace(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[with_attrs(collective(1, 6, 900), group("3"))], [comp(1, 5)],
                             [with_attrs(collective(1, 6, 900), group("3"))]])
    (tmp_path / "comm_group.json").write_text('{"3": [0, 2]}')
    (tmp_path / "system.json").write_text('{"scheduling-policy": "LIFO"}')
    made = workload(trace, fabric)
    assert collectives(made) == [("all-to-all", (0, 2), 900)]
    assert moved(made) == {(0, 2), (2, 0)}
    (tmp_path / "other.json").write_text('{"3": [0, 1]}')
    with pytest.raises(TraceError, match=r"one file of groups of ranks; found comm_group.json, other.json"):
        workload(trace, fabric)


def test_ranks_listed_in_an_attribute_are_the_group(tmp_path: Path, fabric: Fabric) -> None:
    listed = {"name": "comm_group", "int64_list": [0, 2]}
    ranks = [[with_attrs(collective(1, 0, 800), listed)] if r != 1 else [comp(1, 5)] for r in range(3)]
    assert collectives(workload(write(tmp_path, ranks), fabric)) == [("all-reduce", (0, 2), 800)]


@pytest.mark.parametrize(("attr", "message"), [
    ({"name": "comm_group", "int64_list": [0, 7]}, "different ranks from 0 to 1, rank 0 among them; found 0, 7"),
    ({"name": "comm_group", "int64_list": [1]}, "rank 0 among them; found 1"),
    ({"name": "comm_group", "int64_list": [0, 0]}, "expected different ranks"),
    ({"name": "involved_dim", "int64_val": 1}, "expected involved_dim as a list of true and false; found 1"),
])
def test_groups_that_cannot_be_are_refused_by_node(attr: Json, message: str, tmp_path: Path, fabric: Fabric) -> None:
    with pytest.raises(TraceError) as caught:
        workload(write(tmp_path, [[with_attrs(collective(1, 0, 800), attr)]] * 2), fabric)
    assert message in str(caught.value)
    assert "step.0.et, byte 8, node 1 (coll1)" in str(caught.value)


def test_a_default_group_of_fewer_ranks_is_refused(tmp_path: Path, fabric: Fabric) -> None:
    node = init_node([{"pg_name": "0", "ranks": [0, 1, 2, 3]}])
    with pytest.raises(TraceError, match=r"group 0 to be all 2 ranks"):
        workload(write(tmp_path, [[node, with_attrs(collective(1, 0, 800), group("0"))]] * 2), fabric)


def test_a_group_of_one_rank_moves_nothing(tmp_path: Path, fabric: Fabric) -> None:
    alone = {"name": "comm_group", "int64_list": [0]}
    ranks = [[with_attrs(collective(1, 0, 800), alone), collective(2, 0, 90)], [collective(2, 0, 90)]]
    assert collectives(workload(write(tmp_path, ranks), fabric)) == [("all-reduce", (0, 1), 90)]


# --- kinds ----------------------------------------------------------------------------------------


def test_a_broadcast_starts_at_its_root(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[collective(1, 5, 800)]] * 3)
    assert collectives(workload(trace, fabric)) == [("broadcast", (0, 1, 2), 800)]
    write(tmp_path, [[with_attrs(collective(1, 5, 800), *ints(comm_src=2))]] * 3)
    assert collectives(workload(trace, fabric)) == [("broadcast", (2, 0, 1), 800)]
    write(tmp_path, [[with_attrs(collective(1, 5, 800), *ints(comm_src=r))] for r in range(2)] + [[comp(1, 5)]])
    with pytest.raises(TraceError):
        workload(trace, fabric)


def test_a_barrier_and_a_block_reduce_scatter(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[collective(1, 9, 0), collective(2, 8, 900, (1,))]] * 3)
    made = workload(trace, fabric, bytes_factor=0.1)
    assert collectives(made) == [("all-reduce", (0, 1, 2), 3), ("reduce-scatter", (0, 1, 2), 90)]


# --- streams --------------------------------------------------------------------------------------


def finish_times(w: Workload) -> dict[str, float]:
    """When each compute of a workload is over if nothing else took time."""
    by_id = {op.id: op for op in lower(w).ops}
    over: dict[str, float] = {}

    def end(name: str) -> float:
        if name not in over:
            op = by_id[name]
            over[name] = max((end(d) for d in op.after), default=0.0) + (op.seconds if isinstance(op, Compute) else 0.0)
        return over[name]
    return {name: end(name) for name in by_id}


def test_independent_computes_of_a_rank_run_one_after_the_other(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[comp(3, 200), comp(1, 100), collective(9, 0, 80)]] * 2)
    over = finish_times(workload(trace, fabric))
    assert over["n1/r0"] == pytest.approx(100e-6)
    assert over["n3/r0"] == pytest.approx(300e-6)


def test_the_cpu_computes_beside_the_gpu(tmp_path: Path, fabric: Fabric) -> None:
    on_cpu = {**comp(2, 100), "attr": [{"name": "is_cpu_op", "bool_val": True}]}
    over = finish_times(workload(write(tmp_path, [[comp(1, 100), on_cpu, collective(9, 0, 80)]] * 2), fabric))
    assert over["n1/r0"] == over["n2/r0"] == pytest.approx(100e-6)


def test_a_compute_that_is_ready_does_not_wait_for_one_that_waits_for_the_network(
        tmp_path: Path, fabric: Fabric) -> None:
    nodes = [collective(1, 0, 1_000_000), comp(2, 10, (1,)), comp(3, 10)]
    by_id = {op.id: op for op in workload(write(tmp_path, [nodes] * 2), fabric).ops}
    assert by_id["n3/r0"].after == ()
    assert by_id["n2/r0"].after == ("c1-all_reduce", "n3/r0")


def test_a_rank_communicates_in_one_node_at_a_time(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path, [[collective(1, 0, 800), collective(2, 2, 800), p2p(3, "SEND", 1 - r, 70),
                              p2p(4, "RECV", 1 - r, 70)] for r in range(2)])
    by_id = {op.id: op for op in workload(trace, fabric).ops}
    assert by_id["c1-all_reduce/after/r0"].after == ()
    assert by_id["c2-all_gather/after/r1"].after == ("c1-all_reduce",)
    assert by_id["n3/r0"].after == ("c2-all_gather",)
    assert by_id["n4/r0"].after == ("n3/r1",)       # a receive needs no stream


def test_ranks_that_begin_collectives_in_different_orders_show_who_waits(tmp_path: Path, fabric: Fabric) -> None:
    a, b = ({"name": "comm_group", "int64_list": [0, 1]}, {"name": "comm_group", "int64_list": [1, 0]})
    ranks = [[with_attrs(collective(1, 0, 80), a), with_attrs(collective(2, 0, 80), b)],
             [with_attrs(collective(2, 0, 80), a), with_attrs(collective(1, 0, 80), b)]]
    with pytest.raises(TraceError, match=r"rank 0 waits for the others of ranks 0, 1 in .*step.0.et, byte 8, node 1"):
        workload(write(tmp_path, ranks), fabric)


def test_a_launch_of_the_cpu_is_no_collective(tmp_path: Path, fabric: Fabric) -> None:
    launch = {"id": 1, "name": "c10d::broadcast_", "type": "COMM_COLL_NODE", "duration_micros": 9,
              "attr": [{"name": "is_cpu_op", "bool_val": True}]}
    made = workload(write(tmp_path, [[launch, collective(2, 5, 80, (1,))]] * 2), fabric)
    assert len(collectives(made)) == 1
    assert next(op for op in made.ops if op.id == "n1/r0") == Compute("n1/r0", 0, pytest.approx(9e-6))


# --- forms of files and attributes ------------------------------------------------------------------


@pytest.mark.parametrize(("type_", "value", "expected"), [
    (7, varint(-5), -5), (9, varint(1 << 40), 1 << 40), (11, varint(7), 7), (13, varint(1 << 63), 1 << 63),
    (15, varint(9), -5), (17, varint(10), 5), (27, varint(1), True),
    (3, struct.pack("<d", 1.5), 1.5), (5, struct.pack("<f", 0.25), 0.25), (19, struct.pack("<I", 9), 9),
    (21, struct.pack("<Q", 1 << 40), 1 << 40), (23, struct.pack("<i", -9), -9), (25, struct.pack("<q", -9), -9)])
def test_every_type_of_number_is_read_alone_and_in_lists(type_: int, value: bytes, expected: float) -> None:
    wire = 0 if type_ in (7, 9, 11, 13, 15, 17, 27) else 1 if len(value) == 8 else 5
    name = field(1, b"x")
    assert attribute(name + varint(type_ << 3 | wire) + value, "here") == ("x", expected)
    assert attribute(name + field(type_ + 1, field(1, value * 3)), "here") == ("x", (expected,) * 3)
    unpacked = (varint(1 << 3 | wire) + value) * 2
    assert attribute(name + field(type_ + 1, unpacked), "here") == ("x", (expected,) * 2)


def test_texts_are_read_alone_and_in_lists() -> None:
    assert attribute(field(1, b"x") + field(29, b"a"), "here") == ("x", "a")
    assert attribute(field(1, b"x") + field(30, field(1, b"a") + field(1, b"b")), "here") == ("x", ("a", "b"))
    assert attribute(field(1, b"x"), "here") == ("x", "")


@pytest.mark.parametrize("number", [7, 9, 11, 13, 15, 17])
def test_sizes_are_read_in_every_form_of_whole_number(number: int, tmp_path: Path, fabric: Fabric) -> None:
    size = 1600 if number in (15, 17) else 800
    message = field(1, 1) + field(3, 7) + field(10, field(1, b"comm_type") + field(7, 0)) + field(
        10, field(1, b"comm_size") + field(number, size))
    for r in range(2):
        (tmp_path / f"t.{r}.et").write_bytes(et({}, []) + varint(len(message)) + message)
    assert collectives(workload(tmp_path, fabric)) == [("all-reduce", (0, 1), 800)]


def test_gzip_is_read_and_bounded(tmp_path: Path, fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = et({"version": "0.0.4"}, [collective(1, 0, 800)])
    (tmp_path / "t.0.et").write_bytes(gzip.compress(whole))
    (tmp_path / "t.1.et.gz").write_bytes(gzip.compress(whole[:9]) + gzip.compress(whole[9:]))
    assert collectives(workload(tmp_path, fabric)) == [("all-reduce", (0, 1), 800)]
    (tmp_path / "t.1.et.gz").write_bytes(gzip.compress(whole)[:-9])
    with pytest.raises(TraceError, match="a whole gzip file; found one that is cut off"):
        workload(tmp_path, fabric)
    (tmp_path / "t.1.et.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    with pytest.raises(TraceError, match="at most 1 MB of trace, unpacked; found a larger one"):
        compressed.contents(tmp_path / "t.1.et.gz", 1_000_000)


def test_json_and_older_schemas_are_refused_by_name(tmp_path: Path, fabric: Fabric) -> None:
    write(tmp_path, [[collective(1, 0, 800)]] * 2)
    (tmp_path / "step.1.et").write_text('{\n  "workload_graph": [{"Id": 1, "NodeType": 7}]\n}')
    with pytest.raises(TraceError, match=r"step.1.et: expected protobuf messages .* found JSON, which is not"):
        workload(tmp_path, fabric)
    node = field(1, 0) + field(2, b"COMP_NODE_A") + field(3, 3) + field(7, 500)      # eg_def.proto
    (tmp_path / "step.1.et").write_bytes(varint(len(node)) + node)
    with pytest.raises(TraceError, match=r"a GlobalMetadata \(schema 0.0.4 or later\); found another message"):
        workload(tmp_path, fabric)


def test_dimensions_belong_to_chakra() -> None:
    with pytest.raises(ValueError, match="with format: chakra only"):
        TrainingTraceSpec.model_validate({"kind": "training-trace", "trace": "x", "dimensions": [2, 2]})


def test_any_trace_runs_in_an_order_that_keeps_dependencies_and_streams(tmp_path: Path, fabric: Fabric) -> None:
    draw = random.Random(11)     # noqa: S311 - shapes
    for case in range(25):
        shape = [(draw.random() < 0.4, tuple(d for d in range(k) if draw.random() < 0.15)) for k in range(1, 16)]
        ranks = [[collective(k, 0, 8000, deps) if communicates else comp(k, draw.randrange(1, 900), deps)
                  for k, (communicates, deps) in enumerate(shape, start=1)] for _ in range(3)]
        for nodes in ranks:
            for node in nodes:
                node["data_deps"] = tuple(d for d in node["data_deps"] if d)
            draw.shuffle(nodes)
        ranks[0].append(collective(99, 0, 80))
        ranks[1].append(collective(99, 0, 80))
        ranks[2].append(collective(99, 0, 80))
        made = workload(write(tmp_path / f"t{case}", ranks), fabric)
        over = finish_times(made)       # raises where something waits for itself
        for r, nodes in enumerate(ranks):
            micros = [n["duration_micros"] for n in nodes if n["type"] == "COMP_NODE"]
            ends = sorted(over[f"n{n['id']}/r{r}"] for n in nodes if n["type"] == "COMP_NODE")
            assert not ends or ends[-1] >= sum(micros) * 1e-6 - 1e-9
