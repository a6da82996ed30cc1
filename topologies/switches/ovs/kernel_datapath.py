"""What the kernel's own Open vSwitch datapath needs beside what the userspace one does.

In userspace Open vSwitch builds the outer packets by itself. In the kernel the IP stack does, over a
vxlan device that Open vSwitch makes and the bridge's interface, so it wants neighbours and an MTU of its own.
"""

from __future__ import annotations

from topologies.access.netns import inside
from topologies.lab.interfaces import bring_up
from topologies.lab.shell import ip_batch
from topologies.model.fabric import Fabric, Node
from topologies.switches.ovs import switch

VXLAN_DEVICE = "vxlan_sys_4789"     # Open vSwitch's name for it


def prepare_tunnel(fabric: Fabric, leaf: Node, netns: str) -> None:
    """Let a leaf's kernel tunnel, once its bridge is up and has its addresses."""
    path = f"/run/netns/{netns}"
    switch.wait_for_device(path, VXLAN_DEVICE)
    with inside(path):
        # What the tunnel takes apart would be merged to super-packets, which the queues behind count as one.
        bring_up(VXLAN_DEVICE, offloads=False)
    ip_batch((f"neigh replace {ip} lladdr {other.mac} dev {leaf.name} nud permanent"
              for other in fabric.tunnel_ends if other.name != leaf.name for ip in (other.ip, *other.aliases)), netns)
