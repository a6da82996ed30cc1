"""Does each switch still run as it was started?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from topologies.model.inventory import Inventory
from topologies.proof.findings import Finding
from topologies.switches.ovs.losses import port_sockets
from topologies.switches.ovs.requirements import IN_KERNEL, SETTINGS


def audit(inventory: Inventory, restarted: Mapping[str, int]) -> Iterator[Finding]:
    """Every difference. restarted: switch that was away -> its pid now, 0: it still is."""
    everywhere = os.sched_getaffinity(0)
    for name, switch in inventory.switches.items():
        pid = restarted.get(name, switch.pid)
        if not pid:
            continue
        if not Path(f"/proc/{pid}").exists():
            yield Finding(f"switch {name}", "process", "pid", pid, None)
            continue
        nice = os.getpriority(os.PRIO_PROCESS, pid)
        if nice != 0:
            yield Finding(f"switch {name}", "nice value", "", 0, nice)
        if os.sched_getscheduler(pid) != switch.policy:
            yield Finding(f"switch {name}", "scheduling policy", "", switch.policy, os.sched_getscheduler(pid))
        if not everywhere <= os.sched_getaffinity(pid):
            yield Finding(f"switch {name}", "processors", "", len(everywhere), len(os.sched_getaffinity(pid)))
        if inventory.datapath != IN_KERNEL:     # there a port has no socket
            yield from _buffers(inventory, name)


def _buffers(inventory: Inventory, switch: str) -> Iterator[Finding]:
    sockets = port_sockets(inventory, switch)
    receive, send = [r for r, _, _ in sockets], [s for _, s, _ in sockets]
    for what, found, want in (("receive", receive, SETTINGS["net.core.rmem_default"]),
                              ("send", send, SETTINGS["net.core.wmem_default"])):
        if not found or min(found) < want:
            yield Finding(f"switch {switch}", f"{what} buffer of its port sockets", "bytes", want,
                          min(found) if found else None)
