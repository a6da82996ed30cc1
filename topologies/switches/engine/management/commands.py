"""What an engine's switch is told and asked beside its rules. Each raises HostError if the engine does not answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from topologies.model.errors import HostError
from topologies.model.inventory import SwitchProcess
from topologies.switches.engine.client import EngineClient
from topologies.switches.engine.management.process import control_socket


def set_neighbours(switch: SwitchProcess, neighbours: Iterable[tuple[str, str]]) -> None:
    """Tell a switch's tunnel the MACs of the remote VTEPs, as (IP, MAC). It forgets none."""
    with EngineClient(control_socket(switch)) as engine:
        engine.ask_all([f"neighbour {switch.name} {ip} {mac}" for ip, mac in neighbours])


def at_once(_switch: SwitchProcess) -> None:
    """A changed rule voids what is cached by itself, and counters are exact at once: there is nothing to wait for."""


def drop_counts(switch: SwitchProcess) -> Counter[int]:
    """Cookie of a drop rule -> packets."""
    with EngineClient(control_socket(switch)) as engine:
        return parse_drops(engine.ask(f"drops {switch.name}"))


def parse_drops(answer: str) -> Counter[int]:
    """`COOKIE:PACKETS ...`"""
    found: Counter[int] = Counter()
    try:
        for word in answer.split():
            cookie, _, packets = word.partition(":")
            found[int(cookie)] += int(packets)
    except ValueError:
        raise HostError("fabric engine: drops", "COOKIE:PACKETS ...", answer[:200]) from None
    return found
