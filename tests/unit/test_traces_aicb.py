"""aicb workloads: every row's bytes in the right groups, or an error that names the line."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from tests.workloads import workload_of
from topologies.model.errors import SpecError, TraceError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.traces.aicb import KINDS, read
from traffic.workloads.lowering import lower
from traffic.workloads.specs import TrainingTraceSpec
from traffic.workloads.workload import Collective, Compute, Transfer, Workload

SETS = Path(__file__).parents[3] / "shared" / "traces"
MEASURED = SETS / "aicb_a100_measured" / "A100_example_iter2-3.csv"
GENERATED = SETS / "aicb_workload"
TP2 = GENERATED / "L7B-M1-C04_Llama7B_megatron_tp2_pp1_mbs1.csv"
needs_traces = pytest.mark.skipif(not SETS.is_dir(), reason="the published aicb workloads are not here")
HEADER = "comm_type,comm_group,comm_group_size,msg_size,stage,dst,src,additional,_elapsed_time,algbw,busbw,count"
END = "CommType.epoch_end,None,None,0,,None,None,,None,None,None,1"


def row(op: str, group: str, n: object, size: object, ms: object = None, stage: str = "forward", src: object = None,
        count: int = 1) -> str:
    return f"CommType.{op},CommGroup.{group},{n},{size},{stage},None,{src},,{ms},None,None,{count}"


def end(ms: float) -> str:
    return END.replace(",,None,None,,None,", f",,None,None,,{ms},", 1)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec(leaves=2, hosts_per_leaf=4))


def workload(trace: Path, fabric: Fabric, **more: object) -> Workload:
    return workload_of(TrainingTraceSpec.model_validate(
        {"kind": "training-trace", "format": "aicb", "trace": str(trace), **more}), fabric, "step", 1)


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


def collectives(made: Workload) -> list[Collective]:
    return [op for op in made.ops if isinstance(op, Collective)]


def raw(path: Path, iteration: int) -> list[list[str]]:
    """Rows of an iteration that carry bytes, by the csv module alone."""
    found: list[list[list[str]]] = [[]]
    for cells in csv.reader(path.read_text().splitlines()):
        if cells[0] == "CommType.epoch_end":
            found.append([])
        elif cells[0].startswith("CommType.") and cells[3] != "0" and not cells[4].startswith("init"):
            found[-1].append(cells)
    return [rows for rows in found if rows][iteration - 1]


# --- the published sets ---------------------------------------------------------------------------


@pytest.mark.large
@needs_traces
@pytest.mark.parametrize("iteration", [1, 2])
def test_every_byte_of_the_measured_moe_iteration_is_accounted_for(iteration: int, fabric: Fabric) -> None:
    made = workload(MEASURED, fabric, groups={"ep_group": 4}, trace_iteration=iteration)
    rows = raw(MEASURED, iteration)
    groups = {"tp_group": {(0, 1), (2, 3), (4, 5), (6, 7)}, "dp_group": {(0, 2, 4, 6), (1, 3, 5, 7)},
              "ep_group": {(0, 2, 4, 6), (1, 3, 5, 7)}}
    mine: dict[int, list[Collective]] = {}
    for op in collectives(made):
        mine.setdefault(int(op.id[1:].split("-")[0]), []).append(op)
    assert len(mine) == len(rows) == 851
    for k, cells in enumerate(rows, start=1):
        ops = mine[k]
        assert {op.size for op in ops} == {int(cells[3])}
        assert {op.kind for op in ops} == {KINDS[cells[0].removeprefix("CommType.")]}
        assert {op.ranks for op in ops} == groups[cells[1].removeprefix("CommGroup.")]
    factors = {"all-reduce": 2.0, "all-gather": 1.0, "reduce-scatter": 1.0, "broadcast": 1.0}
    n = {"tp_group": 2, "dp_group": 4, "ep_group": 4}
    expected = 0.0
    for cells in rows:
        kind, group = KINDS[cells[0].removeprefix("CommType.")], cells[1].removeprefix("CommGroup.")
        factor = factors.get(kind, 1.0)
        expected += 8 / n[group] * factor * (n[group] - 1) * int(cells[3])
    assert lower(made).total_bytes == expected


@needs_traces
def test_the_measured_iteration_keeps_its_time_without_collectives(fabric: Fabric) -> None:
    made = workload(MEASURED, fabric, groups={"ep_group": 4}, bytes_factor=1e-5, time_factor=2)
    (iteration, _) = read(MEASURED).iterations
    assert iteration.seconds == pytest.approx(0.4332258701324463)
    between = iteration.seconds - sum(r.seconds for r in iteration.rows)
    for rank in range(8):
        mine = sum(op.seconds for op in made.ops if isinstance(op, Compute) and op.rank == rank)
        assert mine == pytest.approx(2 * between)
    assert "spread evenly" in made.notes["gaps"]
    assert made.notes["bytes"].startswith("x 1e-05; 77 rows")


@needs_traces
def test_a_size_that_no_row_says_has_to_be_reported() -> None:
    with pytest.raises(TraceError, match=r"A100_example_iter2-3.csv:10: expected the size of ep_group; found None"):
        workload(MEASURED, expand(FabricSpec()))


@needs_traces
@pytest.mark.parametrize(("file", "rows", "ranks", "layout"), [
    (TP2.name, 140, 8, "data 4 x tensor 2"),
    ("G13B-M1-C01_GPT13B_megatron_tp8_pp1_mbs1.csv", 172, 16, "data 2 x tensor 8"),
    ("L7B-D1-C02_Llama7B_zero3_mbs1.csv", 656, 4, "data 4 x tensor 1"),
])
@pytest.mark.large
def test_generated_workloads_replay_on_fewer_ranks_with_all_their_rows(
        file: str, rows: int, ranks: int, layout: str, fabric: Fabric) -> None:
    trace = read(GENERATED / file)
    assert (trace.ranks, len(trace.iterations), len(trace.iterations[0].rows)) == (128, 1, rows)
    made = workload(GENERATED / file, fabric, ranks=ranks, fold=True)
    assert layout in made.notes["layout"]
    assert "traced on 128 ranks" in made.notes["layout"]
    sizes = {int(op.id[1:].split("-")[0]): op.size for op in collectives(made)}
    assert list(sizes.values()) == [int(cells[3]) for cells in raw(GENERATED / file, 1)]
    lower(made)


@needs_traces
def test_what_the_engine_cannot_run_at_once_is_refused_with_the_way_out(fabric: Fabric) -> None:
    with pytest.raises(SpecError, match=r"at most 100,000 computes and transfers in .*; found .*\n.*set ranks"):
        workload(GENERATED / "L7B-D1-C02_Llama7B_zero3_mbs1.csv", fabric, fold=True)


# --- what rows become -----------------------------------------------------------------------------


def test_rows_follow_each_other_on_each_rank_and_groups_run_at_once(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path / "t.csv", row("all_reduce", "tp_group", 2, 4000, 1.0),
                  row("all_gather", "dp_group", 2, 8000, 2.0), end(9.0))
    by_id = {op.id: op for op in workload(trace, fabric).ops}
    assert by_id["g1-r3"] == Compute("g1-r3", 3, pytest.approx(3e-3))
    first, second = by_id["c1-all_reduce/g1"], by_id["c2-all_gather/g0"]
    assert isinstance(first, Collective)
    assert isinstance(second, Collective)
    assert (first.ranks, first.after) == ((2, 3), ("g1-r2", "g1-r3"))
    assert second.ranks == (0, 2)
    assert by_id["g2-r2"].after == ("c1-all_reduce/g1",)


def test_expert_groups_are_neighbours_of_a_data_parallel_group(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path / "t.csv", row("all_reduce", "dp_group", 4, 4000), row("all_to_all", "ep_group", 2, 4000),
                  row("all_reduce", "ep_dp_group", 2, 4000), row("all_reduce", "tp_group", 2, 4000), END)
    ranks = [op.ranks for op in collectives(workload(trace, fabric))]
    assert ranks[2:6] == [(0, 2), (1, 3), (4, 6), (5, 7)]
    assert ranks[6:10] == [(0, 4), (1, 5), (2, 6), (3, 7)]


def test_barriers_and_rows_of_no_bytes_move_nothing_and_tiny_ones_a_byte(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path / "t.csv", row("barrier", "all", 4, 0), row("all_reduce", "dp_group", 4, 0),
                  row("all_reduce", "dp_group", 4, 8), row("all_reduce", "dp_group", 4, 90_000), END)
    made = workload(trace, fabric, bytes_factor=0.01)
    assert [op.size for op in collectives(made)] == [1, 900]
    assert "1 of no bytes" in made.notes["collectives"]
    assert "1 rows of less than half a byte" in made.notes["bytes"]


def test_iterations_count_without_the_init_rows_and_can_be_chosen(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path / "t.csv", row("all_reduce", "dp_group", 4, 10, stage="init.setup"), END,
                  row("all_reduce", "dp_group", 4, 20), END, row("all_reduce", "dp_group", 4, 30), END)
    assert [collectives(workload(trace, fabric, trace_iteration=k))[0].size for k in (1, 2)] == [20, 30]
    with pytest.raises(TraceError, match="expected iteration 3; found 2 iterations"):
        workload(trace, fabric, trace_iteration=3)


def test_a_broadcast_goes_out_from_the_first_of_its_group(tmp_path: Path, fabric: Fabric) -> None:
    trace = write(tmp_path / "t.csv", row("broadcast", "tp_group", 4, 500, src=0), END)
    moves = Counter((op.src, op.dst, op.size) for op in lower(workload(trace, fabric)).ops if isinstance(op, Transfer))
    assert moves == Counter([(0, 1, 500), (1, 2, 500), (2, 3, 500)])


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lines", "more", "message"), [
    ([row("isend", "pp_group", 2, 8), END], {}, "t.csv:2: expected one of the collectives all_reduce, all_gather"),
    ([row("isend", "pp_group", 2, 8), END], {}, "found isend, which is not supported"),
    ([row("all_reduce", "pp_group", 2, 8), END], {}, "found pp_group, which is not supported"),
    ([row("all_reduce", "dp_group", 4, 8), row("all_reduce", "dp_group", 2, 8), END], {},
     "t.csv:3: expected 4 ranks in dp_group, as in"),
    ([row("all_reduce", "dp_group", 4, "(8,2)"), END], {}, "t.csv:2: expected 12 cells"),
    ([row("all_reduce", "dp_group", 4, -8), END], {}, "t.csv:2: expected msg_size, a whole number; found -8"),
    ([row("all_reduce", "dp_group", 4, 8, ms="soon"), END], {}, "t.csv:2: expected _elapsed_time in milliseconds"),
    ([row("all_reduce", "dp_group", 4, 8, count=2), END], {}, "t.csv:2: expected a row that counts once"),
    ([row("broadcast", "dp_group", 4, 8, src=1), END], {}, "src 1"),
    ([row("all_reduce", "dp_group", 4, 8), "CommType.all_re"], {}, "t.csv:3: expected 12 cells"),
    ([row("all_reduce", "dp_group", 4, 8)], {}, "t.csv:2: expected an epoch_end row at the end; found none"),
    ([row("all_reduce", "dp_group", 4, 8), "[rank4 ~ rank7]", END], {},
     "t.csv:3: expected rows of one pipeline stage; found a second list of ranks"),
    ([row("all_reduce", "dp_group", 4, 8), "[rank0 ~ rank7]", END], {}, "several pipeline stages are not supported"),
    ([row("all_to_all", "ep_group", 3, 8), row("all_reduce", "dp_group", 4, 8), END], {}, "expert 3, data 4"),
    ([row("all_reduce", "dp_group", 4, 8), END], {"groups": {"dp_group": 2}}, "found dp_group"),
    ([row("all_reduce", "dp_group", 4, 8), END], {"groups": {"xp": 2}}, "found xp"),
    ([row("all_reduce", "dp_group", 4, 8), END], {"ranks": 5}, "at most 4; found 5"),
])
def test_rows_that_cannot_be_replayed_are_refused_by_line(
        lines: list[str], more: dict[str, object], message: str, tmp_path: Path, fabric: Fabric) -> None:
    with pytest.raises(TraceError) as caught:
        workload(write(tmp_path / "t.csv", *lines), fabric, **more)
    assert message in str(caught.value)


def test_another_file_and_ranks_that_rows_do_not_make_are_refused(tmp_path: Path, fabric: Fabric) -> None:
    with pytest.raises(TraceError, match=r"t.csv:1: expected aicb's header"):
        workload(write(tmp_path / "t.csv", header="a,b,c"), fabric)
    eight = write(tmp_path / "t.csv", HEADER, row("all_reduce", "tp_group", 2, 8), row("all_reduce", "dp_group", 2, 8),
                  END, header="[rank0 ~ rank7]")
    with pytest.raises(TraceError, match="expected 8 ranks, as its first line says; found tensor 2 x data 2"):
        workload(eight, fabric)
    with pytest.raises(TraceError, match="can be read; found No such file"):
        workload(tmp_path / "none.csv", fabric)


# --- files of other versions and tools ------------------------------------------------------------

OLDER = HEADER.replace("comm_group_size,", "")


def older(op: str, group: str, size: object) -> str:
    return f"CommType.{op},CommGroup.{group},{size},step,None,None,,None,None,None,1"


OLDER_END = "CommType.epoch_end,None,0,,None,None,,None,None,None,1"


def test_an_older_file_without_group_sizes_is_read_with_those_of_the_scenario(tmp_path: Path, fabric: Fabric) -> None:
    path = write(tmp_path / "t.csv", older("all_reduce", "dp_group", 4096), OLDER_END, header=OLDER)
    made = workload(path, fabric, groups={"dp_group": 8})
    assert [(c.kind, c.ranks, c.size) for c in collectives(made)] == [("all-reduce", tuple(range(8)), 4096)]
    with pytest.raises(TraceError, match=r"t\.csv:2: expected the size of dp_group"):
        workload(path, fabric)


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, fabric: Fabric) -> None:
    path = write(tmp_path / "t.csv", row("all_reduce", "dp_group", 2, 4096), END)
    path.write_text("\ufeff" + path.read_text())
    assert len(collectives(workload(path, fabric))) == 1


def test_groups_of_one_rank_move_nothing_whatever_their_kind(tmp_path: Path, fabric: Fabric) -> None:
    path = write(tmp_path / "t.csv", row("all_reduce", "pp_group", 1, 4096), row("all_gather", "tp_group", 1, 100),
                 row("all_reduce", "dp_group", 4, 4096), END)
    made = workload(path, fabric)
    assert [c.ranks for c in collectives(made)] == [(0, 1, 2, 3)]
    assert "2 in groups of one rank" in made.notes["collectives"]


def test_an_iteration_in_which_nothing_moves_is_refused_with_that_reason(tmp_path: Path, fabric: Fabric) -> None:
    path = write(tmp_path / "t.csv", row("all_reduce", "dp_group", 1, 4096), END)
    with pytest.raises(SpecError, match="nothing moves"):
        workload(path, fabric)


@pytest.mark.parametrize(("lines", "where", "found"), [
    (["[ pp_stage0: [rank0, rank1] ]", HEADER], 1, "one of several"),
    (["MICRO", "2", "micro_test\t-1\t1\tNONE\t0"], 1, "text workload of SimAI or ASTRA-sim"),
    (["HYBRID_TRANSFORMER_FWD_IN_BCKWD\tmodel_parallel_NPU_group: 8", "2"], 1, "text workload of SimAI or ASTRA-sim"),
    ([HEADER, "CommType.isend,CommGroup.pp_group,1,64,forward,None,None,send_next,None,None,None,1", END], 2, "isend"),
    ([HEADER, row("all_reduce", "pp_group", 4, 64), END], 2, "pp_group")])
def test_pipelines_and_text_workloads_are_refused_by_name(
        tmp_path: Path, fabric: Fabric, lines: list[str], where: int, found: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(TraceError) as error:
        workload(path, fabric)
    assert error.value.where == f"{path}:{where}"
    assert found in error.value.found
