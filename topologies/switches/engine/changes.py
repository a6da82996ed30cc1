"""A running engine is told of another rate, queue, cable, power or share; nothing queued is lost by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from topologies.links.htb import hosts
from topologies.model.errors import HostError
from topologies.model.fabric import Link
from topologies.model.inventory import Inventory
from topologies.model.spec import ClassSpec
from topologies.switches.engine.attach import attachment
from topologies.switches.engine.client import EngineClient
from topologies.switches.engine.config import rate_lines
from topologies.switches.engine.layout import engine_directions, host_ends, is_host
from topologies.switches.engine.management.power import has_power
from topologies.switches.engine.management.process import SOCKET
from topologies.switches.engine.queues import limit_lines, share_lines
from topologies.switches.engine.settings import settings


def tell(inventory: Inventory, commands: Iterable[str]) -> None:
    """Raises HostError for a refusal, or an engine that does not answer."""
    with EngineClient(Path(inventory.directory) / SOCKET) as engine:
        engine.ask_all(list(commands))


def set_rate(inventory: Inventory, name: str, rate: float) -> None:
    """The slower of host and link comes first: a host must not send more than its link takes."""
    fabric, link = inventory.fabric, inventory.fabric.link(name)
    own = is_host(fabric, link.a) and attachment(fabric) == "calm"
    if own and rate < settings(inventory, engine_directions(fabric, link)[0]).rate:
        hosts.set_rate(inventory, link, rate)
        own = False
    tell(inventory, rate_lines(fabric, link, rate))
    if own:
        hosts.set_rate(inventory, link, rate)


def set_queue(inventory: Inventory, name: str, size: int) -> None:
    tell(inventory, limit_lines(inventory.fabric, inventory.fabric.link(name), size))


def set_state(inventory: Inventory, name: str, up: bool) -> None:
    link = inventory.fabric.link(name)
    tell(inventory, [f"cable {link.name} {'up' if up else 'down'}"])


def calm_links(inventory: Inventory) -> list[Link]:
    """Links whose host, or router, has a discipline of its own."""
    calm = attachment(inventory.fabric) == "calm"
    return [link for link, _ in host_ends(inventory.fabric)] if calm else []


def set_shares(inventory: Inventory, classes: Mapping[str, ClassSpec]) -> None:
    tell(inventory, share_lines(inventory.fabric, classes))
    hosts.set_shares(inventory, calm_links(inventory), classes)


def shares(inventory: Inventory) -> dict[str, ClassSpec]:
    """The lab's classes as the first of its links has them now."""
    fabric = inventory.fabric
    if not fabric.spec.classes:
        return {}
    held = settings(inventory, engine_directions(fabric, fabric.links[0])[0]).queues
    return {name: c.model_copy(update={"min": held[n].min, "max": held[n].max or 1.0})
            for n, (name, c) in enumerate(fabric.spec.classes.items(), start=1)}


def set_power(inventory: Inventory, switch: str, on: bool) -> None:
    tell(inventory, [f"power {switch} {'on' if on else 'off'}"])


def kill(inventory: Inventory, switch: str) -> None:
    if has_power(Path(inventory.directory), switch):
        set_power(inventory, switch, on=False)


def start_again(inventory: Inventory, switch: str) -> None:
    """Raises HostError for a switch that has power."""
    if has_power(Path(inventory.directory), switch):
        raise HostError(f"switch {switch}", "a switch without power", "one that has it")
    set_power(inventory, switch, on=True)
