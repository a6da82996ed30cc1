"""Measured training steps replayed over real sockets: every byte that arrives is one of the trace, counted apart.

What is expected is counted here from the files' own rows, without the readers. The traces are not part of this
repository.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.lab.engine_lab import EngineLab, engine_lab
from tests.workloads import workload_of
from traffic.workloads.specs import TrainingTraceSpec

TRACES = Path(__file__).parents[3] / "shared" / "traces"
pytestmark = [pytest.mark.lab, pytest.mark.skipif(not TRACES.is_dir(), reason="the original traces are not here")]
RANKS = 8


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLab]:
    with engine_lab(tmp_path_factory.mktemp("traces"), hosts=RANKS, rate="") as running:
        yield running


def replayed(lab: EngineLab, **spec: Any) -> dict[int, Counter[tuple[int, int]]]:
    """Number of a collective in its trace, from 1 -> (rank from, rank to) -> bytes that arrived."""
    workload = workload_of(TrainingTraceSpec.model_validate(
        {"kind": "training-trace", "placement": list(lab.hosts), "time_factor": 1e-3, **spec}), lab.fabric, "step", 1)
    found: dict[int, Counter[tuple[int, int]]] = {}
    for t in lab.run(workload).of("transfer"):
        number = int(t["op"].removeprefix("c").split("-")[0])
        found.setdefault(number, Counter())[t["src_rank"], t["dst_rank"]] += t["bytes"]
    return found


def moved(kind: str, members: int, size: int) -> int:
    """Bytes on the network of one collective with S = size, by nccl-tests' definitions; shares in whole bytes."""
    if kind == "all_to_all":
        return sum(size // members + (j < size % members) for i in range(members) for j in range(members) if i != j)
    return (2 if kind == "all_reduce" else 1) * (members - 1) * size


def test_a_measured_moe_iteration_arrives_row_by_row(lab: EngineLab) -> None:
    path, factor = TRACES / "aicb_a100_measured" / "A100_example_iter2-3.csv", 1e-5
    with path.open() as file:
        rows = list(takewhile(lambda r: r["comm_type"] != "CommType.epoch_end", csv.DictReader(file)))
    rows = [r for r in rows if int(r["msg_size"])]
    found = replayed(lab, format="aicb", trace=str(path), bytes_factor=factor, groups={"ep_group": 4})
    sizes = {r["comm_group"]: int(r["comm_group_size"]) for r in rows if r["comm_group_size"] != "None"}
    sizes.setdefault("CommGroup.ep_group", 4)
    expected = {}
    for k, row in enumerate(rows, start=1):
        n = sizes[row["comm_group"]]
        if n > 1:
            size = max(1, round(int(row["msg_size"]) * factor))
            expected[k] = RANKS // n * moved(row["comm_type"].removeprefix("CommType."), n, size)
    assert len(expected) > 500
    assert {k: sum(pairs.values()) for k, pairs in found.items()} == expected


def test_a_measured_dlrm_step_arrives_split_by_split_at_its_full_size(lab: EngineLab) -> None:
    """The four all_to_allv by their send splits, pair by pair; the other collectives in sum."""
    folder = TRACES / "param_dlrm_8rank"
    calls = [_calls(folder / f"et_comm_rank{r}.jsonl") for r in range(RANKS)]
    found = replayed(lab, trace=str(folder))
    assert len(found) == len(calls[0]) == 8
    uneven = 0
    for k, of_ranks in enumerate(zip(*calls, strict=True), start=1):
        op, size, splits, unit = of_ranks[0]
        if splits:
            uneven += 1
            assert +found[k] == +Counter({(i, j): call[2][j] * unit for i, call in enumerate(of_ranks)
                                          for j in range(RANKS) if i != j})
        else:
            assert sum(found[k].values()) == moved({"allreduce": "all_reduce"}.get(op, op), RANKS, size)
    assert uneven == 4


Call = tuple[str, int, list[int], int]      # op, bytes, send splits in elements, bytes of an element


def _calls(path: Path) -> list[Call]:
    """Collectives of one rank's file in order."""
    calls: list[Call] = []
    for line in path.read_text().splitlines()[1:]:
        node = json.loads(line)
        if node.get("name") == "record_param_comms" and "wait" not in node["inputs"]:
            tensor, _, _, _, op, splits, _ = node["inputs"]
            *_, count, unit, _ = tensor[0] if isinstance(tensor[0], list) else tensor
            calls.append((op, count * unit, splits, unit))
    return calls
