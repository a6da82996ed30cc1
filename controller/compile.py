"""(fabric, tenancy, state) -> the whole wanted rule set. Pure.

Most rules depend on fabric and tenancy alone. What follows the links' state is small: the groups of paths, and
drops for leaves that cannot be reached. A Compiler keeps the first part, so that a link's failure
costs the second only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from controller import bridging, ecmp, pinning, qos, underlay
from controller.evpn import Route, originated
from controller.irb import LeafRules
from controller.paths import live_spines
from controller.rules import Flow, Group, RuleSet, SwitchRules
from controller.state import State
from controller.tables import Priority, check_jumps
from controller.vpc import Tenancy
from topologies import addressing as addr
from topologies.fabric import Fabric, Node


class Compiler:
    """The rule sets of one fabric under one tenancy.

    routes: what the VRFs import from; by default all that the leaves originate.
    """

    def __init__(self, fabric: Fabric, tenancy: Tenancy = Tenancy(),  # noqa: B008 - a frozen value
                 routes: Sequence[Route] | None = None) -> None:
        self._fabric = fabric
        self.tenancy = tenancy
        self.routes = originated(fabric, tenancy) if routes is None else tuple(routes)
        vni, elsewhere = addr.DEFAULT_VNI, tenancy.members
        answers = tuple(bridging.arp([h for h in fabric.all_hosts if h.name not in elsewhere], vni))
        self._tenants = {leaf.name: tuple(LeafRules(fabric, tenancy, leaf, self.routes).flows())
                         for leaf in fabric.leaves}
        self._steady = {leaf.name: (*underlay.leaf_flows(fabric, leaf),
                                    *bridging.ingress(fabric, leaf, vni, elsewhere),
                                    *qos.flows(fabric, leaf), *answers,
                                    *bridging.forward(fabric, leaf, vni, elsewhere),
                                    *(pinning.flows(fabric, leaf) if fabric.spec.paths == "pinned" else ()),
                                    *self._tenants[leaf.name])
                        for leaf in fabric.leaves}
        self._pins = {leaf.name: tuple(dict.fromkeys(pinning.preferred(fabric, leaf).values()))
                      for leaf in fabric.leaves}
        self._unreachable = {leaf.name: tuple(bridging.unreachable(fabric, leaf, vni, elsewhere))
                             for leaf in fabric.leaves}
        self._cut_off = cache(self._tenants_cut_off)
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
                lost += self._cut_off(leaf.name).get(target.name, ())
        return SwitchRules(leaf.name, self._steady[leaf.name], tuple(lost), tuple(groups),
                           self._neighbours[leaf.name])

    def _tenants_cut_off(self, leaf: str) -> dict[str, list[Flow]]:
        """Target leaf -> drops that stand in for the VPCs' rules of `leaf` towards it."""
        found: dict[str, list[Flow]] = {}
        for target, flow in bridging.leads_to(self._fabric, self._tenants[leaf]):
            found.setdefault(target, []).append(
                replace(flow, name=f"no-path:{target}", priority=Priority.OVERRIDE, actions=(), goto=None))
        return found

    def _groups(self, leaf: Node, target: Node, spines: Sequence[Node]) -> Iterable[Group]:
        if self._fabric.spec.paths == "pinned":
            return pinning.groups_to(target, spines, self._pins[leaf.name])
        return (ecmp.group_to(target, spines),)


def compile_rules(fabric: Fabric, state: State = State(),       # noqa: B008 - frozen values
                  tenancy: Tenancy = Tenancy()) -> RuleSet:     # noqa: B008
    """The wanted rule set, in one call."""
    return Compiler(fabric, tenancy).rules(state)
