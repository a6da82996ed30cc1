"""What tc gets for a wire: rates, queues, bursts and who may use the sentinel's class."""

from __future__ import annotations

import pytest

from topologies.links.htb import wires
from topologies.model.addressing import VXLAN_OVERHEAD
from topologies.model.disciplines import FifoQueue
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec, LinkOverride

FABRIC = expand(FabricSpec(name="w", leaves=2, spines=1, hosts_per_leaf=1, host_rate="10mbit", uplink_rate="20mbit",
                           queue=FifoQueue(bytes=60_000), uplink_queue=FifoQueue(bytes=90_000)))


def _inventory(fabric: Fabric) -> Inventory:
    return Inventory(lab="t", directory="/nowhere", fabric=fabric, netns={n.name: f"t-{n.name}" for n in fabric.nodes},
                     wiring="t.wires", wires=wires.devices(fabric), switches={}, datapath="ovs",
                     controller_socket="", api_socket="")


def test_every_direction_has_one_queue_and_no_two_share_a_device() -> None:
    found = wires.queues(_inventory(FABRIC))
    assert [q.direction for q in found] == [d for k in FABRIC.links for d in k.directions]
    assert len({(q.netns, q.device) for q in found}) == len(found)


def test_a_hosts_own_direction_is_queued_at_the_host_and_the_others_in_the_wire() -> None:
    found = {q.direction: q for q in wires.queues(_inventory(FABRIC))}
    own, back, up = found["h1->leaf1"], found["leaf1->h1"], found["leaf1->spine1"]
    assert (own.netns, own.device, own.limit, own.rate) == ("t-h1", "h1-eth0", wires.HOST_QUEUE, 10e6)
    assert (back.netns, back.limit, back.rate) == ("t.wires", 60_000, 10e6)
    assert (up.netns, up.limit, up.rate) == ("t.wires", 90_000, 20e6)


def test_each_shaped_device_is_what_the_queues_say() -> None:
    """The lines for tc and the list that the counters are read by must be of one mind."""
    lines = list(wires.wire_lines(FABRIC))
    for queue in wires.queues(_inventory(FABRIC)):
        mine = lines if queue.netns == "t.wires" else wires.host_lines(FABRIC, queue.direction.split("->")[0])
        assert f"qdisc add dev {queue.device} parent 1:10 handle 10: bfifo limit {queue.limit}" in mine
        (rate,) = [x for x in mine if x.startswith(f"class add dev {queue.device} parent 1: classid 1:10 ")]
        assert f"rate {queue.rate:.0f}bit ceil {queue.rate:.0f}bit" in rate


def test_both_ends_of_a_wire_are_redirected_into_each_other() -> None:
    lines = list(wires.wire_lines(FABRIC))
    for pair in wires.devices(FABRIC).values():
        for here, there in ((pair.a, pair.b), (pair.b, pair.a)):
            (redirect,) = [x for x in lines if x.startswith(f"filter add dev {here} parent ffff:")]
            assert redirect.endswith(f"mirred egress redirect dev {there}")


def test_where_asked_a_hosts_frames_go_on_as_copies_that_no_socket_owns() -> None:
    own = wires.devices(FABRIC)
    for line in wires.wire_lines(FABRIC, disowned=True):
        if " parent ffff: " not in line:
            continue
        name, pair = next((n, p) for n, p in own.items() if line.split()[3] in (p.a, p.b))
        from_a_host = FABRIC.link(name).kind == "access" and line.split()[3] == pair.a
        assert ("mirror" in line and line.endswith("action drop")) == from_a_host, line


@pytest.mark.parametrize(("rate", "expected"), [(1e6, "frames"), (10e6, "frames"), (100e6, 12_500)])
def test_a_burst_is_two_outer_frames_or_a_millisecond(rate: float, expected: int | str) -> None:
    link = FABRIC.link("h1-leaf1")
    frames = 2 * (link.max_frame + VXLAN_OVERHEAD)
    assert wires.burst(link, rate) == (frames if expected == "frames" else expected)


def test_only_probes_and_fabric_links_have_the_sentinels_class() -> None:
    assert not any("classid 1:5" in line for line in wires.host_lines(FABRIC, "h1"))
    assert any("classid 1:5" in line for line in wires.host_lines(FABRIC, "probe1"))
    found = {q.device: q.direction for q in wires.queues(_inventory(FABRIC)) if q.netns == "t.wires"}
    classes = {found[line.split()[3]] for line in wires.wire_lines(FABRIC) if "classid 1:5" in line}
    assert classes == {"leaf1->probe1", "leaf2->probe2", "leaf1->spine1", "spine1->leaf1", "leaf2->spine1",
                       "spine1->leaf2"}


def test_a_delay_stands_before_the_queue_in_both_directions() -> None:
    fabric = expand(FabricSpec(name="d", leaves=1, spines=1, hosts_per_leaf=1, probes=False,
                               links={"h1-leaf1": LinkOverride(delay="5ms")}))
    lines = list(wires.wire_lines(fabric))
    for device in ("w0a", "w0b"):
        assert f"qdisc add dev {device} parent 1:10 handle 2: netem delay 5000us limit {wires.NETEM_LIMIT}" in lines
        assert any(x.startswith(f"qdisc add dev {device} parent 2:1 handle 10: bfifo") for x in lines)
    assert not any("netem" in x and "w1" in x for x in lines)


def test_device_names_fit_an_interface_however_many_links() -> None:
    big = expand(FabricSpec(name="big", leaves=16, spines=8, hosts_per_leaf=32))
    names = [n for pair in wires.devices(big).values() for n in (pair.a, pair.b)]
    assert len(set(names)) == len(names) == 2 * len(big.links)
    assert max(map(len, names)) <= 15
