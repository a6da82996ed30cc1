"""Execution traces and Kineto profiles in the shapes that PyTorch 2.x writes them, made by hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from topologies.model.errors import TraceError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.traces.pytorch_et import read
from traffic.traces.training import training_workload
from traffic.workloads.lowering import lower
from traffic.workloads.specs import TrainingTraceSpec
from traffic.workloads.workload import Collective, Compute, Transfer, Workload

Json = dict[str, Any]
WORLD = ("0", (0, 1, 2, 3))
KERNELS = {"allreduce": "AllReduce_Sum_f32_RING_LL", "broadcast": "Broadcast_RING_LL", "barrier": "AllReduce_Sum_u8",
           "_allgather_base": "AllGather_RING_LL", "all_gather": "AllGather_RING_LL",
           "_reduce_scatter_base": "ReduceScatter_Sum_f32", "reduce": "Reduce_Sum_f32"}


@dataclass(frozen=True)
class Op:
    """A collective of one rank: elements of four bytes in and out; root, or peer of a send, in the group."""

    name: str
    ins: int
    outs: int
    group: tuple[str, tuple[int, ...]] = WORLD
    send: tuple[int, ...] = ()
    receive: tuple[int, ...] = ()
    root: int = 0


def tensor(n: int) -> list[object]:
    return [3, 4, 0, n, 4, "cuda:0"]


def inputs_of(op: Op, seq: int, version: str) -> list[Any]:
    """The arguments of record_param_comms as versions of PyTorch write them."""
    name, ranks = op.group
    lists = [list(op.send), list(op.receive)]
    data: list[Any] = [] if op.name == "barrier" else [[tensor(op.ins)] if op.name == "allreduce" else tensor(op.ins)]
    stride = ranks[1] - ranks[0] if len(ranks) > 1 else 1
    world: list[Any] = [ranks[0], stride, len(ranks)]
    if version == "1.0.1":
        return [*data, seq, 94594108284448, op.root, op.name, *lists]
    if version == "1.0.2":
        return [*data, seq, 82149104, op.root, op.name, *lists, len(ranks)]
    if version == "1.0.3":
        return [*data, seq, name, op.root, op.name, *lists, *world]
    if version == "1.1.0":
        return [*data, seq, [name, "default_pg"], op.root, op.name, *lists, *world]
    return [*data, [seq, False], [name, "default_pg"], op.root, op.name, *lists, *world, True]


def attrs(version: str) -> list[Json]:
    return [{"name": "rf_id", "type": "uint64", "value": 7}, {"name": "op_schema", "type": "string", "value": ""}]


def node(number: int, name: str, inputs: list[Any], outputs: list[Any], version: str, parent: int = 2) -> Json:
    if version == "1.0.1":
        return {"id": number, "name": name, "parent": parent, "inputs": inputs, "input_shapes": [], "outputs": outputs}
    return {"id": number, "name": name, "ctrl_deps": parent, "inputs": {"values": inputs, "shapes": [], "types": []},
            "outputs": {"values": outputs, "shapes": [], "types": []}, "attrs": attrs(version)}


def execution_trace(ops: Sequence[Op], version: str = "1.1.1", groups: bool = False) -> Json:
    nodes = [node(2, "[pytorch|profiler|execution_trace|thread]", [], [], version, 1)]
    if groups:
        listed = [{"pg_name": n, "pg_desc": "undefined", "backend_config": "cuda:nccl", "group_size": len(r),
                   "ranks": list(r) if len(r) < 4 else [], "group_count": 3}
                  for n, r in dict.fromkeys(op.group for op in ops)]
        nodes.append(node(3, "## process_group:init ##", [json.dumps(listed)], [], version))
    for k, op in enumerate(ops):
        wait = [33 + k, ["", ""], 0, "wait", [], [], -1, -1, 1] if version > "1.1" else [33 + k, 0, 0, "wait", [], []]
        nodes += [node(12 + 10 * k, f"nccl:{op.name}", [], [], version, 11 + 10 * k),
                  node(11 + 10 * k, "record_param_comms", inputs_of(op, 33 + k, version), [tensor(op.outs)], version),
                  node(14 + 10 * k, "record_param_comms", wait, [], version)]
    return {"schema": f"{version}-chakra.0.0.4" if version > "1.0.1" else version, "pid": 1,
            "time": "2025-01-01 12:00:00", "start_ts": 0, "nodes": nodes, "finish_ts": 10}


def kernel_name(op: Op) -> str:
    return f"ncclDevKernel_{KERNELS.get(op.name, 'SendRecv')}(ncclDevKernelArgsStorage<4096ul>)"


def arguments(op: Op, seq: int) -> Json:
    return {"External id": seq, "stream": 20, "Collective name": op.name, "In msg nelems": op.ins,
            "Out msg nelems": op.outs, "Group size": len(op.group[1]), "dtype": "Float",
            "In split size": json.dumps(list(op.send)), "Out split size": json.dumps(list(op.receive)),
            "Process Group Name": op.group[0], "Process Group Description": "default_pg",
            "Process Group Ranks": json.dumps(list(op.group[1])), "Rank": op.root}


def event(name: str, cat: str, ts: float, dur: float, args: Json | None = None) -> Json:
    return {"ph": "X", "cat": cat, "name": name, "pid": 0, "tid": 7, "ts": ts, "dur": dur, "args": args or {}}


def profile(rank: int, ops: Sequence[Op], n: int = 4, says: bool = True, steps: int = 1) -> Json:
    """Each kernel takes 100 us, 50 us after the one before it; a step 1,000 us."""
    events: list[Json] = [{"ph": "M", "name": "process_name", "pid": 0, "args": {"name": "python"}}]
    for s in range(steps):
        begin = 1000.0 * (s + 1)
        events.append(event(f"ProfilerStep#{s + 4}", "user_annotation", begin, 1000.0))
        events.append(event(f"ProfilerStep#{s + 4}", "gpu_user_annotation", begin + 40, 900.0))
        for k, op in enumerate(ops):
            args = arguments(op, 100 * s + k) if says else {"External id": 100 * s + k, "stream": 20}
            events.append(event("record_param_comms", "cpu_op", begin + 10 + k, 5, args))
            events.append(event(kernel_name(op), "kernel", begin + 50 + 150 * k, 100, args))
            events.append(event(f"nccl:{op.name}", "gpu_user_annotation", begin + 50 + 150 * k, 100))
    return {"schemaVersion": 1, "distributedInfo": {"backend": "nccl", "rank": rank, "world_size": n, "pg_count": 1},
            "displayTimeUnit": "ms", "baseTimeNanoseconds": 1711964646000000000, "traceEvents": events,
            "traceName": f"rank{rank}.json"}


def save(path: Path, content: Json) -> None:
    text = json.dumps(content, indent=1).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec())


def workload(trace: Path, fabric: Fabric, **more: object) -> Workload:
    spec = TrainingTraceSpec.model_validate({"kind": "training-trace", "trace": str(trace), **more})
    return training_workload(spec, fabric, "step", seed=1)


def collectives(w: Workload) -> list[tuple[str, str, tuple[int, ...], int]]:
    return [(op.id, op.kind, op.ranks, op.size) for op in w.ops if isinstance(op, Collective)]


def moved(w: Workload) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for op in lower(w).ops:
        if isinstance(op, Transfer) and op.size:
            found[op.src, op.dst] = found.get((op.src, op.dst), 0) + op.size
    return found


STEP = [Op("broadcast", 500, 500, root=2), Op("allreduce", 1000, 1000), Op("_allgather_base", 100, 400),
        Op("_reduce_scatter_base", 400, 100), Op("all_to_all", 80, 80)]
STEP_COLLECTIVES = [
    ("c1-broadcast", "broadcast", (2, 0, 1, 3), 2000), ("c2-allreduce", "all-reduce", (0, 1, 2, 3), 4000),
    ("c3-_allgather_base", "all-gather", (0, 1, 2, 3), 1600),
    ("c4-_reduce_scatter_base", "reduce-scatter", (0, 1, 2, 3), 1600),
    ("c5-all_to_all", "all-to-all", (0, 1, 2, 3), 320)]


# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0.2", "1.0.3", "1.1.0", "1.1.1"])
def test_every_schema_of_execution_traces_is_read(version: str, tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        save(tmp_path / f"et_{r}.json", execution_trace(STEP, version))
        save(tmp_path / f"kineto_{r}.json", profile(r, STEP, says=False))
    assert collectives(workload(tmp_path, fabric)) == STEP_COLLECTIVES


def test_the_first_schema_does_not_say_who_is_in_a_group_and_means_all(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        save(tmp_path / f"et_{r}.json", execution_trace(STEP[1:], "1.0.1"))
        save(tmp_path / f"kineto_{r}.json", profile(r, STEP[1:], says=False))
    assert [c[1:] for c in collectives(workload(tmp_path, fabric))] == [c[1:] for c in STEP_COLLECTIVES[1:]]


def test_a_profile_whose_kernels_say_their_collective_needs_no_execution_trace(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        save(tmp_path / f"host_{7000 + r}.17150{r}.pt.trace.json.gz", profile(r, STEP))
    made = workload(tmp_path, fabric)
    assert collectives(made) == STEP_COLLECTIVES
    gaps = {op.id: op.seconds for op in made.ops if isinstance(op, Compute)}
    assert gaps["g1-r0"] == gaps["g3-r2"] == pytest.approx(50e-6)
    assert gaps["tail-r3"] == pytest.approx(250e-6)
    lower(made)


def test_without_kernels_that_say_it_an_execution_trace_is_asked_for(tmp_path: Path) -> None:
    for r in range(4):
        save(tmp_path / f"rank{r}.json", profile(r, STEP, says=False))
    with pytest.raises(TraceError, match=r'rank0.json, traceEvents 5: expected a kernel .* "Collective name"'):
        read(tmp_path)


def test_a_line_cut_of_a_new_schema_is_read_too(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        for name, doc, key in (("et", execution_trace(STEP), "nodes"),
                               ("kineto", profile(r, STEP, says=False), "traceEvents")):
            rows = [{k: v for k, v in doc.items() if k != key}, *doc[key]]
            (tmp_path / f"{name}_comm_rank{r}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert collectives(workload(tmp_path, fabric)) == STEP_COLLECTIVES


def test_a_root_that_no_file_says_is_assumed_and_stated(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        doc = profile(r, STEP[:2])
        for e in doc["traceEvents"]:
            e["args"].pop("Rank", None)
        save(tmp_path / f"rank{r}.json", doc)
    made = workload(tmp_path, fabric)
    assert collectives(made)[0][2] == (0, 1, 2, 3)
    assert made.notes["assumed"].startswith("1 broadcasts whose root is not said")
    for r in range(4):
        save(tmp_path / f"et_rank{r}.json", execution_trace(STEP[:2]))
    made = workload(tmp_path, fabric)
    assert collectives(made)[0][2] == (2, 0, 1, 3)
    assert "assumed" not in made.notes


# --- groups ---------------------------------------------------------------------------------------


def grouped(r: int) -> list[Op]:
    tensor_parallel = (("1", (0, 1)), ("2", (2, 3)))[r // 2]
    data_parallel = (("3", (0, 2)), ("4", (1, 3)))[r % 2]
    return [Op("allreduce", 300, 300, tensor_parallel), Op("_allgather_base", 50, 100, data_parallel),
            Op("allreduce", 1000, 1000)]


GROUPED = [("all-reduce", (0, 1), 1200), ("all-reduce", (2, 3), 1200), ("all-gather", (0, 2), 400),
           ("all-gather", (1, 3), 400), ("all-reduce", (0, 1, 2, 3), 4000)]


@pytest.mark.parametrize("traced", [False, True])
def test_each_process_group_runs_over_its_own_ranks(traced: bool, tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        save(tmp_path / f"rank-{r}.json", profile(r, grouped(r)))
        if traced:
            save(tmp_path / f"rank-{r}.et.json", execution_trace(grouped(r), groups=True))
    made = workload(tmp_path, fabric)
    assert sorted(c[1:] for c in collectives(made)) == sorted(GROUPED)
    by_id = {op.id: op for op in made.ops}
    last = next(c[0] for c in collectives(made) if len(c[2]) == 4)
    before = next(c[0] for c in collectives(made) if c[2] == (1, 3))
    assert by_id[f"g{last[1]}-r3"].after == (before,)
    lower(made)


def test_groups_whose_kernels_cannot_be_distinguished_are_refused(tmp_path: Path) -> None:
    for r in range(4):
        save(tmp_path / f"rank-{r}.json", profile(r, grouped(r), says=False))
        save(tmp_path / f"rank-{r}.et.json", execution_trace(grouped(r), groups=True))
    with pytest.raises(TraceError, match="or one process group; found 3 groups"):
        read(tmp_path)


def test_ranks_cut_short_are_looked_up_in_the_header(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        doc = profile(r, [Op("allreduce", 10, 10, ("5", (0, 1, 3))) if r != 2 else Op("allreduce", 8, 8), Op(
            "allreduce", 8, 8)][0 if r != 2 else 1:])
        for e in doc["traceEvents"]:
            if "Process Group Ranks" in e["args"] and e["args"]["Process Group Name"] == "5":
                e["args"]["Process Group Ranks"] = "[0, 1, ..., 3]"
        doc["distributedInfo"]["pg_config"] = [{"pg_name": "5", "ranks": [0, 1, 3], "pg_size": 3}]
        save(tmp_path / f"rank-{r}.json", doc)
    assert [c[1:] for c in collectives(workload(tmp_path, fabric))] == [
        ("all-reduce", (0, 1, 3), 40), ("all-reduce", (0, 1, 2, 3), 32)]


def test_a_group_of_ranks_without_files_is_refused(tmp_path: Path) -> None:
    for r in range(2):
        save(tmp_path / f"rank-{r}.json", profile(r, [Op("allreduce", 8, 8)], n=2))
    with pytest.raises(TraceError, match=r"different ranks from 0 to 1 in process group 0; found 0, 1, 2, 3"):
        read(tmp_path)


def test_a_group_whose_ranks_nothing_says_is_refused_by_node(tmp_path: Path) -> None:
    op = Op("allreduce", 8, 8, ("7", (0, 3)))
    for r in (0, 3):
        save(tmp_path / f"rank{r}.json", profile(r, [op], says=False))
        doc = execution_trace([op])
        doc["nodes"][2]["inputs"]["values"][-4:] = [0, -1, 2, True]
        save(tmp_path / f"et_rank{r}.json", doc)
    for r in (1, 2):
        save(tmp_path / f"rank{r}.json", profile(r, []))
        save(tmp_path / f"et_rank{r}.json", execution_trace([]))
    with pytest.raises(TraceError, match=r"et_rank0.json, node 11: expected the ranks of process group 7; found none"):
        read(tmp_path)


# --- kinds ----------------------------------------------------------------------------------------


def test_sends_meet_their_receives(tmp_path: Path, fabric: Fabric) -> None:
    pair = ("0", (0, 1, 2, 3))
    ops = [[Op("send", 70, 70, pair, root=1), Op("send", 30, 30, pair, root=1)],
           [Op("recv", 70, 70, pair, root=0), Op("recv", 30, 30, pair, root=0)], [], []]
    for r in range(4):
        save(tmp_path / f"rank{r}.json", profile(r, ops[r]))
    made = workload(tmp_path, fabric)
    by_id = {op.id: op for op in made.ops}
    assert by_id["c1-send"] == Transfer("c1-send", 0, 1, 280, after=("g1-r0",))
    assert by_id["g2-r1"].after == ("c1-send/received",)
    assert by_id["g2-r0"].after == ("c1-send",)
    assert moved(made) == {(0, 1): 400}
    save(tmp_path / "rank1.json", profile(1, ops[1][:1]))
    with pytest.raises(TraceError, match=r"rank0.json, .*send for it on every rank of 0, 1; found none on rank 1"):
        read(tmp_path)


def test_all_to_all_with_splits_gather_and_scatter_go_where_they_say(tmp_path: Path, fabric: Fabric) -> None:
    table = [[10, 20, 30, 40], [1, 2, 3, 4], [5, 5, 5, 5], [9, 8, 7, 6]]
    for r in range(4):
        send, receive = tuple(table[r]), tuple(row[r] for row in table)
        save(tmp_path / f"rank{r}.json", profile(r, [
            Op("all_to_allv", sum(send), sum(receive), send=send, receive=receive),
            Op("gather", 100, 400 if r == 1 else 0, root=1), Op("scatter", 80 if r == 2 else 0, 20, root=2)]))
    made = workload(tmp_path, fabric)
    ops = [op for op in made.ops if isinstance(op, Collective)]
    assert ops[0].splits == tuple(tuple(4 * b for b in row) for row in table)
    assert ops[1].splits == ((0, 400, 0, 0),) * 4
    assert ops[2].splits == ((0,) * 4, (0,) * 4, (80,) * 4, (0,) * 4)


def test_a_barrier_holds_everyone_up_and_moves_a_byte_a_rank(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        save(tmp_path / f"rank{r}.json", profile(r, [Op("allreduce", 100, 100), Op("barrier", 0, 0)]))
    assert collectives(workload(tmp_path, fabric, bytes_factor=0.5))[1] == ("c2-barrier", "all-reduce", (0, 1, 2, 3), 4)


def test_a_barrier_that_is_recorded_with_its_all_reduce_is_one_collective(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        doc = execution_trace([Op("allreduce", 1, 1)])
        doc["nodes"][2]["ctrl_deps"] = 500
        doc["nodes"].append(node(500, "record_param_comms", inputs_of(Op("barrier", 0, 0), 33, "1.1.1"), [], "1.1.1"))
        save(tmp_path / f"et_{r}.json", doc)
        save(tmp_path / f"kineto_{r}.json", profile(r, [Op("allreduce", 1, 1)], says=False))
    assert collectives(workload(tmp_path, fabric)) == [("c1-allreduce", "all-reduce", (0, 1, 2, 3), 4)]


def test_kinds_that_are_not_supported_are_refused_by_name(tmp_path: Path) -> None:
    for r in range(4):
        save(tmp_path / f"rank{r}.json", profile(r, [Op("coalesced", 100, 100)]))
    with pytest.raises(TraceError, match="found coalesced, which is not supported"):
        read(tmp_path)


def test_a_dtype_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    for r in range(4):
        doc = profile(r, [Op("allreduce", 100, 100)])
        for e in doc["traceEvents"][1:]:
            e["args"]["dtype"] = "Float3"
        save(tmp_path / f"rank{r}.json", doc)
    with pytest.raises(TraceError, match=r"expected a dtype: .*BFloat16.*; found Float3"):
        read(tmp_path)


@pytest.mark.parametrize(("other", "message"), [
    (Op("allreduce", 104, 104), "expected 400 bytes, as in .*rank0.json"),
    (Op("_allgather_base", 100, 400), "expected allreduce number"),
    (None, "expected allreduce number 1 of group 0 on every rank of 0, 1, 2, 3; found none on rank 3")])
def test_ranks_that_disagree_are_refused(other: Op | None, message: str, tmp_path: Path) -> None:
    for r in range(4):
        save(tmp_path / f"rank{r}.json", profile(r, [Op("allreduce", 100, 100)] if r < 3 else [other] if other else []))
    with pytest.raises(TraceError, match=message):
        read(tmp_path)
