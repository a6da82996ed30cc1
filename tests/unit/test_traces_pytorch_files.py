"""PyTorch traces: which step is replayed, which files are read together, and what is refused where."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_traces_pytorch import (
    GROUPED,
    STEP,
    STEP_COLLECTIVES,
    Op,
    collectives,
    event,
    execution_trace,
    grouped,
    profile,
    save,
    workload,
)
from topologies.model.errors import TraceError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.traces import documents
from traffic.traces.pytorch_et import read
from traffic.workloads.lowering import lower
from traffic.workloads.workload import Collective, Compute


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec())


# --- steps ----------------------------------------------------------------------------------------


def test_one_step_of_several_is_chosen_and_stated(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        save(tmp_path / f"rank{r}.json", profile(r, STEP, steps=3))
    made = workload(tmp_path, fabric)
    assert collectives(made) == STEP_COLLECTIVES == collectives(workload(tmp_path, fabric, trace_iteration=3))
    assert made.notes["trace"].endswith(", step 1 of 3")
    with pytest.raises(TraceError, match="expected a step 4; found 3 steps"):
        workload(tmp_path, fabric, trace_iteration=4)


def test_a_kernel_belongs_to_the_step_that_launched_it(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        doc = profile(r, STEP, steps=2)
        late = [e for e in doc["traceEvents"] if e["cat" if "cat" in e else "ph"] == "kernel"][4]
        late["ts"] += 600       # it runs when the second step has begun
        save(tmp_path / f"rank{r}.json", doc)
    assert len(collectives(workload(tmp_path, fabric))) == 5
    assert len(collectives(workload(tmp_path, fabric, trace_iteration=2))) == 5


def test_a_profile_without_steps_is_one(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        doc = profile(r, STEP)
        doc["traceEvents"] = [e for e in doc["traceEvents"] if not e["name"].startswith("ProfilerStep")]
        doc["traceEvents"].append(event("aten::mm", "cpu_op", 900, 60))
        save(tmp_path / f"rank{r}.json", doc)
    made = workload(tmp_path, fabric)
    assert next(op for op in made.ops if op.id == "g1-r0") == Compute("g1-r0", 0, pytest.approx(150e-6))


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [
    ("worker{}_step_12.169412820154{}.pt.trace.json", "dlrm_eg_{}.json"), ("trace_{}.json.gz", "et-rank{}.json.gz"),
    ("host_41.{}.json", "node7_pytorch_et_{}.json")])
def test_ranks_are_known_by_the_names_that_people_give(names: tuple[str, str], tmp_path: Path,
                                                          fabric: Fabric) -> None:
    for r in range(4):
        doc = profile(r, STEP, says=False)
        del doc["distributedInfo"]
        save(tmp_path / names[0].format(r, r), doc)
        save(tmp_path / names[1].format(r), execution_trace(STEP))
    assert collectives(workload(tmp_path, fabric)) == STEP_COLLECTIVES


def test_names_that_do_not_say_a_rank_are_refused(tmp_path: Path) -> None:
    for r in range(2):
        save(tmp_path / f"rank{r}.json", profile(r, [], n=2))
        save(tmp_path / f"tmp{'ab'[r]}.et.json", execution_trace([]))
    with pytest.raises(TraceError, match=r"names of the execution traces that say each .*found tmpa.et.json"):
        read(tmp_path)


def test_two_recordings_in_a_directory_are_refused(tmp_path: Path) -> None:
    for r in range(2):
        for stamp in (1, 2):
            save(tmp_path / f"host_{7 + r}.{stamp}.pt.trace.json", profile(r, [], n=2))
    with pytest.raises(TraceError, match=r"one profile a rank; found host_7.1.* and host_7.2.pt.trace.json of rank 0"):
        read(tmp_path)


def test_a_rank_of_more_than_there_are_files_is_missing(tmp_path: Path) -> None:
    save(tmp_path / "a.json", profile(0, [], n=8))
    save(tmp_path / "b.json", profile(5, [], n=8))
    with pytest.raises(TraceError, match="no profile of rank 1, profile of rank 2"):
        read(tmp_path)


def test_execution_traces_alone_do_not_say_when(tmp_path: Path) -> None:
    for r in range(2):
        save(tmp_path / f"et_{r}.json", execution_trace([Op("allreduce", 8, 8)]))
    with pytest.raises(TraceError, match="a Kineto profile of each rank; found execution traces alone"):
        read(tmp_path)


def test_another_backend_is_refused_by_name(tmp_path: Path) -> None:
    for r in range(2):
        doc = profile(r, [], n=2)
        doc["traceEvents"].append(event("gloo:all_reduce", "user_annotation", 1100, 50, {"Input Dims": [[1000]]}))
        save(tmp_path / f"rank{r}.json", doc)
    with pytest.raises(TraceError, match="kernels of NCCL; found gloo:all_reduce of another backend"):
        read(tmp_path)


@pytest.mark.parametrize(("edit", "message"), [
    (lambda text: text[:-30], r"rank0.json:\d+: expected one JSON object; found"),
    (lambda text: text + "x", r"rank0.json:\d+: expected one JSON object; found no JSON: x"),
    (lambda _: "", "the header of a PyTorch execution trace .* found the end|one JSON object; found the end"),
    (lambda _: '{"a": 1}', "the header of a PyTorch execution trace"),
    (lambda _: '{"schemaVersion": 1, "traceEvents": [3]}', "traceEvents 1: expected a JSON object; found 3"),
    (lambda _: "[" * 100_000, "one JSON object")])
def test_a_file_that_is_no_trace_is_refused_where_it_ends(edit: Any, message: str, tmp_path: Path) -> None:
    for r in range(2):
        save(tmp_path / f"rank{r}.json", profile(r, [], n=2))
    (tmp_path / "rank0.json").write_text(edit((tmp_path / "rank0.json").read_text()))
    with pytest.raises(TraceError, match=message):
        read(tmp_path)


def test_an_item_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_WINDOWS", (100,))
    save(tmp_path / "rank0.json", {"schemaVersion": 1, "traceEvents": [{"name": "x" * 200}]})
    with pytest.raises(TraceError, match=r"rank0.json:4: expected one JSON object; found no JSON"):
        read(tmp_path)
    monkeypatch.setattr(documents, "MAX_ITEM", 100)
    (tmp_path / "rank0.json").unlink()
    (tmp_path / "rank0.jsonl").write_text('{"schemaVersion": 1}\n' + '{"name": "' + "x" * 200 + '"}\n')
    with pytest.raises(TraceError, match=r"rank0.jsonl:2: expected a line of at most"):
        read(tmp_path)


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(s for key, v in inner for s in spots(v, (*path, key)))]


def test_damaged_values_end_in_a_trace_error_or_a_workload_never_in_a_traceback(tmp_path: Path, fabric: Fabric) -> None:
    pair = ("0", (0, 1))
    ops = [Op("allreduce", 9, 9, pair), Op("all_to_allv", 10, 10, pair, send=(5, 5), receive=(5, 5)),
           Op("broadcast", 5, 5, pair, root=1), Op("gather", 5, 10, pair, root=1), Op("barrier", 0, 0, pair)]
    whole = {f"{kind}{r}.json": doc for r in range(2) for kind, doc in (
        ("rank", profile(r, ops, n=2)), ("et_rank", execution_trace(ops, groups=True)))}
    draw = random.Random(7)     # noqa: S311 - damage
    values = [None, -1, 3, 1e300, "x", "[0, 1]", [], {}, [[]], True, 10**30, {"values": []}]
    refused = 0
    for _ in range(200):
        name = draw.choice(list(whole))
        doc = json.loads(json.dumps(whole[name]))
        *way, last = draw.choice(spots(doc)[1:])
        at = doc
        for key in way:
            at = at[key]
        at[last] = draw.choice(values)
        for other, content in {**whole, name: doc}.items():
            save(tmp_path / other, content)
        try:
            lower(workload(tmp_path, fabric))
        except TraceError:
            refused += 1
    assert refused > 20


def test_splits_cut_short_are_asked_for_in_execution_traces(tmp_path: Path, fabric: Fabric) -> None:
    op = Op("all_to_allv", 10, 10, send=(1, 2, 3, 4), receive=(1, 2, 3, 4))
    table = [[1, 2, 3, 4], [2, 1, 3, 4], [3, 3, 2, 2], [4, 4, 2, 0]]      # symmetric: what i sends j, j sends i
    ops = [replace(op, send=tuple(row), receive=tuple(row)) for row in table]
    for r in range(4):
        doc = profile(r, [ops[r]])
        for e in doc["traceEvents"][3:]:
            e["args"].update({"In split size": "[1, ..., 4]", "Out split size": "[1, ..., 4]"})
        save(tmp_path / f"rank{r}.json", doc)
    with pytest.raises(TraceError, match="expected its splits in full; found a list that is cut short"):
        read(tmp_path)
    for r in range(4):
        save(tmp_path / f"et_rank{r}.json", execution_trace([ops[r]]))
    (only,) = [op for op in workload(tmp_path, fabric).ops if isinstance(op, Collective)]
    assert only.splits == tuple(tuple(4 * b for b in row) for row in table)


def test_the_call_that_launched_a_kernel_says_what_the_kernel_does_not(tmp_path: Path, fabric: Fabric) -> None:
    for r in range(4):
        doc = profile(r, grouped(r))
        for e in doc["traceEvents"]:
            if e.get("cat") == "kernel":
                e["args"] = {"External id": e["args"]["External id"], "stream": 20}
        save(tmp_path / f"rank{r}.json", doc)
    assert sorted(c[1:] for c in collectives(workload(tmp_path, fabric))) == sorted(GROUPED)


def test_a_node_whose_inputs_have_a_new_form_is_read_by_its_attributes(tmp_path: Path, fabric: Fabric) -> None:
    op = Op("_allgather_base", 100, 400)
    said = {"collective_name": "_allgather_base", "dtype": "BFloat16", "in_msg_nelems": 100, "out_msg_nelems": 400,
            "in_split_size": "[]", "out_split_size": "[]", "global_rank_start": 0, "global_rank_stride": 1,
            "pg_name": "0", "pg_desc": "default_pg", "pg_size": 4}
    for r in range(4):
        doc = execution_trace([op])
        doc["nodes"][2]["inputs"]["values"] = [{"seq": 33}, "_allgather_base"]
        doc["nodes"][2]["attrs"] += [{"name": k, "type": "string", "value": v} for k, v in said.items()]
        save(tmp_path / f"et_{r}.json", doc)
        save(tmp_path / f"kineto_{r}.json", profile(r, [op], says=False))
    assert collectives(workload(tmp_path, fabric)) == [("c1-_allgather_base", "all-gather", (0, 1, 2, 3), 800)]
