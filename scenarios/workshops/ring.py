"""What a learner's formula for a ring gets to know of a run: how its flows were spread, and how fast one would be."""

from __future__ import annotations

from collections import Counter

from scenarios.evidence.results import RunDirectory
from topologies.model.errors import LabError
from topologies.model.fabric import Fabric
from traffic.runtime.records import PathRecord

Facts = tuple[list[int], int, float]


def ring_facts(run: RunDirectory, workload: str) -> Facts:
    """(flows on each direction between leaves and spines, flows per pair of ranks, s of an all-reduce without sharing).

    An uplink without flows counts as 0. The time is the prediction for a fabric that spreads perfectly. Raises
    LabError for a run that has no paths or predictions.
    """
    flows, per_pair = spread(run, workload)
    alone = (run.read("predictions") or {}).get(f"{workload}.time", {}).get("value")
    if not per_pair or alone is None:
        raise LabError(str(run.path), f"paths and a prediction of {workload}", "none", "run it again")
    return flows, per_pair, float(alone)


def spread(run: RunDirectory, workload: str) -> tuple[list[int], int]:
    """Flows that send over each direction between leaves and spines, in the fabric's order; flows of a pair."""
    paths = [path for path in run.records()[PathRecord] if path.workload == workload]
    counts = Counter(d for path in paths for d in path.there)
    pairs = Counter((path.src_rank, path.dst_rank) for path in paths)
    return [counts[d] for d in _uplinks(run.fabric)], max(pairs.values(), default=0)


def _uplinks(fabric: Fabric) -> list[str]:
    return [d for link in fabric.links if link.kind == "fabric" for d in link.directions]
