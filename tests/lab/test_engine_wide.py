"""64 ranks in one process of the engine, each on a host of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.lab.engine_lab import EngineLab, engine_lab
from tests.recorded import records
from traffic.collectives import algorithm_for
from traffic.runtime.records import ComputeRecord, TransferRecord
from traffic.workloads.lowering import lower
from traffic.workloads.workload import Collective, CollectiveName, Compute, Transfer, Workload

pytestmark = pytest.mark.lab
RANKS = tuple(range(64))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLab]:
    with engine_lab(tmp_path_factory.mktemp("wide"), hosts=len(RANKS)) as lab:
        yield lab


@pytest.mark.parametrize("kind", ["all-reduce", "all-to-all"])
def test_64_ranks_in_one_process_deliver_every_byte_between_the_right_hosts(wide: EngineLab,
                                                                            kind: CollectiveName) -> None:
    """A ring of 64 connections, and the 4,032 connections of everybody with everybody."""
    computes = tuple(Compute(f"c/{r}", r, 0.01) for r in RANKS)
    collective = Collective("x", kind, RANKS, 640_000, algorithm_for(kind), after=tuple(c.id for c in computes))
    workload = Workload("wide", wide.hosts, (*computes, collective))
    engine = wide.run(workload)
    wanted: Counter[tuple[str, str]] = Counter()
    for op in lower(workload).ops:
        if isinstance(op, Transfer):
            wanted[wide.hosts[op.src], wide.hosts[op.dst]] += op.size
    found: Counter[tuple[str, str]] = Counter()
    for t in records(engine.records, TransferRecord):
        found[t.src, t.dst] += t.bytes
    assert found == wanted
    assert len(found) == (64 * 63 if kind == "all-to-all" else 64)
    assert {c.rank for c in records(engine.records, ComputeRecord)} == set(RANKS)
    assert len(engine.of("engine")) == 1
