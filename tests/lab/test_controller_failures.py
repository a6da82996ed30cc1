"""Pinned paths and dead switches on real switches: which uplink carries what, and what recovers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scenarios.run.vpcs import apply_intent
from tests.lab.bgp_lab import ping
from tests.lab.controller_lab import TIMEOUT, Lab
from tests.unit.intents import attach, external, external_attach, external_peer, intent, vpc
from topologies.lab.network import running
from topologies.links.htb import wires
from topologies.model.spec import FabricSpec
from topologies.switches.ovs import restart

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", params=["hash", "pinned"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One fabric a policy; each test leaves it whole."""
    spec = FabricSpec(name=f"fail-{request.param}", leaves=2, spines=2, hosts_per_leaf=2, paths=request.param)
    with running(spec) as net:
        lab = Lab(net)
        lab.start()
        try:
            yield lab
        finally:
            lab.kill()


def uplink_packets(lab: Lab, leaf: str) -> Counter[int]:
    """Uplink -> packets that the leaf's groups have sent over it."""
    groups = lab.client.counters()["switches"][leaf]["groups"]
    return Counter({b["port"]: 0 for g in groups for b in g["buckets"]}) + Counter(
        {port: sum(b["packets"] for g in groups for b in g["buckets"] if b["port"] == port) for port in (1, 2)})


def used(lab: Lab, source: str, target: str) -> set[int]:
    """Uplinks of the source's leaf that 64 flows take. Fails if one does not arrive."""
    leaf = lab.fabric.host(source).leaf
    before = uplink_packets(lab, leaf)
    assert lab.arrives(source, target, count=64)
    sent = uplink_packets(lab, leaf) - before
    assert sum(sent.values()) == 64
    return set(sent)


def dead_links(spine: str) -> set[str]:
    return {f"leaf1-{spine}", f"leaf2-{spine}"}


@contextmanager
def killed(lab: Lab, spine: str) -> Iterator[None]:
    """A spine whose vswitchd is killed; afterwards another one runs in its place."""
    restart.kill(lab.net.inventory, spine)
    try:
        yield
    finally:
        restart.start_again(lab.net.inventory, spine)


def test_a_hosts_64_flows_take_one_uplink_where_pinned_and_both_where_hashed(lab: Lab) -> None:
    pinned = lab.fabric.spec.paths == "pinned"
    assert used(lab, "h1", "h3") == ({1} if pinned else {1, 2})
    assert used(lab, "h2", "h3") == ({2} if pinned else {1, 2})
    assert used(lab, "h4", "h1") == ({2} if pinned else {1, 2})


@pytest.mark.parametrize("link", ["leaf1-spine1", "leaf2-spine1"])
def test_flows_leave_a_dead_link_and_return_to_the_same_rules_after_its_repair(lab: Lab, link: str) -> None:
    before, usual = lab.installed(), used(lab, "h1", "h3")
    wires.set_state(lab.net.inventory, link, up=False)
    try:
        lab.client.wait_converged(TIMEOUT, down=frozenset({link}))
        assert used(lab, "h1", "h3") == {2}
    finally:
        wires.set_state(lab.net.inventory, link, up=True)
    lab.client.wait_converged(TIMEOUT, down=frozenset())
    assert lab.installed() == before
    assert used(lab, "h1", "h3") == usual


def test_without_a_controller_the_switch_itself_leaves_its_dead_uplink(lab: Lab) -> None:
    lab.kill()
    wires.set_state(lab.net.inventory, "leaf1-spine1", up=False)
    try:
        deadline = time.monotonic() + TIMEOUT
        while not lab.arrives("h1", "h3", count=64):
            assert time.monotonic() < deadline, "flows still go to the dead uplink"
    finally:
        wires.set_state(lab.net.inventory, "leaf1-spine1", up=True)
        lab.start()


def test_all_pairs_recover_from_a_killed_spine_and_use_it_again_when_it_is_back(lab: Lab) -> None:
    before = lab.installed()
    with killed(lab, "spine1"):
        lab.wait_down(dead_links("spine1"))
        assert lab.unreached() == []
        assert used(lab, "h1", "h3") == {2}
        assert lab.client.health()["switches"]["spine1"]["connected"] is False
    lab.client.wait_converged(TIMEOUT, down=frozenset())
    assert lab.installed() == before
    assert lab.unreached() == []
    assert 1 in used(lab, "h1", "h3")


def test_the_death_of_a_switchs_second_process_is_noticed_like_that_of_its_first(lab: Lab) -> None:
    for _ in range(2):
        with killed(lab, "spine2"):
            lab.wait_down(dead_links("spine2"))
            assert used(lab, "h2", "h3") == {1}
        lab.client.wait_converged(TIMEOUT, down=frozenset())
    assert 2 in used(lab, "h2", "h3")


def test_a_controller_that_starts_beside_a_dead_spine_sends_nothing_there(lab: Lab) -> None:
    with killed(lab, "spine1"):
        lab.kill()
        lab.spawn()
        lab.wait_down(dead_links("spine1"))
        assert lab.unreached() == []
    lab.client.wait_converged(TIMEOUT, down=frozenset())


def test_a_border_that_is_cut_off_takes_nothing_from_hosts_of_the_fabric() -> None:
    """Its default route has a drop in its place, which must not stand before the routes to hosts."""
    spec = FabricSpec.model_validate({"name": "cut", "leaves": 2, "spines": 2, "hosts_per_leaf": 2, "probes": False,
                                      "border": {"hosts": 1, "rate": "10mbit"}})
    links = ["border1-spine1", "border1-spine2"]
    with running(spec) as net:
        lab = Lab(net)
        lab.start()
        try:
            apply_intent(net.inventory, intent(
                vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"}), external("inet", "0.0.0.0/0"),
                external_attach("inet", "ext1", "203.0.113.1/30", "203.0.113.2"),
                external_peer("a", [], "inet", "0.0.0.0/0"),
                attach("h1", "a/x"), attach("h2", "a/y"), attach("h3", "a/y"), attach("h4", "a/x")))
            addresses = {host: place["ip"] for host, place in lab.client.intent()["hosts"].items()}
            assert ping(lab, "h1", addresses["ext1"])
            for link in links:
                wires.set_state(net.inventory, link, up=False)
            lab.wait_down(links)
            for source, target in (("h1", "h2"), ("h1", "h3"), ("h1", "h4"), ("h2", "h3")):
                assert ping(lab, source, addresses[target]), (source, target)
            was = lab.drops("no-path:border1")
            assert not ping(lab, "h1", addresses["ext1"])
            assert lab.drops("no-path:border1") > was
            for link in links:
                wires.set_state(net.inventory, link, up=True)
            lab.wait_down([])
            assert ping(lab, "h1", addresses["ext1"])
        finally:
            lab.kill()
