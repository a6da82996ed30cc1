"""(fabric, state) -> the whole wanted rule set. Pure.

Most rules depend on the fabric alone. What follows the links' state is small: the groups of paths, and
drops for leaves that cannot be reached. A Compiler keeps the first part, so that a link's failure
costs the second only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller import bridging, ecmp, pinning, qos, underlay
from controller.paths import live_spines
from controller.rules import Flow, Group, RuleSet, SwitchRules
from controller.state import State
from controller.tables import check_jumps
from topologies import addressing as addr
from topologies.fabric import Fabric, Node


class Compiler:
    """The rule sets of one fabric."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        vni = addr.DEFAULT_VNI
        answers = tuple(bridging.arp(fabric.all_hosts, vni))
        self._steady = {leaf.name: (*underlay.leaf_flows(fabric, leaf), *bridging.ingress(fabric, leaf, vni),
                                    *qos.flows(fabric, leaf), *answers, *bridging.forward(fabric, leaf, vni),
                                    *(pinning.flows(fabric, leaf) if fabric.spec.paths == "pinned" else ()))
                        for leaf in fabric.leaves}
        self._pins = {leaf.name: tuple(dict.fromkeys(pinning.preferred(fabric, leaf).values()))
                      for leaf in fabric.leaves}
        self._unreachable = {leaf.name: tuple(bridging.unreachable(fabric, leaf, vni)) for leaf in fabric.leaves}
        self._neighbours = {leaf.name: underlay.neighbours(fabric, leaf) for leaf in fabric.leaves}
        self._spines = {spine.name: SwitchRules(spine.name, tuple(underlay.spine_flows(fabric, spine)))
                        for spine in fabric.spines}
        for flows in (*self._steady.values(), *self._unreachable.values(), *(s.steady for s in self._spines.values())):
            check_jumps(flows)

    def rules(self, state: State) -> RuleSet:
        """Everything that every switch shall hold while the fabric is in `state`; transit switches first."""
        return self._spines | {leaf.name: self._leaf(leaf, state) for leaf in self._fabric.leaves}

    def _leaf(self, leaf: Node, state: State) -> SwitchRules:
        groups: list[Group] = []
        lost: list[Flow] = []
        for target in self._fabric.leaves:
            if target.name == leaf.name:
                continue
            spines = live_spines(self._fabric, state, leaf, target)
            # With no path left the group stays whole behind the named drops: none of its packets goes uncounted.
            groups += self._groups(leaf, target, spines or self._fabric.spines)
            if not spines:
                lost += self._unreachable[target.name]
        return SwitchRules(leaf.name, self._steady[leaf.name], tuple(lost), tuple(groups),
                           self._neighbours[leaf.name])


    def _groups(self, leaf: Node, target: Node, spines: Sequence[Node]) -> Iterable[Group]:
        if self._fabric.spec.paths == "pinned":
            return pinning.groups_to(target, spines, self._pins[leaf.name])
        return (ecmp.group_to(target, spines),)


def compile_rules(fabric: Fabric, state: State = State()) -> RuleSet:  # noqa: B008 - a frozen value
    """The wanted rule set, in one call."""
    return Compiler(fabric).rules(state)
