"""The registry of datapaths: a line each. Which one a fabric has, and which one a running lab."""

from __future__ import annotations

from topologies.model.errors import SpecErrors
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory
from topologies.switches.datapath import Datapath
from topologies.switches.engine.datapath import ENGINE
from topologies.switches.ovs.datapath import OVS, OVS_KERNEL

DATAPATHS: dict[str, Datapath] = {d.name: d for d in (OVS, OVS_KERNEL, ENGINE)}
AUTO = OVS.name


def chosen(fabric: Fabric) -> Datapath:
    """The datapath that a fabric asks for."""
    wanted = fabric.spec.datapath
    return DATAPATHS[AUTO if wanted == "auto" else wanted]


def require_asked(fabric: Fabric) -> None:
    """Raises SpecErrors with all that a fabric asks for and its datapath has on no machine."""
    if refused := list(chosen(fabric).refused(fabric)):
        raise SpecErrors(refused)


def datapath_of(inventory: Inventory) -> Datapath:
    """The datapath of a running lab."""
    return DATAPATHS[inventory.datapath]
