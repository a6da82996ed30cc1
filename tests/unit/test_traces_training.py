"""Measured training steps: every byte, every gap, or an error that names the row; and their replay."""

from __future__ import annotations

import filecmp
import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workloads import workload_of
from topologies.model.errors import TraceError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec, ScaleSpec
from traffic.metrics.below import classes_below_scale
from traffic.traces.pytorch_et import read
from traffic.traces.training import totals
from traffic.workloads.lowering import lower
from traffic.workloads.specs import TrainingTraceSpec
from traffic.workloads.workload import Collective, Compute, Workload

DATA = Path(__file__).parents[2] / "scenarios" / "library" / "data"
SAMPLE = DATA / "dlrm-small"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "step"))


def change(path: Path, edit: Callable[[list[Row]], object]) -> Path:
    """Rewrite a file of the trace with its rows as `edit` leaves them."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    edit(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def calls(rows: list[Row]) -> list[Row]:
    return [r for r in rows if r.get("name") == "record_param_comms" and r["inputs"][-3] != "wait"]


def kernels(rows: list[Row]) -> list[Row]:
    return [r for r in rows if r.get("cat") == "kernel"]


def workload(trace: Path, fabric: Fabric, **more: object) -> Workload:
    spec = TrainingTraceSpec.model_validate({"kind": "training-trace", "trace": str(trace), **more})
    return workload_of(spec, fabric, "step", seed=1)


def refused(trace: Path) -> TraceError:
    with pytest.raises(TraceError) as error:
        read(trace)
    return error.value


# --- the original ---------------------------------------------------------------------------------


def raw_calls(path: Path) -> list[list[Any]]:
    """[op, elements x bytes, send splits, receive splits, element bytes] of one rank, read plainly."""
    found = []
    for row in calls([json.loads(line) for line in path.read_text().splitlines()]):
        tensor, seq, *_, op, send, receive = row["inputs"]
        tensor = tensor[0] if isinstance(tensor[0], list) else tensor
        found.append([seq, op, tensor[3] * tensor[4], send, receive, tensor[4]])
    return [call[1:] for call in sorted(found, key=lambda c: c[0])]


def test_the_original_step_keeps_every_byte_of_every_collective(original_traces: Path, fabric: Fabric) -> None:
    folder = original_traces / "param_dlrm_8rank"
    ranks = [raw_calls(folder / f"et_comm_rank{r}.jsonl") for r in range(8)]
    w = workload(folder, fabric)
    ops = [op for op in w.ops if isinstance(op, Collective)]
    assert [op.id for op in ops] == [f"c{k}-{call[0]}" for k, call in enumerate(ranks[0], start=1)]
    assert list(totals(w).values()) == [sum(rank[k][1] for rank in ranks) for k in range(8)]
    assert sum(totals(w).values()) == 20_397_600
    for k, op in enumerate(ops):
        if op.splits is not None:
            assert op.splits == tuple(tuple(s * rank[k][4] for s in rank[k][2]) for rank in ranks)
            received = [sum(row[j] for row in op.splits) for j in range(8)]
            assert received == [sum(rank[k][3]) * rank[k][4] for rank in ranks]


def test_the_fourth_op_of_the_original_step_is_skewed_to_rank_3(original_traces: Path) -> None:
    fourth = read(original_traces / "param_dlrm_8rank").collectives[3]
    assert fourth.splits is not None
    received = [sum(row[j] for row in fourth.splits) for j in range(8)]
    assert received[3] / sum(received) == pytest.approx(0.49, abs=0.005)


def test_gaps_and_kernels_of_the_original_fill_its_step(original_traces: Path) -> None:
    folder = original_traces / "param_dlrm_8rank"
    trace = read(folder)
    for rank in range(8):
        rows = [json.loads(line) for line in (folder / f"kineto_comm_rank{rank}.jsonl").read_text().splitlines()]
        step = next(r for r in rows if r.get("name", "").startswith("ProfilerStep"))
        busy = sum(k["dur"] for k in kernels(rows))
        idle = sum(g.seconds for g in trace.gaps[rank]) + trace.tails[rank].seconds
        assert idle * 1e6 + busy == pytest.approx(step["dur"])
        assert [g.after for g in trace.gaps[rank]] == [-1, 0, 1, 2, 3, 4, 5, 6]


# --- gaps -----------------------------------------------------------------------------------------


def move_kernels(copy: Path, spans: list[tuple[int, int]]) -> None:
    """Give rank 2's kernels these (start, duration) in ms after the start of the step."""
    def edit(rows: list[Row]) -> None:
        step = next(r for r in rows if r.get("name", "").startswith("ProfilerStep"))
        step["dur"] = 1_000_000
        for kernel, (start, length) in zip(kernels(rows), spans, strict=True):
            kernel["ts"], kernel["dur"] = step["ts"] + 1000 * start, 1000 * length
    change(copy / "kineto_comm_rank2.jsonl", edit)


def test_a_gap_runs_from_the_end_of_one_collective_to_the_start_of_the_next(copy: Path) -> None:
    move_kernels(copy, [(10, 20), (40, 5), (45, 15), (70, 10), (100, 1), (900, 50)])
    trace = read(copy)
    assert [(round(g.seconds * 1e3, 6), g.after) for g in trace.gaps[2]] == [
        (10, -1), (10, 0), (0, 1), (10, 2), (20, 3), (799, 4)]
    assert (round(trace.tails[2].seconds * 1e3, 6), trace.tails[2].after) == (50, 5)


def test_a_collective_that_overlaps_another_does_not_wait_for_it(copy: Path) -> None:
    move_kernels(copy, [(10, 20), (40, 30), (50, 5), (80, 10), (100, 1), (900, 200)])
    trace = read(copy)
    assert [g.after for g in trace.gaps[2]] == [-1, 0, 0, 1, 3, 4]
    assert trace.gaps[2][2].seconds == pytest.approx(0.020)
    assert trace.tails[2].seconds == 0
    assert trace.tails[2].after == 5


# --- what is refused ------------------------------------------------------------------------------


def test_a_row_cut_in_half_is_named_by_its_line(copy: Path) -> None:
    path = copy / "et_comm_rank4.jsonl"
    path.write_text(path.read_text()[:-200])
    lines = path.read_text().count("\n") + 1
    error = refused(copy)
    assert error.where == f"{path}:{lines}"
    assert error.expected == "one JSON object"


def test_a_missing_file_is_named(copy: Path) -> None:
    (copy / "kineto_comm_rank3.jsonl").unlink()
    assert "no kineto_comm_rank3.jsonl" in refused(copy).found


def test_the_last_rank_missing_altogether_is_noticed_by_the_headers(copy: Path) -> None:
    (copy / "et_comm_rank7.jsonl").unlink()
    (copy / "kineto_comm_rank7.jsonl").unlink()
    error = refused(copy)
    assert error.where == f"{copy / 'kineto_comm_rank0.jsonl'}:1"
    assert error.found == "rank 0 of 8"


def test_no_directory_a_file_and_an_empty_directory_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").found == "no such directory"
    (tmp_path / "file").write_text("x")
    assert refused(tmp_path / "file").found == "a file"
    assert refused(tmp_path).found == "none of them"


@pytest.mark.parametrize("name", ["et_comm_rank1.jsonl", "kineto_comm_rank1.jsonl"])
@pytest.mark.parametrize(("content", "expected"), [
    (b"", "the header"), (b'{"a": 1}\n', "the header"), (b"\x80\x81\x82", "UTF-8"), (b"a\0b", "UTF-8"),
    (b"[1, 2]\n", "one JSON object"), (b"[" * 100_000, "one JSON object"), (b"\n", "one JSON object")])
def test_a_file_that_is_no_trace_is_refused(copy: Path, name: str, content: bytes, expected: str) -> None:
    (copy / name).write_bytes(content)
    error = refused(copy)
    assert error.where.startswith(str(copy / name))
    assert expected in error.expected


def test_another_collective_is_refused_by_its_name_and_line(copy: Path) -> None:
    def edit(rows: list[Row]) -> None:
        calls(rows)[2]["inputs"][-3] = "reduce"
    path = change(copy / "et_comm_rank5.jsonl", edit)
    error = refused(copy)
    assert error.where == f"{path}:9"
    assert error.found == "reduce, which is not supported"


def test_another_kernel_is_refused_by_its_name_and_line(copy: Path) -> None:
    def edit(rows: list[Row]) -> None:
        rows[4]["name"] = "ncclDevKernel_Reduce_RING_LL(ncclWork*)"
    path = change(copy / "kineto_comm_rank5.jsonl", edit)
    error = refused(copy)
    assert error.where == f"{path}:5"
    assert "Reduce" in error.found


def test_splits_that_peers_see_differently_are_named_on_both_sides(copy: Path) -> None:
    def edit(rows: list[Row]) -> None:
        receive = calls(rows)[1]["inputs"][6]
        receive[0], receive[1] = receive[0] + 8, receive[1] - 8
    path = change(copy / "et_comm_rank6.jsonl", edit)
    error = refused(copy)
    assert error.where == f"{path}:6"
    assert "from rank 0 at rank 6" in error.expected
    assert str(copy / "et_comm_rank0.jsonl:6") in error.expected


def set_input(position: int, value: object, call: int = 1) -> Callable[[list[Row]], None]:
    def edit(rows: list[Row]) -> None:
        calls(rows)[call]["inputs"][position] = value
    return edit


@pytest.mark.parametrize(("edit", "expected"), [
    (set_input(5, [1] * 7), "8 send splits"),
    (set_input(5, [-1] * 8), "8 send splits"),
    (set_input(5, [7] * 8), "send splits that make up the tensor"),
    (set_input(5, [0] * 8), "send splits that make up the tensor"),
    (set_input(0, [1, 2, 0, "many", 4, "cuda:0"]), "a tensor"),
    (set_input(0, []), "a tensor"),
    (set_input(0, [1, 2, 0, 100, 4, "cuda:0"], call=0), "131072 bytes, as in"),
    (set_input(1, None), "a sequence number"),
    (set_input(1, 1), "sequence numbers of their own"),
    (set_input(2, 99), "one process group"),
    (lambda rows: calls(rows)[0].update(inputs="x"), "inputs [tensor"),
    (lambda rows: calls(rows)[1].update(outputs=[]), "one output tensor"),
    (lambda rows: rows[3].pop("name"), "a node with a name"),
    (lambda rows: rows.remove(calls(rows)[3]), "one record_param_comms node for each nccl: node"),
])
def test_a_malformed_collective_is_refused(copy: Path, edit: Callable[[list[Row]], object], expected: str) -> None:
    path = change(copy / "et_comm_rank3.jsonl", edit)
    error = refused(copy)
    assert expected in error.expected
    assert error.where.startswith(str(path))


def swap_kinds(rows: list[Row]) -> None:
    kernels(rows)[0]["ts"], kernels(rows)[3]["ts"] = kernels(rows)[3]["ts"], kernels(rows)[0]["ts"]


@pytest.mark.parametrize(("edit", "expected"), [
    (lambda rows: rows[0]["distributedInfo"].update(rank=2), "rank 3 of 8"),
    (lambda rows: rows[0]["distributedInfo"].update(world_size=16), "rank 3 of 8"),
    (lambda rows: rows.append(rows[1]), "one ProfilerStep"),
    (lambda rows: rows.pop(), "one NCCL kernel for each of the 6 collectives"),
    (lambda rows: rows[3].update(ts="soon"), "ts in microseconds"),
    (lambda rows: rows[3].update(dur=-1), "dur in microseconds"),
    (lambda rows: rows[3].update(dur=float("nan")), "dur in microseconds"),
    (lambda rows: rows[3].update(ts=5), "a kernel that starts inside of the step"),
    (swap_kinds, "a kernel of all_to_all"),
])
def test_a_malformed_profile_is_refused(copy: Path, edit: Callable[[list[Row]], object], expected: str) -> None:
    path = change(copy / "kineto_comm_rank3.jsonl", edit)
    error = refused(copy)
    assert expected in error.expected
    assert error.where.startswith(str(path))


def test_ranks_that_disagree_on_their_collectives_are_refused(copy: Path) -> None:
    def swap(rows: list[Row]) -> None:
        first, second = calls(rows)[0], calls(rows)[3]
        first["inputs"][1], second["inputs"][1] = second["inputs"][1], first["inputs"][1]
    change(copy / "et_comm_rank2.jsonl", swap)
    error = refused(copy)
    assert error.hint == "the ranks disagree on their collectives"
    assert str(copy / "et_comm_rank2.jsonl") in error.where
    assert str(copy / "et_comm_rank0.jsonl:3") in error.expected


# --- replay ---------------------------------------------------------------------------------------


def test_each_rank_computes_its_own_gap_before_each_collective(fabric: Fabric) -> None:
    w, trace = workload(SAMPLE, fabric), read(SAMPLE)
    gaps = {op.id: op for op in w.ops if isinstance(op, Compute)}
    names = [op.id for op in w.ops if isinstance(op, Collective)]
    for k, rank in ((1, 0), (3, 5), (6, 7)):
        gap = gaps[f"g{k}-r{rank}"]
        assert (gap.rank, gap.seconds) == (rank, trace.gaps[rank][k - 1].seconds)
        assert gap.after == ((names[k - 2],) if k > 1 else ())
        assert gap.id in next(op for op in w.ops if op.id == names[k - 1]).after
    assert gaps["tail-r4"].after == (names[-1],)


def test_a_rank_starts_its_part_of_a_collective_without_waiting_for_others_gaps(fabric: Fabric) -> None:
    begins = {op.id: op.after for op in lower(workload(SAMPLE, fabric)).ops}
    assert begins["c1-all_to_all/begin/3"] == ("g1-r3",)


def test_bytes_factor_and_time_factor_multiply_and_are_stated(fabric: Fabric) -> None:
    one, other = workload(SAMPLE, fabric), workload(SAMPLE, fabric, bytes_factor=3, time_factor=0.5)
    assert totals(other) == {name: 3 * total for name, total in totals(one).items()}
    for a, b in zip(one.ops, other.ops, strict=True):
        if isinstance(a, Compute) and isinstance(b, Compute):
            assert b.seconds == pytest.approx(a.seconds / 2)
    assert other.notes["bytes"] == "x 3"
    assert other.notes["gaps"].split(";")[0].endswith("x 0.5")
    assert other.notes["trace"] == "dlrm-small (pytorch_et)"


def test_the_fabrics_scale_comes_on_top(fabric: Fabric) -> None:
    scaled = workload(SAMPLE, expand(FabricSpec(scale=ScaleSpec(rate=0.001, size=0.25))), bytes_factor=2)
    assert totals(scaled)["c4-allreduce"] == totals(workload(SAMPLE, fabric))["c4-allreduce"] / 2
    gap = next(op for op in scaled.ops if isinstance(op, Compute))
    assert gap.seconds == pytest.approx(250 * read(SAMPLE).gaps[0][0].seconds)


def test_an_even_all_to_all_stays_even_at_any_factor(fabric: Fabric) -> None:
    op = next(op for op in workload(SAMPLE, fabric, bytes_factor=0.0123).ops if op.id == "c1-all_to_all")
    assert isinstance(op, Collective)
    assert op.size % 8 == 0


def test_a_factor_that_leaves_nothing_to_send_is_refused(fabric: Fabric) -> None:
    with pytest.raises(TraceError, match="at least one byte to send"):
        workload(SAMPLE, fabric, bytes_factor=1e-9)


def test_iterations_and_flows_come_from_the_spec(fabric: Fabric) -> None:
    w = workload(SAMPLE, fabric, iterations=4, warmup=2, flows_per_pair=3, congestion_control="reno")
    assert (w.iterations, w.warmup, w.flows_per_pair, w.congestion_control) == (4, 2, 3, "reno")
    assert workload(SAMPLE, fabric).congestion_control == "cubic"
    assert workload(SAMPLE, fabric, placement="packed").hosts == tuple(f"h{i + 1}" for i in range(8))


# --- the sample -----------------------------------------------------------------------------------


def test_the_sample_is_what_its_script_makes(tmp_path: Path) -> None:
    runpy.run_path(str(DATA / "make.py"))["main"](tmp_path)
    names = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()]
    assert len(names) == 18
    assert filecmp.cmpfiles(tmp_path, DATA, names, shallow=False) == (names, [], [])


def test_the_sample_is_skewed_to_rank_5_in_its_second_op() -> None:
    second = read(SAMPLE).collectives[1]
    assert second.splits is not None
    received = [sum(row[j] for row in second.splits) for j in range(8)]
    assert received[5] / sum(received) > 0.4


def test_every_collective_of_the_sample_is_above_scale(fabric: Fabric) -> None:
    assert classes_below_scale(workload(SAMPLE, fabric), fabric) == {}
