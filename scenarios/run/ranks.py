"""`aifab exec --ranks`: a real program on every host of a running lab, and what the network made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from scenarios.report.losses import losses
from scenarios.report.tables import accounting
from scenarios.run.lab import policy_drops
from topologies.model.errors import RunError
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory
from topologies.model.units import show_size
from topologies.proof.counters import hops, snapshot, wait_quiet
from topologies.proof.ledger import Ledger, balance
from topologies.switches.datapaths import datapath_of
from traffic.metrics import fairness
from traffic.runtime.launch import Launch, Tell, ranks_on
from traffic.transports.tcp.settings import prepare_namespace
from traffic.workloads.placement import place


def run_ranks(inventory: Inventory, ranks: int, command: Sequence[str], tell: Tell) -> Ledger:
    """Run the command as `ranks` processes, dealt out over the leaves; packet accounting of the time it took.

    TCP is set in the hosts as for our own traffic, so that a comparison with it is fair. Raises SpecError
    for more ranks than hosts, RunError for a rank that failed or a network that does not get quiet.
    """
    fabric = inventory.fabric
    hosts = place("strided", ranks, fabric)
    policy = partial(policy_drops, inventory)
    for host in hosts:
        prepare_namespace(inventory.netns[host], fabric.spec.tcp, host)
    before = snapshot(inventory, policy)
    Launch(ranks_on(inventory, hosts), command, tell).run()
    wait_quiet(inventory)
    return balance(fabric, hops(inventory), before, snapshot(inventory, policy))


def link_bytes(inventory: Inventory) -> dict[str, int]:
    """Direction of each fabric link -> bytes that have left its queue so far."""
    sent = datapath_of(inventory).sent_bytes(inventory)
    return {d: sent[d] for k in inventory.fabric.links if k.kind == "fabric" for d in k.directions}


def spread(fabric: Fabric, before: Mapping[str, int], after: Mapping[str, int]) -> list[str]:
    """A line for each leaf that sent into the fabric: what its uplinks carried, and how evenly, by their rates."""
    moved = {direction: float(after[direction] - count) for direction, count in before.items()}
    lines = []
    for leaf in (node.name for node in fabric.leaves):
        index = fairness.jain(fairness.utilisations(moved, fabric, leaf, up=True))
        if len(fabric.uplinks(leaf)) > 1 and index is not None:
            uplinks = ", ".join(f"{k.far(leaf).node} {show_size(moved[f'{leaf}->{k.far(leaf).node}'])}"
                                for k in fabric.uplinks(leaf))
            lines.append(f"  {leaf} sent to {uplinks}; Jain's index {index:.3f}")
    return lines


def reported(ledger: Ledger) -> list[str]:
    """The ledger in lines: where packets went, and below it each place that lost some."""
    found = ledger.as_json()
    return [accounting(found).line, *(f"  {cause}, {place}: {count:,}" for cause, place, count in losses(found))]


def check(ledger: Ledger) -> None:
    """Raises RunError if the emulator lost packets or some are without a name."""
    bad = {**ledger.emulator_drops, **ledger.unexplained}
    if bad or not ledger.balances:
        raise RunError("the packet accounting of this run", "every packet received or lost in a named queue",
                       "; ".join(f"{n} at {place}" for place, n in bad.items()) or "a sum that does not balance",
                       "do not use what the program measured")
