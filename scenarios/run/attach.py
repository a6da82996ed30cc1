"""Finding a running lab from another process, and looking into its wires."""

from __future__ import annotations

from topologies.lab.host_limits import require_root
from topologies.lab.journal import Journal, all_labs
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory
from topologies.switches.datapaths import datapath_of


def running_labs() -> list[Journal]:
    """Labs whose owner lives and that are up."""
    return [j for j in all_labs() if (j.directory / "inventory.json").exists()
            and j.owner is not None and j.owner.alive]


def running_inventory(lab: str = "") -> Inventory:
    """The inventory of the one running lab, or of the one named. Raises LabError if there is no such lab."""
    require_root()
    labs = running_labs()
    chosen = [j for j in labs if not lab or j.lab == lab]
    if len(chosen) != 1:
        ids = ", ".join(j.lab for j in labs)
        raise LabError("--lab" if lab else "this machine", f"the running lab {lab}" if lab else "one running lab",
                       f"{len(labs)}: {ids}" if labs else "none",
                       "name one of them with --lab" if labs else "start one with: aifab up")
    return Inventory.read(chosen[0].directory / "inventory.json")


def capture_command(inventory: Inventory, name: str, packets: int = 0) -> list[str]:
    """What captures a link, or one direction of it, on its standard output. Raises LabError where it cannot be."""
    return datapath_of(inventory).capture_command(inventory, name, packets)
