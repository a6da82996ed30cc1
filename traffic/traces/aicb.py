"""Reader of aicb workloads (CSV): one row per collective of a training iteration, in program order.

    [rank0 ~ rank127]                                       generated ones name their ranks first
    comm_type,comm_group,comm_group_size,msg_size,stage,dst,src,additional,_elapsed_time,algbw,busbw,count
    CommType.all_gather,CommGroup.tp_group,2,16777216,forward.MegatronColumnLinear,None,None,,0.14,...
    CommType.epoch_end,None,None,0,,None,None,,433.2,...     closes an iteration; milliseconds of all of it

Older files have no comm_group_size: then the scenario says the sizes. Columns are known by their names.
All ranks run the same rows, each in its own group of the kind that a row names, all groups at once; ranks
are numbered as Megatron-LM does, tensor neighbours first. msg_size is the buffer that aicb hands in, or
gathers: S of algbw in every case (aicb, workload_applyer.py). Iterations count from 1 without the block of
init rows. A measured iteration says how long each collective took and how long everything, not where the
time between lies: that is spread evenly over the rows. Rows of no bytes, barriers, and collectives in a
group of one rank, of whatever kind, move nothing and are left out.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from topologies.model.errors import SpecError, TraceError
from topologies.model.fabric import Fabric
from topologies.model.units import show_time
from traffic.collectives import algorithm_for
from traffic.jobs.job import primitives
from traffic.jobs.layout import Group, Layout
from traffic.traces.rows import shorten, text_lines
from traffic.workloads.placement import place
from traffic.workloads.specs import TrainingTraceSpec
from traffic.workloads.workload import Collective, CollectiveName, Compute, Op, Workload

KINDS: dict[str, CollectiveName] = {
    "all_reduce": "all-reduce", "all_gather": "all-gather", "all_gather_into_tensor": "all-gather",
    "reduce_scatter": "reduce-scatter", "reduce_scatter_tensor": "reduce-scatter", "all_to_all": "all-to-all",
    "broadcast": "broadcast",
}
UNSUPPORTED = ("isend", "irecv", "reduce", "computation", "gather", "scatter")
GROUPS = ("tp_group", "dp_group", "ep_group", "ep_dp_group")
MAX_OPS = 100_000       # computes and transfers of an iteration
COLUMNS = ("comm_type", "comm_group", "comm_group_size", "msg_size", "stage", "dst", "src", "additional",
           "_elapsed_time", "algbw", "busbw", "count")
OPTIONAL = "comm_group_size"        # older files lack it
_RANKS = re.compile(r"\[rank0 ~ rank(\d+)\]")
_PIPELINE = re.compile(r"\[ ?pp_stage\d+:")
_SIMAI = ("MICRO", "HYBRID_TRANSFORMER", "DATA", "MODEL", "DLRM")      # how SimAI's and ASTRA-sim's text files begin
Cells = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One collective: `size` S in bytes, `seconds` as measured or 0; group_size 0 where the row leaves it out."""

    where: str
    op: str
    group: str
    group_size: int
    size: int
    seconds: float
    stage: str


@dataclass(frozen=True, slots=True)
class Iteration:
    """Rows up to an epoch_end, which took `seconds` (0: not measured)."""

    rows: tuple[Row, ...]
    seconds: float

    @property
    def init(self) -> bool:
        """Whether it is what happens before the first iteration."""
        return all(row.stage.startswith("init") for row in self.rows)


@dataclass(frozen=True, slots=True)
class Trace:
    """All iterations of a file; `ranks` as it says, 0 where it does not."""

    ranks: int
    iterations: tuple[Iteration, ...]


def read(path: Path) -> Trace:
    """The workload in `path`. Raises TraceError naming the line."""
    lines = text_lines(path)
    first = _RANKS.fullmatch(lines[0].strip()) if lines else None
    columns = _header(path, lines, 1 if first else 0)
    iterations: list[Iteration] = []
    rows: list[Row] = []
    begin = 3 if first else 2
    for number, line in enumerate(lines[begin - 1:], start=begin):
        where = f"{path}:{number}"
        cells = _cells(line, columns, where)
        if cells["comm_type"] == "epoch_end":
            iterations.append(Iteration(tuple(rows), _seconds(cells["_elapsed_time"], where)))
            rows = []
        elif cells["comm_type"] != "barrier":
            rows.append(_row(cells, where))
    if rows or not iterations:
        raise TraceError(f"{path}:{len(lines)}", "an epoch_end row at the end", "none", "the file may be cut off here")
    return Trace(int(first[1]) + 1 if first else 0, tuple(it for it in iterations if not it.init))


def _header(path: Path, lines: list[str], at: int) -> list[str]:
    """The names of the columns. Raises TraceError, which names what else the file is."""
    if len(lines) <= at:
        raise TraceError(f"{path}:{at + 1}", f"aicb's header, {','.join(COLUMNS)}", "an empty file")
    columns = [name.strip() for name in lines[at].split(",")]
    if columns in (list(COLUMNS), [name for name in COLUMNS if name != OPTIONAL]):
        return columns
    if _PIPELINE.match(lines[0]):
        raise TraceError(f"{path}:1", "a workload of one pipeline stage", "one of several (pp_stage0, ...)",
                         "pipelines of aicb are not supported; a training-job has pipeline stages of its own")
    if lines[0].startswith(_SIMAI):
        raise TraceError(f"{path}:1", f"aicb's CSV, with the header {','.join(COLUMNS)}",
                         f"a text workload of SimAI or ASTRA-sim ({shorten(lines[0].split()[0])})",
                         "that format is not supported: have aicb write its CSV of the same model")
    raise TraceError(f"{path}:{at + 1}", f"aicb's header, {','.join(COLUMNS)} ({OPTIONAL} may be absent)",
                     shorten(lines[at]))


def _cells(line: str, columns: list[str], where: str) -> Cells:
    """The cells of a row by column, the first without "CommType."."""
    if line.startswith("["):
        raise TraceError(where, "rows of one pipeline stage", "a second list of ranks",
                         "workloads of several pipeline stages are not supported")
    cells = next(csv.reader([line]), [])
    if len(cells) != len(columns) or not cells[0].startswith("CommType."):
        raise TraceError(where, f"{len(columns)} cells, the first a CommType", shorten(line),
                         "the file may be cut off or damaged here")
    return {OPTIONAL: "None", **dict(zip(columns, cells, strict=True)), "comm_type": cells[0].removeprefix("CommType.")}


def _row(cells: Cells, where: str) -> Row:
    op, group = cells["comm_type"], cells["comm_group"].removeprefix("CommGroup.")
    members = 0 if cells[OPTIONAL] == "None" else _whole(cells[OPTIONAL], where, OPTIONAL)
    if op not in KINDS:
        found = f"{op}, which is not supported" if op in UNSUPPORTED else op
        hint = "pipelines of aicb are not supported" if group == "pp_group" else ""
        raise TraceError(where, f"one of the collectives {', '.join(KINDS)}", found, hint)
    if group not in GROUPS and members != 1:
        raise TraceError(where, f"one of the groups {', '.join(GROUPS)}", f"{group}, which is not supported",
                         "pipelines of aicb are not supported" if group == "pp_group" else "")
    if cells["count"] != "1" or (op == "broadcast" and cells["src"] not in ("0", "None")):
        raise TraceError(where, "a row that counts once, a broadcast from rank 0 of its group",
                         f"count {cells['count']}, src {cells['src']}")
    return Row(where, op, group, members, _whole(cells["msg_size"], where, "msg_size"),
               _seconds(cells["_elapsed_time"], where), cells["stage"])


def _whole(cell: str, where: str, what: str) -> int:
    if not cell.isascii() or not cell.isdigit():
        raise TraceError(where, f"{what}, a whole number", shorten(cell))
    return int(cell)


def _seconds(cell: str, where: str) -> float:
    """Milliseconds -> seconds; None is 0."""
    if cell == "None":
        return 0.0
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise TraceError(where, "_elapsed_time in milliseconds, or None", shorten(cell))
    return value * 1e-3


# --- rows -> workload -----------------------------------------------------------------------------


def aicb_workload(spec: TrainingTraceSpec, fabric: Fabric, name: str, seed: int) -> Workload:
    """One iteration of `spec.trace`: row k (from 1) is "ck-OP/gJ" in group J, after compute "gk-rR" of rank R.

    bytes_factor multiplies every size and time_factor the time between, on top of the fabric's scale;
    what would be less than a byte is sent as one, and noted. The seed draws a random placement. Raises
    TraceError, SpecError.
    """
    trace = read(Path(spec.trace))
    iteration = _chosen(spec, trace)
    layout = _layout(spec, trace, iteration)
    scale = fabric.spec.scale.scale
    size_factor, time_factor = spec.bytes_factor * scale.size, spec.time_factor * scale.time
    rows = [row for row in iteration.rows if row.size]
    between = max(0.0, iteration.seconds - sum(row.seconds for row in iteration.rows))
    least = len(rows) * layout.ranks
    if least > MAX_OPS:     # before any of it is built
        raise SpecError(f"workloads.{name}.trace", f"at most {MAX_OPS:,} computes and transfers in an iteration",
                        f"{len(rows):,} rows of {layout.ranks:,} ranks, which are at least {least:,}",
                        "set ranks to replay it on fewer of them")
    ops = tuple(_ops(rows, layout, size_factor, between / len(rows) * time_factor if rows else 0.0))
    count = sum(map(primitives, ops))
    if not any(isinstance(op, Collective) for op in ops):
        raise SpecError(f"workloads.{name}.trace", "a collective of two ranks or more in the iteration",
                        f"{len(iteration.rows):,} rows, all of no bytes or in groups of one rank: nothing moves")
    if count > MAX_OPS:
        raise SpecError(f"workloads.{name}.trace", f"at most {MAX_OPS:,} computes and transfers in an iteration",
                        f"{count:,}", "set ranks to replay it on fewer of them")
    return Workload(
        name=name, hosts=place(spec.placement, layout.ranks, fabric, seed, fold=spec.fold), ops=ops,
        iterations=spec.iterations, warmup=spec.warmup, flows_per_pair=spec.flows_per_pair,
        notes=_notes(spec, trace, iteration, layout, size_factor) | {"gaps": _gaps(between, time_factor)})


def _chosen(spec: TrainingTraceSpec, trace: Trace) -> Iteration:
    which = spec.trace_iteration or 1
    if which > len(trace.iterations):
        raise TraceError(spec.trace, f"iteration {which}", f"{len(trace.iterations)} iterations",
                         "trace_iteration counts from 1, without the init rows")
    return trace.iterations[which - 1]


def _layout(spec: TrainingTraceSpec, trace: Trace, iteration: Iteration) -> Layout:
    """The groups that sizes in the rows, the file's ranks and the spec give together. Raises TraceError."""
    sizes = {group: _size(spec, iteration, group) for group in GROUPS}
    tensor, expert = sizes["tp_group"] or 1, sizes["ep_group"] or 1
    data = sizes["dp_group"] or max(trace.ranks // tensor, expert)
    if trace.ranks and trace.ranks != tensor * data:
        raise TraceError(spec.trace, f"{trace.ranks} ranks, as its first line says", f"tensor {tensor} x data {data}",
                         "workloads of several pipeline stages are not supported")
    if spec.ranks is not None:
        if spec.ranks % tensor or spec.ranks > tensor * data:
            raise TraceError(spec.trace, f"ranks to be a multiple of the {tensor} tensor-parallel ones, "
                             f"at most {tensor * data}", str(spec.ranks))
        data = spec.ranks // tensor
    if data % expert or sizes["ep_dp_group"] not in (0, data // expert):
        raise TraceError(spec.trace, "expert groups that divide the data-parallel ones",
                         f"expert {expert}, data {data}, ep_dp_group {sizes['ep_dp_group']}")
    return Layout(data, tensor, 1, expert)


def _size(spec: TrainingTraceSpec, iteration: Iteration, group: str) -> int:
    """Ranks of a group as its rows say, else as the spec says; 0 if no row is of it."""
    rows = [row for row in iteration.rows if row.group == group]
    sized = next((row for row in rows if row.group_size), None)
    for row in rows:
        if sized and row.group_size not in (0, sized.group_size):
            raise TraceError(row.where, f"{sized.group_size} ranks in {group}, as in {sized.where}",
                             str(row.group_size))
    unknown = sorted(set(spec.groups) - set(GROUPS))
    if unknown or (sized and spec.groups.get(group, sized.group_size) != sized.group_size):
        raise TraceError(spec.trace, f"groups of {', '.join(GROUPS)}, where the trace does not say their size",
                         f"{', '.join(unknown) or group}")
    if rows and not sized and spec.groups.get(group, 0) < 1:
        raise TraceError(rows[0].where, f"the size of {group}", "None in every row",
                         f"say it in the scenario, as in groups: {{{group}: 4}}")
    return sized.group_size if sized else spec.groups.get(group, 0) if rows else 0


def _groups(layout: Layout, group: str) -> tuple[Group, ...]:
    """The groups of a kind; of one that the layout does not have there are only groups of one rank."""
    if group not in GROUPS:
        return tuple((rank,) for rank in range(layout.ranks))
    return {"tp_group": layout.tensor_groups, "dp_group": layout.data_groups, "ep_group": layout.expert_groups,
            "ep_dp_group": layout.expert_data_groups}[group](0)


def _ops(rows: list[Row], layout: Layout, size_factor: float, gap: float) -> Iterator[Op]:
    before: dict[int, tuple[str, ...]] = {}
    for k, row in enumerate(rows, start=1):
        groups = _groups(layout, row.group)
        for rank in range(layout.ranks):
            yield Compute(f"g{k}-r{rank}", rank, gap, before.get(rank, ()))
            before[rank] = (f"g{k}-r{rank}",)
        for j, group in enumerate(groups if len(groups[0]) > 1 else ()):
            kind, name = KINDS[row.op], f"c{k}-{row.op}/g{j}"
            yield Collective(name, kind, group, max(1, round(row.size * size_factor)), algorithm_for(kind),
                             after=tuple(f"g{k}-r{rank}" for rank in group))
            before |= dict.fromkeys(group, (name,))


def _gaps(between: float, time_factor: float) -> str:
    if not between:
        return "none in the trace: collectives follow at once"
    return (f"{show_time(between)} without a collective, spread evenly over the rows because the trace does not say "
            f"where; x {time_factor:g}")


def _notes(spec: TrainingTraceSpec, trace: Trace, iteration: Iteration, layout: Layout,
           size_factor: float) -> dict[str, str]:
    empty = sum(not row.size for row in iteration.rows)
    small = sum(0 < row.size * size_factor < 0.5 for row in iteration.rows)
    alone = sum(len(_groups(layout, row.group)[0]) < 2 for row in iteration.rows if row.size)
    traced = trace.ranks or layout.ranks
    return {
        "trace": f"{Path(spec.trace).name} (aicb), iteration {spec.trace_iteration or 1} of {len(trace.iterations)}",
        "collectives": f"{len(iteration.rows)} rows, {sum(row.size for row in iteration.rows)} bytes of buffers; left "
                       f"out: {empty} of no bytes, {alone} in groups of one rank",
        "layout": f"data {layout.data} x tensor {layout.tensor}, expert {layout.expert}; traced on {traced} ranks",
        "bytes": f"x {size_factor:g}; {small} rows of less than half a byte are sent as one byte",
    }
