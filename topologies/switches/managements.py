"""The registry of what running switches are asked: a line a datapath. topologies/switches/datapaths.py has the rest."""

from __future__ import annotations

from topologies.model.inventory import Inventory
from topologies.switches.engine.management.asked import MANAGEMENT as ENGINE
from topologies.switches.management import Management
from topologies.switches.ovs.management.asked import MANAGEMENT as OVS

MANAGEMENTS: dict[str, Management] = {"ovs": OVS, "ovs-kernel": OVS, "engine": ENGINE}


def management_of(inventory: Inventory) -> Management:
    """What the switches of a running lab are asked by."""
    return MANAGEMENTS[inventory.datapath]
