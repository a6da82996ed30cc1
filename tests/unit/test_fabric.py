"""A spec expands to one fabric: names, addresses, ports, links."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from topologies.model.errors import SpecError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec


def fabric(**keys: object) -> Fabric:
    return expand(FabricSpec.model_validate(keys))


SPECS = st.fixed_dictionaries({
    "leaves": st.integers(1, 6), "spines": st.integers(1, 5), "hosts_per_leaf": st.integers(1, 12),
    "probes": st.booleans(), "subnet": st.sampled_from(["10.9.0.0/16", "192.168.0.0/23", "172.16.0.0/12"]),
    "border": st.none() | st.fixed_dictionaries({"hosts": st.integers(1, 5), "rate": st.just("10mbit")})})


@examples(40)
@given(SPECS)
def test_no_name_address_or_port_is_given_twice(keys: dict[str, object]) -> None:
    f = fabric(**keys)
    assert len({n.name for n in f.nodes}) == len(f.nodes)
    for values in ([n.ip for n in f.all_hosts], [n.mac for n in f.nodes if n.mac],
                   [n.dpid for n in f.switches], [v for leaf in f.leaves for v in (leaf.ip, *leaf.aliases)]):
        assert len(set(values)) == len(values)
    ends = [e for k in f.links for e in (k.a, k.b)]
    assert len({e.interface for e in ends}) == len(ends)
    assert all(len(e.interface) <= 15 for e in ends)
    numbered = [(e.node, e.ofport) for e in ends if e.ofport]
    assert len(set(numbered)) == len(numbered)


@examples(40)
@given(SPECS)
def test_every_leaf_reaches_every_other_by_every_spine(keys: dict[str, object]) -> None:
    f = fabric(**keys)
    for leaf in f.leaves:
        assert [k.far(leaf.name).node for k in f.uplinks(leaf.name)] == [s.name for s in f.spines]
    assert nx.is_connected(f.graph)
    assert all(f.graph.degree(h.name) == 1 for h in f.all_hosts)


@examples(40)
@given(SPECS)
def test_a_fabric_survives_json(keys: dict[str, object]) -> None:
    f = fabric(**keys)
    assert Fabric.model_validate_json(f.model_dump_json()) == f


def test_addresses_tell_the_leaf_in_a_16() -> None:
    f = fabric()
    assert f.node("h5").ip == "10.9.2.1"
    assert f.node("h5").mac == "02:00:0a:09:02:01"
    assert f.node("leaf2").ip == "10.255.0.2"
    assert f.node("leaf2").aliases == ("10.255.1.2", "10.255.2.2")


def test_a_small_subnet_is_filled_up_to_its_last_address() -> None:
    f = fabric(leaves=1, hosts_per_leaf=13, probes=False, subnet="10.9.0.0/28")
    assert [h.ip for h in f.hosts] == [f"10.9.0.{n}" for n in range(2, 15)]


def test_uplinks_are_non_blocking_after_encapsulation_by_default() -> None:
    for border in (None, {"hosts": 3, "rate": "40mbit"}):
        f = fabric(border=border)
        assert all(0.9 < f.oversubscription(leaf.name) <= 1.0 for leaf in f.leaves)


@pytest.mark.parametrize("ratio", [0.5, 1, 2, 7.5])
def test_oversubscription_is_what_was_asked_for_after_encapsulation(ratio: float) -> None:
    f = fabric(oversubscription=ratio)
    assert f.oversubscription("leaf1") == pytest.approx(ratio)
    assert f.oversubscription("leaf2") == pytest.approx(ratio)


def test_oversubscription_counts_the_50_bytes_of_vxlan_and_no_probe() -> None:
    f = fabric(host_rate="10mbit", uplink_rate="20mbit")        # 4 x 10 over 2 x 20 without headers
    assert f.oversubscription() == pytest.approx(1564 / 1514)


def test_a_link_override_changes_that_link_alone() -> None:
    plain, changed = fabric(), fabric(links={"leaf1-spine2": {"rate": "1mbit", "queue": "3packets", "delay": "2ms"}})
    link = changed.link("leaf1-spine2")
    assert (link.rate, link.queue, link.delay) == (1e6, 3 * link.max_frame, 2e-3)
    others = [k for k in changed.links if k.name != link.name]
    assert others == [k for k in plain.links if k.name != link.name]


def test_a_link_is_found_by_either_end_and_by_direction() -> None:
    f = fabric()
    names = ("leaf1-spine2", "spine2-leaf1", "leaf1->spine2", "spine2->leaf1")
    assert {f.link(n).name for n in names} == {"leaf1-spine2"}
    assert f.link("leaf1-spine2").directions == ("leaf1->spine2", "spine2->leaf1")


def test_the_fabric_mtu_has_room_for_the_tunnel() -> None:
    f = fabric(mtu=9000)
    assert f.access_link("h1").mtu == 9000
    assert all(k.mtu >= 9050 for k in f.uplinks("leaf1"))


def test_racks_name_the_hosts() -> None:
    f = fabric(racks={"leaf1": ["a"], "leaf2": ["b", "c"]})
    assert [(h.name, h.leaf) for h in f.hosts] == [("a", "leaf1"), ("b", "leaf2"), ("c", "leaf2")]


@pytest.mark.parametrize(("call", "expected"), [
    (lambda f: f.node("h99"), "the name of a host or a switch"),
    (lambda f: f.host("leaf1"), "the name of a host"),
    (lambda f: f.link("h1-h2"), "the name of a link"),
])
def test_what_the_fabric_lacks_is_an_error_that_names_it(call: object, expected: str) -> None:
    with pytest.raises(SpecError) as info:
        call(fabric())  # type: ignore[operator]
    assert info.value.expected.startswith(expected)


def test_an_override_of_a_link_that_is_none_is_an_error() -> None:
    with pytest.raises(SpecError, match="leaf9-spine1"):
        fabric(links={"leaf9-spine1": {"rate": "1mbit"}})
