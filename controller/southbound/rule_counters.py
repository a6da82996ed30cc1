"""Counters of drop rules read from the switches themselves, for when there is no controller to ask.

A rule's cookie says what it is, so its name follows from the fabric and from the intent that the controller wrote
down. What is lost with a controller is the counts of drop rules that were removed while it ran.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from controller.desired_state import FOREIGN
from controller.intent.vpc import resolve
from controller.persisted_intent import FILE, PersistedIntent
from controller.rules.compile import Compiler
from controller.rules.state import State
from topologies.model.errors import LabError
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory, SwitchProcess
from topologies.switches.managements import management_of


def names_of(fabric: Fabric, persisted: PersistedIntent) -> dict[int, str]:
    """Cookie -> name of the drop rules that a fabric may hold under an intent, in whatever state its links are."""
    compiler = Compiler(fabric, resolve(persisted.intent, fabric, persisted.allocation))
    states = (State(), State(frozenset(k.name for k in fabric.links)))
    return {f.cookie: f.name for state in states for rules in compiler.rules(state).values()
            for f in rules.flows if f.is_drop}


def named(counts: Mapping[int, int], names: Mapping[int, str]) -> dict[str, int]:
    """Name -> packets, from cookie -> packets."""
    found: Counter[str] = Counter()
    for cookie, packets in counts.items():
        found[names.get(cookie, FOREIGN)] += packets
    return dict(found)


def drops_of(inventory: Inventory, switch: str) -> dict[str, int]:
    """Name of a drop rule -> packets, of one switch; nothing if it does not answer. Raises LabError."""
    return policy_drops(inventory, [switch])[switch]


def policy_drops(inventory: Inventory, switches: Iterable[str] = ()) -> dict[str, dict[str, int]]:
    """Switch (these, or all) -> name of a drop rule -> packets; empty for one that does not answer. Raises LabError."""
    drop_counts = management_of(inventory).drop_counts
    names = names_of(inventory.fabric, PersistedIntent.read(Path(inventory.directory) / FILE))

    def one(switch: SwitchProcess) -> dict[str, int]:
        try:
            return named(drop_counts(switch), names)
        except LabError:
            return {}

    wanted = list(switches) or list(inventory.switches)
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(wanted, pool.map(one, [inventory.switches[s] for s in wanted]), strict=True))
