"""The wires of a fabric come to life: first the devices, then, when their ends are up, what shapes them."""

from __future__ import annotations

from collections.abc import Mapping

from topologies.lab.shell import at_once, ip_batch, tc_batch
from topologies.links.htb.wires import devices, host_lines, wire_lines
from topologies.model.fabric import Fabric


def lay_wires(fabric: Fabric, netns: Mapping[str, str], wiring: str) -> None:
    """Two veth pairs for each link, with their inner ends in the wiring namespace. netns: node -> its namespace."""
    lines = []
    pairs = devices(fabric)
    for link in fabric.links:
        pair = pairs[link.name]
        for device, end in ((pair.a, link.a), (pair.b, link.b)):
            node = fabric.by_name[end.node]
            # A host's device makes no super-packets: a 64 kB one would not fit the queue behind it.
            stack = node.is_host or node.role == "vtep"     # the kernel's own, which heeds a device's MAC
            host = f"address {node.mac} gso_max_segs 1 " if stack else ""
            lines.append(f"link add {device} mtu {link.mtu} type veth peer name {end.interface} {host}"
                         f"mtu {link.mtu} netns {netns[end.node]}")
            lines.append(f"link set {device} up")
    ip_batch(lines, wiring)


def shape_wires(fabric: Fabric, netns: Mapping[str, str], wiring: str, disowned: bool = False) -> None:
    """Rates, queues and impairments: of hosts at their own interfaces, of all else in the wiring namespace.

    disowned: no socket knows of its frames any more once they have left its host.
    """
    at_once(lambda h: tc_batch(host_lines(fabric, h.name), netns[h.name]), fabric.all_hosts)
    tc_batch(wire_lines(fabric, disowned), wiring)
