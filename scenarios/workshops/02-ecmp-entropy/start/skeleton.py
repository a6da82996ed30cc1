"""Workshop 02: how many flows does it take to fill four spines? Three TODOs.

    leaf1   h1 h2 h3 h4        each host sends to one host of the other leaf, over one of four spines,
       x  four spines  x       which a hash of the flow's addresses and ports chooses
    leaf2   h5 h6 h7 h8

Check your work with `sudo aifab workshop check` in this directory.
"""

from __future__ import annotations

from typing import Any


def idle_spines(flows: int, spines: int) -> float:
    """How many spines are idle on average, if each flow takes one of them at random, whatever the others do.

    One flow and four spines: 3.
    """
    raise NotImplementedError("TODO 1")


def ring_time(flows: list[int], flows_per_pair: int, alone: float) -> float:
    """Seconds that an all-reduce of the ring takes, when you know where its flows went.

    flows           how many flows send over each uplink direction: [1, 0, 2, 1, ...]
    flows_per_pair  how many flows share what one host sends to the next
    alone           seconds of it if no two hosts' traffic ever met on an uplink
    """
    raise NotImplementedError("TODO 2")


def scenario() -> dict[str, Any]:
    """The scenario that is run: the ring as it is, then the ring with more entropy."""
    ring = {"kind": "collective", "op": "all-reduce", "placement": "strided", "size": "1MB",
            "compute": "200ms", "iterations": 2}
    return {
        "name": "ecmp-entropy",
        "question": "What do ECMP collisions cost a ring over four spines, and what do more flows win back?",
        "fabric": {"base": "spines4", "hosts_per_leaf": 4, "uplink_rate": "10.6mbit"},
        "workloads": {
            "elephants": ring,
            "many": {**ring, "flows_per_pair": 1},          # TODO 3: more flows between two ranks, but how many?
        },
        "phases": [{"name": "few-flows", "run": ["elephants"]}, {"name": "many-flows", "run": ["many"]}],
    }
