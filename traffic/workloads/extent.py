"""How much a workload becomes, before it is built: operations, connections, requests. Pure, and quick for any spec.

    spec ──Kind.extent──> Extent ──Kind.limits──> at most as much as check and the engine can hold ──> build

A file of a few lines may ask for more than any machine has: a ring of 20,000 ranks is 800 million transfers. So what is
built is counted first, each kind by its own formula (traffic/workloads/kinds), and refused where it is too much.
Of what a trace holds nothing is known here; its readers count it.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_OPS = 100_000           # computes and transfers of a workload's iteration: 2 to 4 s of a check, 130 MB
MAX_DEPENDENCIES = 2_000_000
MAX_CONNECTIONS = 10_000    # TCP connections of a workload: two descriptors each, and source ports from 20,000 a host
MAX_REQUESTS = 50_000       # of a workload: 2 s of a check, 150 MB
MAX_BLOCKS = 2_000_000      # ids of blocks of all prompts of a workload together
MAX_STEPS = 100_000         # of a prompt: chunks that it is computed in
MAX_ALL_OPS, MAX_ALL_REQUESTS = 200_000, 100_000        # of all phases together, each workload once for each phase


@dataclass(frozen=True, slots=True)
class Extent:
    """What a workload becomes. ops: computes and transfers of an iteration; blocks: ids of blocks of prompts."""

    ops: int = 0
    dependencies: int = 0
    connections: int = 0
    requests: int = 0
    blocks: int = 0
