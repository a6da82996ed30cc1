"""Whether a switch of the engine has power, by the engine's counters: its process is that of all switches."""

from __future__ import annotations

from pathlib import Path

from topologies.model.errors import LabError
from topologies.model.inventory import SwitchProcess
from topologies.switches.engine.counters import FILE, Counters
from topologies.switches.engine.layout import Layout


def has_power(directory: Path, switch: str) -> bool:
    """Raises HostError where there is no engine."""
    number = Layout.read(directory).switches.index(switch)
    held = Counters(directory / FILE)
    try:
        return bool(held.switch(number).is_on)
    finally:
        held.close()


def forwards(switch: SwitchProcess) -> bool:
    try:
        return has_power(Path(switch.directory), switch.name)
    except LabError:
        return False
