"""Weighted paths: a path gets the part of the flows that its rate deserves, and only the flows that must move do."""

from __future__ import annotations

from collections import Counter

import pytest

from controller.rules.compile import Compiler, compile_rules
from controller.rules.rules import ETH_IPV4, UDP
from controller.rules.state import LinkState, State
from controller.verify.walk import Delivered, Packet, Walker
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(leaves=2, spines=4, hosts_per_leaf=2, paths="weighted"))
COMPILER = Compiler(FABRIC)
FLOWS = 600
UPLINK = FABRIC.links_by_name["leaf1-spine3"].rate
QUARTER = State(rates=frozenset({("leaf1-spine3", UPLINK / 4)}))


def udp(fabric: Fabric, source: str, target: str, port: int) -> Packet:
    a, b = fabric.host(source), fabric.host(target)
    return {"eth_src": a.mac, "eth_dst": b.mac, "eth_type": ETH_IPV4, "ip_proto": UDP, "ip_dscp": 0,
            "ipv4_src": a.ip, "ipv4_dst": b.ip, "udp_src": port, "udp_dst": 9000}


def spines(state: State, source: str = "h1", target: str = "h3") -> list[str]:
    """The spine of each flow; fails if one does not arrive."""
    walker = Walker(FABRIC, COMPILER.rules(state), state.down)
    found = []
    for n in range(FLOWS):
        walk = walker.send(source, udp(FABRIC, source, target, 5000 + n))
        assert isinstance(walk.end, Delivered)
        found.append(walk.links[1].split("-")[1])
    return found


def test_equal_paths_get_equal_parts() -> None:
    assert sorted(Counter(spines(State())).values())[0] > FLOWS / 4 * 0.75
    buckets = compile_rules(FABRIC)["leaf1"].groups[0].buckets
    assert Counter(b.watch_port for b in buckets) == {1: 16, 2: 16, 3: 16, 4: 16}
    assert len({b.id for b in buckets}) == len(buckets)


@pytest.mark.parametrize("link", ["leaf1-spine3", "leaf2-spine3"])
def test_a_path_with_a_quarter_of_the_rate_gets_a_quarter_of_the_others_part_at_whichever_end(link: str) -> None:
    state = State(rates=frozenset({(link, UPLINK / 4)}))
    assert Counter(spines(state))["spine3"] == pytest.approx(FLOWS / 13, rel=0.35)
    buckets = COMPILER.rules(state)["leaf1"].groups[0].buckets
    assert Counter(b.watch_port for b in buckets) == {1: 16, 2: 16, 3: 4, 4: 16}


@pytest.mark.large
def test_only_flows_of_the_slower_path_move_and_they_come_back() -> None:
    before, after = spines(State()), spines(QUARTER)
    moved = [(was, now) for was, now in zip(before, after, strict=True) if was != now]
    assert moved
    assert {was for was, _ in moved} == {"spine3"}
    assert len({now for _, now in moved}) == 3, "to all others, not to a neighbour"
    assert spines(State()) == before


def test_a_path_that_is_hardly_there_still_carries_something_and_a_dead_one_nothing() -> None:
    crawl = State(rates=frozenset({("leaf1-spine3", UPLINK / 1000)}))
    assert Counter(b.watch_port for b in COMPILER.rules(crawl)["leaf1"].groups[0].buckets)[3] == 1
    assert "spine3" not in spines(State(frozenset({"leaf1-spine3"}), QUARTER.rates))


def test_rates_matter_only_where_paths_are_weighted() -> None:
    hashed = Compiler(expand(FABRIC.spec.model_copy(update={"paths": "hash"})))
    assert hashed.rules(QUARTER)["leaf1"].groups == hashed.rules(State())["leaf1"].groups


def test_links_with_another_rate_are_reported_once_and_forgotten_when_they_are_named_no_more() -> None:
    links = LinkState(FABRIC)
    assert links.set_rates({"leaf1-spine3": 1e6})
    assert not links.set_rates({"leaf1-spine3": 1e6})
    assert links.state == State(rates=frozenset({("leaf1-spine3", 1e6)}))
    assert links.set_rates({})
    assert links.state == State()
