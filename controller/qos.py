"""Rules on DSCP. `tos=inherit` on the tunnel port carries the inner DSCP to the outer header."""

from __future__ import annotations

from collections.abc import Iterator

from controller.rules import ETH_IPV4, Flow, Match, SetField
from controller.tables import Priority, Table
from topologies.addressing import SENTINEL_DSCP
from topologies.fabric import Fabric, Node


def flows(fabric: Fabric, leaf: Node) -> Iterator[Flow]:
    """The sentinel's DSCP is the probes' own (it gets a queue of its own); from others it is cleared."""
    for host in fabric.hosts_of(leaf.name):
        if host.role == "probe":
            port = fabric.access_link(host.name).end(leaf.name).number
            yield Flow(f"sentinel:{host.name}", Table.QOS, Priority.OVERRIDE,
                       Match(in_port=port, eth_type=ETH_IPV4, ip_dscp=SENTINEL_DSCP), (), Table.BRIDGE)
    yield Flow("reserved-dscp", Table.QOS, Priority.NORMAL,
               Match(eth_type=ETH_IPV4, ip_dscp=SENTINEL_DSCP), (SetField("ip_dscp", 0),), Table.BRIDGE)
    yield Flow("dscp-kept", Table.QOS, Priority.DEFAULT, Match(), (), Table.BRIDGE)
