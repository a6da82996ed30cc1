"""What a running switch is told to do beside its rules. Each raises HostError if it does not answer."""

from __future__ import annotations

from collections.abc import Iterable

from topologies.model.inventory import SwitchProcess
from topologies.switches.ovs.management import unixctl

NEIGHBOUR_AGING = 3600      # seconds, the most that Open vSwitch takes; an unused neighbour is forgotten after it


def set_neighbours(switch: SwitchProcess, neighbours: Iterable[tuple[str, str]]) -> None:
    """Tell a switch's tunnel the MACs of the remote VTEPs, as (IP, MAC); renews those that it knows."""
    unixctl.call(switch, "tnl/neigh/aging", str(NEIGHBOUR_AGING))
    for ip, mac in neighbours:
        unixctl.call(switch, "tnl/neigh/set", switch.name, ip, mac)


def flush_caches(switch: SwitchProcess) -> None:
    """Drop the decisions that a switch has cached, so that the next packet of each flow is held against the rules.

    A switch adapts cached decisions to new rules by itself, but not always: docs/decisions/025-caches-are-emptied.md.
    No packet is lost by it.
    """
    unixctl.call(switch, "revalidator/purge")


def settle_counters(switch: SwitchProcess) -> None:
    """Wait until the rules' counters are up to date: the datapath's counts are added to them twice a second only."""
    unixctl.call(switch, "revalidator/wait")
