"""Is the lab still what the spec says? Read back from what runs, never from our own notes.

A link's rate or queue changed by another hand, a switch at another priority or with smaller buffers: each would give
numbers that look right. The audit runs before and after a measurement.
"""

from __future__ import annotations

from topologies.model.inventory import Inventory
from topologies.proof.findings import NOTHING_DECLARED, Declared, Finding
from topologies.switches.datapaths import datapath_of


def audit(inventory: Inventory, declared: Declared = NOTHING_DECLARED) -> list[Finding]:
    """Every difference; an empty list is what one wants."""
    return list(datapath_of(inventory).audit(inventory, declared))
