"""What the engine is told of a fabric, and what it is not asked for."""

from __future__ import annotations

import pytest

from topologies.model.disciplines import FqCodelQueue, RedQueue
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.spec import ClassSpec, FabricSpec, LinkOverride
from topologies.switches.engine.attach import attachment
from topologies.switches.engine.config import MOST_POOL, config_lines, pool
from topologies.switches.engine.layout import layout_of
from topologies.switches.engine.queues import limit_lines, share_lines
from topologies.switches.engine.refused import refused

SPEC: dict[str, object] = {"name": "w", "leaves": 1, "spines": 1, "hosts_per_leaf": 1, "host_rate": "10mbit",
                           "uplink_rate": "20mbit", "queue": "60kB", "uplink_queue": "90kB", "probes": False,
                           "datapath": "engine"}
CLASSES = {"gold": ClassSpec(dscp=10, min="50%"), "bulk": ClassSpec(dscp=20, min="10%", max="30%")}
GB = 10**9


def spec(**keys: object) -> Fabric:
    return expand(FabricSpec.model_validate(SPEC | keys))


def lines(fabric: Fabric) -> list[str]:
    return list(config_lines(fabric, {n.name: f"t-{n.name}" for n in fabric.nodes}, 4 * GB, 1, 7))


def test_the_whole_configuration_of_a_small_fabric() -> None:
    assert lines(spec()) == [
        "option pool=5000 seed=7 cpu=1",
        "switch leaf1", "switch spine1",
        "host h1 netns=/run/netns/t-h1 device=h1-eth0 mac=02:00:0a:09:01:01 mtu=1500 attach=calm ring=206",
        "link h1-leaf1 h1:0 leaf1:101 rate=10000000",
        "link leaf1-spine1 leaf1:1 spine1:1 rate=20000000",
        "dscp 63 queue=7",
        "queue h1->leaf1 0 limit=4000000", "queue h1->leaf1 7 limit=4000000",
        "queue leaf1->h1 0 limit=60000", "queue leaf1->h1 7 limit=60000",
        "queue leaf1->spine1 0 limit=90000", "queue leaf1->spine1 7 limit=100000 beside=1",
        "queue spine1->leaf1 0 limit=90000", "queue spine1->leaf1 7 limit=100000 beside=1",
        "vtep leaf1 10.255.0.1 02:ff:00:00:00:01", "vtep leaf1 10.255.1.1 02:ff:00:00:00:01"]


def test_delay_loss_and_reordering_are_the_links() -> None:
    fabric = spec(links={"leaf1-spine1": LinkOverride(delay="10ms", jitter="1ms", loss="0.1%", reorder="5%")})
    assert ("link leaf1-spine1 leaf1:1 spine1:1 rate=20000000 delay=10000000 jitter=1000000 loss=0.001 reorder=0.05"
            in lines(fabric))


def test_classes_have_queues_in_their_order_and_the_rest_what_their_minima_leave() -> None:
    made = lines(spec(classes=CLASSES))
    assert [line for line in made if line.startswith(("dscp", "queue leaf1->h1"))] == [
        "dscp 10 queue=1", "dscp 20 queue=2", "dscp 63 queue=7",
        "queue leaf1->h1 0 limit=60000 min=0.4 max=0", "queue leaf1->h1 1 limit=60000 min=0.5 max=0",
        "queue leaf1->h1 2 limit=60000 min=0.1 max=0.3", "queue leaf1->h1 7 limit=60000"]


def test_new_shares_are_told_to_every_direction() -> None:
    fabric = spec(classes=CLASSES)
    told = list(share_lines(fabric, CLASSES | {"gold": ClassSpec(dscp=10, min="20%", max="50%")}))
    assert len(told) == 3 * 4
    assert "queue leaf1->spine1 1 min=0.2 max=0.5" in told
    assert "queue leaf1->spine1 0 min=0.7 max=0" in told


def test_a_new_length_is_not_that_of_the_hosts_own_queue() -> None:
    fabric = spec()
    assert list(limit_lines(fabric, fabric.link("h1-leaf1"), 5000)) == [
        "queue leaf1->h1 0 limit=5000", "queue leaf1->h1 7 limit=5000"]


@pytest.mark.parametrize(("least", "most", "pmax"), [("15kB", "15kB", "1"), ("15kB", "30kB", "0.1")])
def test_marks_go_by_the_queue_of_the_moment(least: str, most: str, pmax: str) -> None:
    fabric = spec(queue=RedQueue(bytes=60_000, min=least, max=most, ecn=True))
    kmax = 15_000 if least == most else 30_000
    assert f"queue leaf1->h1 0 limit=60000 kmin=15000 kmax={kmax} pmax={pmax}" in lines(fabric)
    assert list(refused(fabric)) == []


@pytest.mark.parametrize("queue", [RedQueue(bytes=60_000, min="1500B", max="3kB"), FqCodelQueue(bytes=60_000)])
def test_a_discipline_that_the_engine_does_not_have_is_refused_once(queue: object) -> None:
    (first,) = refused(spec(queue=queue))
    assert "queue of h1-leaf1" in first.where


def test_more_classes_than_queues_are_refused_by_their_key() -> None:
    many = {f"c{n}": ClassSpec(dscp=n + 1, min="1%") for n in range(7)}
    (first,) = refused(spec(classes=many))
    assert "classes" in first.where


def test_a_router_with_a_vtep_is_a_host_for_each_of_its_links_and_speaks_vxlan() -> None:
    fabric = expand(FabricSpec.model_validate({
        "spines": 2, "datapath": "engine", "bgp": {"peers": {"frr1": {"router": "frr", "asn": 65001, "vtep": {
            "hosts": {"far1": {"vni": 10010, "address": "10.20.0.9/24", "gateway": "10.20.0.1"}}}}}}}))
    layout = layout_of(fabric)
    assert layout.hosts[-2:] == ("frr1.up1", "frr1.up2")
    number = layout.directions.index("frr1->spine2")
    assert layout.engine[number] == "frr1.up2->spine2"
    made = lines(fabric)
    assert any(line.startswith("host frr1.up2 netns=/run/netns/t-frr1 device=up2") and line.endswith("encapsulated=1")
               for line in made)
    assert any(" frr1.up2:0 spine2:" in line for line in made if line.startswith("link frr1-spine2"))


def test_hosts_are_calm_until_their_rates_together_are_too_many_timers() -> None:
    assert attachment(spec(hosts_per_leaf=8, host_rate="50mbit")) == "calm"
    assert attachment(spec(hosts_per_leaf=8, host_rate="51mbit")) == "fast"
    assert attachment(spec(hosts_per_leaf=8, host_rate="51mbit", classes=CLASSES)) == "calm"


def test_the_pool_holds_what_delays_and_queues_hold_as_far_as_memory_goes() -> None:
    fabric = expand(load_fabric("wide32", ["delay=100ms", "host_rate=100mbit"]))
    assert pool(fabric, 64 * GB) == MOST_POOL
    assert pool(fabric, GB // 10) < 20_000
