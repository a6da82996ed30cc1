"""Is a collective on pinned paths free of congestion? Each pair's path is walked and the bytes are added up."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise

import pytest

from controller.rules.compile import compile_rules
from controller.verify.walk import Delivered, Walker
from tests.unit.test_controller_rules import udp
from tests.workloads import workload_of
from topologies.model.addressing import ETHERNET_HEADER, VXLAN_OVERHEAD
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from traffic.workloads.lowering import lower
from traffic.workloads.specs import CollectiveSpec
from traffic.workloads.workload import Transfer

FABRICS: dict[str, dict[str, object]] = {
    "4 hosts": {"hosts_per_leaf": 2}, "8 hosts": {}, "16 hosts": {"hosts_per_leaf": 8},
    "4 spines": {"spines": 4}, "4 leaves": {"leaves": 4}, "4 leaves, 4 spines": {"leaves": 4, "spines": 4},
    "rails": {"topology": "rail-optimized", "servers": 4, "rails": 4},
}


@cache
def switches_of(fabric: str) -> Walker:
    it = expand(FabricSpec.model_validate(FABRICS[fabric] | {"paths": "pinned", "probes": False}))
    return Walker(it, compile_rules(it))


def busiest(switches: Walker, **collective: object) -> float:
    """The largest time of any direction of a fabric link, over that of the busiest host port; 1 or less: no congestion.

    Bytes of full frames with what VXLAN adds to them, over the link's rate.
    """
    spec = CollectiveSpec.model_validate({"kind": "collective", "size": "1200kB", **collective})
    fabric = switches.fabric
    workload = workload_of(spec, fabric, "w", 1)
    load: Counter[str] = Counter()
    for op in lower(workload).ops:
        if isinstance(op, Transfer):
            load.update(dict.fromkeys(_directions(switches, workload.hosts[op.src], workload.hosts[op.dst]), op.size))
    frame = fabric.spec.mtu + ETHERNET_HEADER
    times = {d: n / fabric.link(d).rate for d, n in load.items()}
    ports = max(t for d, t in times.items() if fabric.link(d).kind == "access")
    uplinks = max((t for d, t in times.items() if fabric.link(d).kind == "fabric"), default=0.0)
    return uplinks * (frame + VXLAN_OVERHEAD) / frame / ports


def _directions(switches: Walker, source: str, target: str) -> list[str]:
    """The directions that a packet of one pair takes, host to host."""
    walk = switches.send(source, udp(switches.fabric, source, target))
    assert isinstance(walk.end, Delivered)
    nodes = [source]
    for name in walk.links:
        nodes.append(switches.fabric.link(name).far(nodes[-1]).node)
    return [f"{a}->{b}" for a, b in pairwise(nodes)]


@pytest.mark.parametrize("op", ["all-reduce", "all-gather", "all-to-all"])
@pytest.mark.parametrize("fabric", FABRICS)
def test_no_link_of_the_fabric_is_busier_than_the_hosts_ports(fabric: str, op: str) -> None:
    for placement in ("strided", "packed"):
        assert busiest(switches_of(fabric), op=op, placement=placement) <= 1.0


def test_hosts_that_the_spines_do_not_divide_are_not_promised_that() -> None:
    """Three hosts a leaf over two spines: two of them share one, whose uplink has room for one and a half."""
    fabric = expand(FabricSpec(leaves=2, spines=2, hosts_per_leaf=3, paths="pinned", probes=False))
    assert busiest(Walker(fabric, compile_rules(fabric)), op="all-reduce") > 1.2
