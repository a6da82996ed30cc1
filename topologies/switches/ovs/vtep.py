"""A leaf's tunnel end: its VTEP and its path aliases on the bridge's own interface.

That interface may outlive the daemon of a switch that was killed, and then has its addresses already.

In userspace it has addresses only so that Open vSwitch knows its tunnel's; the kernel behind it shall stay silent.
When a link comes or goes Open vSwitch reads its routes anew and for that moment takes its tunnel for gone: a packet out
of the fabric ends in the kernel's stack, which asks by ARP for the sender, to tell it that nobody listens. The packet
is lost to the fault; the questions would be in packet accounting as drops of a rule. And it sees what hosts send,
beside the datapath: asked by ARP for an address of the tunnel it would answer, and packet accounting would have a
packet that nobody sent.
"""

from __future__ import annotations

from topologies.access.netns import inside, set_sysctl
from topologies.lab.interfaces import bring_up
from topologies.lab.shell import ip_batch, tc_batch
from topologies.model.fabric import Fabric, Node
from topologies.switches.ovs import kernel_datapath, switch

NEVER_ANSWER = 8        # arp_ignore: for no local address (Linux, networking/ip-sysctl)


def give_vtep(fabric: Fabric, leaf: Node, netns: str) -> None:
    """Address the tunnel end of a leaf that has just started, in the namespace `netns`. Raises HostError."""
    path = f"/run/netns/{netns}"
    switch.wait_for_device(path, leaf.name)
    if not switch.in_kernel(fabric):
        tc_batch([f"qdisc replace dev {leaf.name} root blackhole"], netns)  # for what the kernel sends, nothing else
    with inside(path):
        if not switch.in_kernel(fabric):
            set_sysctl("net.ipv4.conf.all.arp_ignore", NEVER_ANSWER)
        bring_up(leaf.name, leaf.ip, 24)
    ip_batch([f"addr replace {alias}/24 dev {leaf.name}" for alias in leaf.aliases], netns)
    if switch.in_kernel(fabric):
        kernel_datapath.prepare_tunnel(fabric, leaf, netns)
