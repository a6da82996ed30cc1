"""A switch dies, and starts again: with its configuration, without a single rule, as hardware after a power failure.

    kill(inventory, "leaf1")
    start_again(inventory, "leaf1")     # its controller gives it its rules
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from topologies.lab.journal import Journal, process_start
from topologies.model.errors import HostError
from topologies.model.inventory import Inventory
from topologies.switches.ovs import switch
from topologies.switches.ovs.management.process import DAEMON, pid_file
from topologies.switches.ovs.vtep import give_vtep

END_TIMEOUT = 10.0      # seconds for a killed daemon to be gone


def daemon_pid(inventory: Inventory, name: str) -> int:
    """The daemon of a switch as it is now; 0 if there is none. The inventory has the one that the lab started with."""
    try:
        pid = int(pid_file(inventory.switches[name].directory).read_text())
    except (OSError, ValueError):
        return 0
    return pid if process_start(pid) is not None else 0


def kill(inventory: Inventory, name: str) -> None:
    """End a switch's daemon at once: it forwards nothing any more, and its ports keep their carrier."""
    pid = daemon_pid(inventory, name)
    if not pid:
        return
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + END_TIMEOUT
    while process_start(pid) is not None:
        if time.monotonic() > deadline:
            raise HostError(f"switch {name}", f"its daemon to end within {END_TIMEOUT:g} s of SIGKILL", f"pid {pid}")
        time.sleep(0.002)


def start_again(inventory: Inventory, name: str) -> int:
    """Start the daemon of a switch that has none, and address its tunnel end. Returns its pid. Raises HostError."""
    node, directory = inventory.fabric.node(name), Path(inventory.switches[name].directory)
    if running := daemon_pid(inventory, name):
        raise HostError(f"switch {name}", "a switch without a daemon", f"pid {running}")
    pid = switch.start_daemon(directory, inventory.netns[name])
    Journal(Path(inventory.directory)).note_process(pid, f"{DAEMON} of {name}")
    switch.run_first(pid)
    if node.is_leaf:
        give_vtep(inventory.fabric, node, inventory.netns[name])
    return pid
