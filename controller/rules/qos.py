"""Rules on DSCP: the sentinel's, and those of classes, where a leaf takes packets in: hosts choose no class that is not
open to their VPC.

`tos=inherit` on the tunnel port carries the inner DSCP to the outer header.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controller.intent.vpc import Tenant
from controller.rules.rules import ETH_IPV4, Flow, Match, SetField
from controller.rules.tables import Priority, Table
from topologies.model.addressing import DEFAULT_VNI, SENTINEL_DSCP
from topologies.model.fabric import Fabric, Node
from topologies.model.spec import DEFAULT_VPC, ClassSpec, class_of, open_classes

MARK = Priority.NORMAL + 10     # a class goes before what is done with a DSCP that a host has chosen
CHOICE = MARK + 1               # unless the class that it has chosen is open to its VPC


def flows(fabric: Fabric, leaf: Node) -> Iterator[Flow]:
    """The sentinel's DSCP is the probes' own (it gets a queue of its own); from others it is cleared."""
    for host in fabric.hosts_of(leaf.name):
        if host.role == "probe":
            port = fabric.access_link(host.name).end(leaf.name).ofport
            yield Flow(f"sentinel:{host.name}", Table.QOS, Priority.OVERRIDE,
                       Match(in_port=port, eth_type=ETH_IPV4, ip_dscp=SENTINEL_DSCP), (), Table.BRIDGE)
    yield Flow("reserved-dscp", Table.QOS, Priority.NORMAL,
               Match(eth_type=ETH_IPV4, ip_dscp=SENTINEL_DSCP), (SetField("ip_dscp", 0),), Table.BRIDGE)
    yield from _rules(fabric.spec.classes, DEFAULT_VPC, DEFAULT_VPC, DEFAULT_VNI)
    yield Flow("dscp-kept", Table.QOS, Priority.DEFAULT, Match(), (), Table.BRIDGE)


def marks(fabric: Fabric, tenants: Iterable[Tenant]) -> Iterator[Flow]:
    """Packets of these VPCs are in the class of their VPC, or in one open to it that their host has chosen."""
    for tenant in tenants:
        for segment in tenant.segments:
            yield from _rules(fabric.spec.classes, tenant.name, segment.name, segment.vni)


def _rules(classes: Mapping[str, ClassSpec], vpc: str, whose: str, vni: int) -> Iterator[Flow]:
    """A DSCP of an open class stays; all else gets that of the VPC's class, or, where it has none, loses a class's."""
    own, free = class_of(classes, vpc), open_classes(classes, vpc)

    def flow(what: str, name: str, priority: int, actions: tuple[SetField, ...], dscp: int | None = None) -> Flow:
        return Flow(f"{what}:{name}:{whose}", Table.QOS, priority,
                    Match(tunnel_id=vni, eth_type=ETH_IPV4, ip_dscp=dscp), actions, Table.BRIDGE)

    for name in free:
        yield flow("chosen", name, CHOICE, (), classes[name].dscp)
    if own:
        yield flow("class", own, MARK, (SetField("ip_dscp", classes[own].dscp),))
    for name in classes if not own else ():
        if name not in free:
            yield flow("not-open", name, MARK, (SetField("ip_dscp", 0),), classes[name].dscp)
