"""How many rules there are, which of them leaves share, and what a change makes anew."""

from __future__ import annotations

from itertools import pairwise

from controller.intent.intent import Intent
from controller.intent.vpc import Allocation, allocate, resolve
from controller.rules.compile import Compiler
from controller.rules.rules import Assembled, Flow, Match, changed
from controller.rules.state import State
from controller.rules.tables import Table
from controller.southbound.reconcile import AddFlow, DeleteFlows, difference
from controller.stages import stages
from tests.unit.intents import attach, intent, peer, vpc
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

SUBNETS = 4
FABRIC = expand(FabricSpec(leaves=4, spines=2, hosts_per_leaf=SUBNETS, probes=False))
PINNED = expand(FABRIC.spec.model_copy(update={"paths": "pinned"}))


def one_vpc(fabric: Fabric = FABRIC, subnets: int = SUBNETS, moved: str = "", left: str = "") -> Intent:
    """All hosts dealt over the subnets of one VPC, but `left`; `moved` is in the next one."""
    return intent(vpc("v", {f"s{k}": f"10.1.{k}.0/24" for k in range(subnets)}),
                  *(attach(h.name, f"v/s{(n + (h.name == moved)) % subnets}") for n, h in enumerate(fabric.hosts)
                    if h.name != left))


def compiled(wanted: Intent, fabric: Fabric = FABRIC, before: Allocation = Allocation(),    # noqa: B008 - frozen
             previous: Compiler | None = None) -> tuple[Compiler, Allocation]:
    allocation = allocate(wanted, before)
    return Compiler(fabric, resolve(wanted, fabric, allocation), previous=previous), allocation


def of_table(compiler: Compiler, table: Table, leaf: str = "leaf1") -> list[Flow]:
    return [f for f in compiler.rules(State())[leaf].flows if f.table == table]


def test_routes_are_as_many_as_hosts_and_permits_as_pairs_of_subnets() -> None:
    hosts = len(FABRIC.hosts)
    for subnets in (1, 2, SUBNETS):
        compiler, _ = compiled(one_vpc(subnets=subnets))
        assert sum(f.name.startswith("route:") for f in of_table(compiler, Table.ROUTE)) == hosts
        assert sum(f.name.startswith("permit:") for f in of_table(compiler, Table.POLICY)) == subnets ** 2


def test_a_hosts_rules_are_the_same_objects_on_all_leaves_but_its_own() -> None:
    for fabric in (FABRIC, PINNED):
        compiler, _ = compiled(one_vpc(fabric), fabric)
        rules = compiler.rules(State())
        for name in ("arp:v/s0:10.1.0.2", "bridge:v/s0:10.1.0.2", "route:v:10.1.0.2/32"):    # h1's, on leaf1
            found = [{id(f) for f in rules[leaf].steady if f.name == name and f.table != Table.DELIVER}
                     for leaf in ("leaf2", "leaf3", "leaf4")]
            assert len(found[0]) == 1
            assert all(a == b for a, b in pairwise(found))


def test_a_moved_host_changes_its_own_rules_and_makes_no_other_one_anew() -> None:
    """Of 16 hosts one goes to another subnet: everybody else keeps addresses and routes."""
    before, allocation = compiled(one_vpc())
    after, _ = compiled(one_vpc(moved="h1"), before=allocation, previous=before)
    old, new = before.rules(State()), after.rules(State())
    for leaf in ("leaf2", "leaf3", "leaf4"):
        known = {id(f) for f in old[leaf].steady}
        fresh = [f for f in new[leaf].steady if id(f) not in known]
        assert {f.table for f in fresh} == {Table.ARP, Table.BRIDGE, Table.ROUTE}
        assert len(fresh) == 3
        changes = difference(old[leaf], new[leaf])
        assert sum(isinstance(c, AddFlow) for c in changes) == sum(isinstance(c, DeleteFlows) for c in changes) == 3


def test_who_leaves_the_flat_network_takes_only_his_own_rules_along() -> None:
    before, allocation = compiled(one_vpc(left="h16"))
    after, _ = compiled(one_vpc(), before=allocation, previous=before)
    known = {id(f) for f in before.rules(State())["leaf1"].steady}
    fresh = {f.name for f in after.rules(State())["leaf1"].steady if id(f) not in known}
    assert {name.split(":")[0] for name in fresh} == {"arp", "bridge", "route"}
    assert len(fresh) == 3


def test_step_by_step_is_as_good_as_anew() -> None:
    """The compiler that took over what had stayed has the rules of one that began from nothing."""
    steps = [one_vpc(), one_vpc(moved="h3"), one_vpc(left="h7"), one_vpc(subnets=2),
             intent(*(o.model_dump() for o in one_vpc().objects), vpc("w", {"z": {"subnet": "10.2.0.0/24"}}),
                    peer(v=["s1"], w=[]))]
    previous, allocation = compiled(steps[0])
    for wanted in steps[1:]:
        fresh, _ = compiled(wanted, before=allocation)
        previous, allocation = compiled(wanted, before=allocation, previous=previous)
        for down in (frozenset[str](), frozenset({"leaf2-spine1", "leaf2-spine2"})):
            one, other = previous.rules(State(down)), fresh.rules(State(down))
            assert all({f.cookie for f in one[s].flows} == {f.cookie for f in other[s].flows} for s in one)


def test_on_the_way_a_switch_holds_one_rule_for_each_place_and_none_is_missing() -> None:
    before, allocation = compiled(one_vpc())
    restricted = intent(vpc("v", {f"s{k}": {"subnet": f"10.1.{k}.0/24", "restricted": True} for k in range(SUBNETS)}),
                        *(attach(h.name, f"v/s{n % SUBNETS}") for n, h in enumerate(FABRIC.hosts)))
    after, _ = compiled(restricted, before=allocation, previous=before)
    _, sending, last = (stage.rules(State()) for stage in stages(before, after))
    for switch, rules in sending.items():
        places = {(f.table, f.priority, f.match) for f in rules.flows}
        assert len(places) == len(rules.flows)
        for end in (before.rules(State()), last):
            assert places >= {(f.table, f.priority, f.match) for f in end[switch].flows}
        assert {f.cookie for f in rules.flows} >= {f.cookie for f in last[switch].flows}


def test_what_has_changed_is_found_by_what_rules_say_where_objects_differ() -> None:
    one, other = Flow("a", 0, 1, Match()), Flow("b", 0, 2, Match())
    same, third = Flow("a", 0, 1, Match()), Flow("c", 0, 3, Match())
    kept = (other,)
    assert changed([(one,), kept], [kept, (same, third)]) == ([], [third])
    assert changed([(one, third)], [()]) == ([one, third], [])
    whole = Assembled([kept, (third,)])
    assert (tuple(whole), whole.parts) == ((other, third), (kept, (third,)))
