"""Packets that a switch had no room for: the emulator's own losses, never a rule's.

In userspace a port is a packet socket, and its receive buffer can overrun. In the kernel a packet without a cached
decision goes up to the daemon, and that way can overrun.
"""

from __future__ import annotations

import re

from topologies.access.netns import inside
from topologies.lab.shell import run
from topologies.model.errors import HostError
from topologies.model.inventory import Inventory, SwitchProcess
from topologies.switches.ovs.management import unixctl
from topologies.switches.ovs.requirements import IN_KERNEL

_SOCKET = re.compile(r"\brb(\d+),t\d+,tb(\d+),.*?\bd(\d+)\)")
_LOST = re.compile(r"\blookups:.*\blost:(\d+)")


def losses(inventory: Inventory, switch: str) -> int:
    """Packets that a switch has lost since it started. Raises HostError."""
    if inventory.datapath == IN_KERNEL:
        return lost_upcalls(inventory.switches[switch])
    return sum(drops for _, _, drops in port_sockets(inventory, switch))


def port_sockets(inventory: Inventory, switch: str) -> list[tuple[int, int, int]]:
    """(receive buffer, send buffer, drops) of each packet socket of a switch; bytes, bytes, packets."""
    with inside(inventory.netns_path(switch)):
        text = run("ss", "-0", "-m", "-H")
    return [(int(m[1]), int(m[2]), int(m[3])) for m in _SOCKET.finditer(text)]


def lost_upcalls(switch: SwitchProcess) -> int:
    """Packets without a flow in the kernel that found no room on their way to the switch's daemon."""
    found = _LOST.search(text := unixctl.call(switch, "dpctl/show"))
    if found is None:
        raise HostError(f"switch {switch.name}: dpctl/show", "a count of lost lookups", text[:200] or "nothing")
    return int(found[1])
