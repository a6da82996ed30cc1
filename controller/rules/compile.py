"""(fabric, tenancy, state) -> the whole wanted rule set. Pure.

Most rules depend on fabric and tenancy alone. What follows the links' state is small: the groups of paths, and
drops for leaves that cannot be reached. A Compiler keeps the first part, so that a link's failure
costs the second only; and the compiler of a new tenancy takes over what the old one has in common with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import chain

from controller.evpn.evpn import Route, RouteTable, originated
from controller.intent.vpc import Tenancy
from controller.rules import bridging, ecmp, pinning, qos, underlay
from controller.rules.bridging import Flat
from controller.rules.host_rules import Remote
from controller.rules.irb import COMMON, Block, block
from controller.rules.paths import live_paths, path_rates, ways_out
from controller.rules.rules import Assembled, Flow, Group, Part, RuleSet, SwitchRules, apart
from controller.rules.state import State
from controller.rules.tables import check_jumps, stand_in
from controller.rules.tenants import Tenants
from topologies.model import addressing as addr
from topologies.model.drop_names import no_path
from topologies.model.fabric import Fabric, Node, Path

KEPT_STATES = 4     # of the links: what is wanted now, and what is being left


class Fixed:
    """What depends on the fabric alone, whatever its tenants are: underlay, classes, pins, and the groups of paths."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        leaves = fabric.leaves
        self.remote = Remote(fabric)
        self.hosts = {host.name: bridging.host_flows(fabric, host, addr.DEFAULT_VNI) for host in fabric.all_hosts}
        self.paths = lru_cache(KEPT_STATES * len(leaves))(self._paths)
        is_pinned = fabric.spec.paths == "pinned"
        self.underlay = {leaf.name: tuple(underlay.leaf_flows(fabric, leaf)) for leaf in leaves}
        self.classes = {leaf.name: tuple(qos.flows(fabric, leaf)) for leaf in leaves}
        self.pins = {leaf.name: tuple(pinning.flows(fabric, leaf)) if is_pinned else () for leaf in leaves}
        self.pinned = {leaf.name: pinning.pinned(fabric, leaf) for leaf in leaves}
        self.neighbours = {leaf.name: underlay.neighbours(fabric, leaf) for leaf in leaves}
        self.spines = {spine.name: SwitchRules(spine.name, tuple(underlay.spine_flows(fabric, spine)))
                       for spine in fabric.spines}

    def _paths(self, leaf: str, state: State) -> tuple[tuple[Group, ...], tuple[str, ...]]:
        """Groups of a leaf towards all others, and the names of those that it cannot reach."""
        node = self._fabric.node(leaf)
        groups: list[Group] = []
        lost: list[str] = []
        for target in [t for t in self._fabric.tunnel_ends if t.name != leaf]:
            paths = live_paths(self._fabric, state, node, target)
            # With no path left the group stays whole behind the named drops: none of its packets goes uncounted.
            groups += self._groups(node, target, paths or ways_out(self._fabric, node, target), state)
            if not paths:
                lost.append(target.name)
        return tuple(groups), tuple(lost)

    def _groups(self, leaf: Node, target: Node, paths: Sequence[Path], state: State) -> Iterable[Group]:
        if self._fabric.spec.paths == "pinned":
            return pinning.groups_to(target, paths, self.pinned[leaf.name])
        if self._fabric.spec.paths == "weighted":
            return (ecmp.weighted_group_to(target, paths, path_rates(state, paths)),)
        return (ecmp.group_to(target, paths),)


class Compiler:
    """The rule sets of one fabric under one tenancy.

    routes: what the leaves originate, by default all that the tenancy says; imported: what others have announced, and
    VRFs import from as well. previous: a compiler of the same
    fabric, from which all that has stayed the same is taken over, rule by rule and leaf by leaf.
    """

    def __init__(self, fabric: Fabric, tenancy: Tenancy = Tenancy(),  # noqa: B008 - a frozen value
                 routes: Sequence[Route] | None = None, previous: Compiler | None = None,
                 imported: Sequence[Route] = ()) -> None:
        self._fabric = fabric
        self.tenancy = tenancy
        self.originated = originated(fabric, tenancy) if routes is None else tuple(routes)
        self.imported = tuple(imported)
        self.routes = (*self.originated, *self.imported)
        elsewhere = frozenset(tenancy.members)
        self._fixed: Fixed = previous._fixed if previous else Fixed(fabric)
        kept = previous and previous._flat.elsewhere == elsewhere
        self._flat: Flat = previous._flat if previous and kept else Flat(fabric, self._fixed.hosts, elsewhere)
        self._tenants: Tenants = Tenants(tenancy, RouteTable(self.routes), self._fixed.remote,
                                         previous._tenants if previous else None)
        self._blocks = self._compiled_blocks(previous)
        self._steady = {leaf.name: self._steady_of(leaf.name, previous) for leaf in fabric.leaves}
        self._across, self._cut_off = cache(self._tenants_across), cache(self._tenants_cut_off)

    def _compiled_blocks(self, previous: Compiler | None) -> dict[str, dict[str, Block]]:
        """Leaf -> VPC -> its rules there."""
        blocks: dict[str, dict[str, Block]] = {}
        for leaf in self._fabric.leaves:
            old = previous._blocks[leaf.name] if previous else {}
            blocks[leaf.name] = {vpc: block(inputs, self._fixed.remote, old.get(vpc))
                                 for vpc, inputs in self._tenants.inputs(leaf).items()}
        return blocks

    def _steady_of(self, leaf: str, previous: Compiler | None) -> Assembled:
        """All steady rules of a leaf; the very object that the previous compiler had, if nothing has changed."""
        if previous and previous._flat is self._flat and _same(previous._blocks[leaf], self._blocks[leaf]):
            return previous._steady[leaf]
        fixed, flat = self._fixed, self._flat
        whole = Assembled([fixed.underlay[leaf], flat.ingress[leaf], fixed.classes[leaf], flat.forward[leaf],
                           fixed.pins[leaf], *self._tenant_parts(leaf)])
        check_jumps(apart(whole.parts, previous._steady[leaf].parts if previous else ()))
        return whole

    def _tenant_parts(self, leaf: str) -> Iterator[Part]:
        blocks = self._blocks[leaf]
        for one in blocks.values():
            yield from one.parts
        if blocks:
            yield COMMON
            yield tuple(qos.marks(self._fabric, (t for t in self.tenancy.tenants if t.name in blocks)))

    def rules(self, state: State) -> RuleSet:
        """Everything that every switch shall hold while the fabric is in `state`; transit switches first."""
        return self._fixed.spines | {leaf.name: self._leaf(leaf, state) for leaf in self._fabric.leaves}

    def _leaf(self, leaf: Node, state: State) -> SwitchRules:
        groups, unreached = self._fixed.paths(leaf.name, state)
        lost = tuple(flow for target in unreached
                     for flow in (*self._flat.unreachable.get(target, ()), *self._cut_off(leaf.name, target)))
        return SwitchRules(leaf.name, self._steady[leaf.name], lost, groups, self._fixed.neighbours[leaf.name])

    def _tenants_across(self, leaf: str) -> dict[str, list[Flow]]:
        """Target leaf -> the VPCs' rules of `leaf` towards it."""
        found: dict[str, list[Flow]] = {}
        for target, flow in bridging.leads_to(self._fabric, chain.from_iterable(self._tenant_parts(leaf))):
            found.setdefault(target, []).append(flow)
        return found

    def _tenants_cut_off(self, leaf: str, target: str) -> tuple[Flow, ...]:
        """Drops that stand in for these while no path leads there."""
        return tuple(stand_in(flow, no_path(target)) for flow in self._across(leaf).get(target, ()))


def _same(old: dict[str, Block], new: dict[str, Block]) -> bool:
    return list(old) == list(new) and all(old[vpc] is block for vpc, block in new.items())


def compile_rules(fabric: Fabric, state: State = State(),       # noqa: B008 - frozen values
                  tenancy: Tenancy = Tenancy()) -> RuleSet:     # noqa: B008
    """The wanted rule set, in one call."""
    return Compiler(fabric, tenancy).rules(state)
