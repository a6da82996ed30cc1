"""A lab that ended under a run: what owns its switches and links says so, and the run is INVALID by that."""

from __future__ import annotations

import time

from topologies.model.errors import LabError, RunError
from topologies.model.inventory import Inventory
from topologies.switches.datapaths import datapath_of

ENDING = 0.5        # seconds that the end of a process may take


class LabEndError(RunError):
    """What forwarded is gone: nothing that came after it was the network's."""

    exit_code = 3       # INVALID


def check_lab(inventory: Inventory) -> None:
    """Raises LabEndError once what forwards has ended by itself."""
    if said := datapath_of(inventory).ended(inventory):
        raise LabEndError("the lab", "its network for the whole run", said,
                       "the records so far are kept, and are no measurement")


def cause(inventory: Inventory, error: LabError) -> LabError:
    """The end of the lab, if it has ended or just does, in place of what came of it: a process that is killed takes
    its devices away before it is gone itself."""
    deadline = time.monotonic() + ENDING
    while True:
        try:
            check_lab(inventory)
        except LabEndError as ended:
            return ended
        if time.monotonic() > deadline:
            return error
        time.sleep(0.02)
