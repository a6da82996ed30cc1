"""Rules on DSCP: the sentinel's, and those of classes.

`tos=inherit` on the tunnel port carries the inner DSCP to the outer header.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.intent import DEFAULT_VPC
from controller.rules import ETH_IPV4, Flow, Match, SetField
from controller.tables import Priority, Table
from controller.vpc import Tenant
from topologies.addressing import DEFAULT_VNI, SENTINEL_DSCP
from topologies.fabric import Fabric, Node
from topologies.spec import ClassSpec

MARK = Priority.NORMAL + 10     # a class goes before what is done with a DSCP that a host has chosen


def flows(fabric: Fabric, leaf: Node) -> Iterator[Flow]:
    """The sentinel's DSCP is the probes' own (it gets a queue of its own); from others it is cleared."""
    for host in fabric.hosts_of(leaf.name):
        if host.role == "probe":
            port = fabric.access_link(host.name).end(leaf.name).number
            yield Flow(f"sentinel:{host.name}", Table.QOS, Priority.OVERRIDE,
                       Match(in_port=port, eth_type=ETH_IPV4, ip_dscp=SENTINEL_DSCP), (), Table.BRIDGE)
    yield Flow("reserved-dscp", Table.QOS, Priority.NORMAL,
               Match(eth_type=ETH_IPV4, ip_dscp=SENTINEL_DSCP), (SetField("ip_dscp", 0),), Table.BRIDGE)
    for name, spec in fabric.spec.classes.items():
        if DEFAULT_VPC in spec.vpcs:
            yield _mark(name, spec, DEFAULT_VPC, DEFAULT_VNI)
    yield Flow("dscp-kept", Table.QOS, Priority.DEFAULT, Match(), (), Table.BRIDGE)


def marks(fabric: Fabric, tenants: Iterable[Tenant]) -> Iterator[Flow]:
    """Packets of these VPCs get the DSCP of their class, whatever their hosts have written there."""
    classes = {vpc: (name, spec) for name, spec in fabric.spec.classes.items() for vpc in spec.vpcs}
    for tenant in tenants:
        if tenant.name in classes:
            for segment in tenant.segments:
                yield _mark(*classes[tenant.name], segment.name, segment.vni)


def _mark(name: str, spec: ClassSpec, whose: str, vni: int) -> Flow:
    return Flow(f"class:{name}:{whose}", Table.QOS, MARK, Match(tunnel_id=vni, eth_type=ETH_IPV4),
                (SetField("ip_dscp", spec.dscp),), Table.BRIDGE)
