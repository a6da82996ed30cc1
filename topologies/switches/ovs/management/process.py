"""A switch's daemon: how its process is named, and where its sockets are."""

from __future__ import annotations

from pathlib import Path

from topologies.model.inventory import SwitchProcess

DAEMON = "ovs-vswitchd"


def pid_file(directory: str) -> Path:
    """Where the daemon of the switch with this directory writes its pid."""
    return Path(directory, f"{DAEMON}.pid")


def control_socket(switch: SwitchProcess) -> str:
    """Of management commands, as ovs-appctl sends them."""
    return f"{switch.directory}/vs.ctl"


def openflow_socket(switch: SwitchProcess) -> str:
    """Where the switch itself listens for OpenFlow, for those beside its controller."""
    return f"{switch.directory}/{switch.name}.mgmt"


def is_switch(pid: int) -> bool:
    """Whether `pid` is a switch's daemon, and not another process that got the number after it."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == DAEMON
    except OSError:
        return False
