"""Which process forwards for the engine's switches, and where its socket is."""

from __future__ import annotations

from pathlib import Path

from topologies.model.inventory import SwitchProcess

ENGINE = "fabricd"          # all switches of a lab are this one process
SOCKET = "fabricd.sock"     # in a lab's directory, which is that of each of its switches


def control_socket(switch: SwitchProcess) -> Path:
    return Path(switch.directory) / SOCKET


def is_switch(pid: int) -> bool:
    """Whether `pid` is an engine, and not another process that got the number after it."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == ENGINE
    except OSError:
        return False
