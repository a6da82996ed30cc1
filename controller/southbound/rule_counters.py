"""Counters of drop rules read from the switches themselves, for when there is no controller to ask.

A rule's cookie says what it is, so its name follows from the fabric and from the intent that the controller wrote
down. What is lost with a controller is the counts of drop rules that were removed while it ran.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from controller.control import FOREIGN
from controller.intent.vpc import resolve
from controller.record import Record
from controller.rules.compile import Compiler
from controller.rules.state import State
from topologies.switches.ovs.management import unixctl
from topologies.model.errors import LabError
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory, SwitchProcess

TIMEOUT = 20.0      # seconds for a switch to list its rules
_RULE = re.compile(r"cookie=(0x[0-9a-f]+),.*\bn_packets=(\d+),.*\bactions=drop\s*$")


def names_of(fabric: Fabric, record: Record) -> dict[int, str]:
    """Cookie -> name of the drop rules that a fabric may hold under an intent, in whatever state its links are."""
    compiler = Compiler(fabric, resolve(record.intent, fabric, record.allocation))
    states = (State(), State(frozenset(k.name for k in fabric.links)))
    return {f.cookie: f.name for state in states for rules in compiler.rules(state).values()
            for f in rules.flows if f.is_drop}


def drops_in(lines: Iterable[str], names: Mapping[int, str]) -> dict[str, int]:
    """Name -> packets, from what ovs-ofctl dump-flows prints."""
    found: Counter[str] = Counter()
    for line in lines:
        if rule := _RULE.search(line):
            found[names.get(int(rule[1], 16), FOREIGN)] += int(rule[2])
    return dict(found)


def drops_of(inventory: Inventory, switch: str) -> dict[str, int]:
    """Name of a drop rule -> packets, of one switch; nothing if it does not answer. Raises LabError."""
    return policy_drops(inventory, [switch])[switch]


def policy_drops(inventory: Inventory, switches: Iterable[str] = ()) -> dict[str, dict[str, int]]:
    """Switch (these, or all) -> name of a drop rule -> packets; empty for one that does not answer. Raises LabError."""
    names = names_of(inventory.fabric, Record.read(Path(inventory.directory) / "intent.json"))

    def one(process: SwitchProcess) -> dict[str, int]:
        try:
            return drops_in(_dump(process), names)
        except LabError:
            return {}

    wanted = list(switches) or list(inventory.switches)
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(wanted, pool.map(one, [inventory.switches[s] for s in wanted]), strict=True))


def _dump(process: SwitchProcess) -> list[str]:
    unixctl.call(process, "revalidator/wait")       # it adds up twice a second; this waits for it
    command = ["ovs-ofctl", "-O", "OpenFlow15", "dump-flows", f"unix:{process.management}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"switch {process.bridge}", "a list of its rules", f"none within {TIMEOUT:g} s") from None
    if done.returncode:
        raise LabError(f"switch {process.bridge}", "a list of its rules", done.stderr.strip()[-500:])
    return done.stdout.splitlines()
