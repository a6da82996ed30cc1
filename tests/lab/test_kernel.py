"""What a kernel with all modules adds: its own datapath, links that lose and delay, queues that mark.

A machine whose kernel lacks a module skips what needs it; the lab VM has them all (`make vm-test`).
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from scenarios.run.lab import Lab, lab
from tests.lab.fabric_lab import PAYLOAD, PORT, accounting, burst, udp, warm_neighbours
from topologies.access.netns import inside
from topologies.lab.host_limits import has_module
from topologies.lab.shell import tc_batch
from topologies.model.spec import FabricSpec
from topologies.proof.audit import audit
from topologies.proof.counters import wait_quiet
from traffic.transports.udp.wire import SO_RCVBUFFORCE

pytestmark = pytest.mark.lab
ECT, CE, MASK = 0x02, 0x03, 0x03    # RFC 3168: the two low bits of the TOS byte


def need(module: str) -> Callable[..., pytest.MarkDecorator]:
    return pytest.mark.skipif(not has_module(module), reason=f"this kernel has no {module}")


def spec(**keys: object) -> FabricSpec:
    """Slow links and no probes: an emulated processor has to be able to fill the queues."""
    return FabricSpec.model_validate({"name": "kernel", "leaves": 2, "spines": 1, "hosts_per_leaf": 2,
                                      "host_rate": "2mbit", "queue": "40packets", "probes": False, **keys})


@pytest.fixture(scope="module")
def kernel_lab() -> Iterator[Lab]:
    """Two leaves and two spines on the kernel's datapath. Leave it as you found it."""
    with lab(spec(datapath="ovs-kernel", spines=2)) as it:
        yield it


@need("openvswitch")
def test_an_incast_on_the_kernels_datapath_loses_what_the_ledger_names(kernel_lab: Lab) -> None:
    it, sources = kernel_lab, ["h2", "h3", "h4"]
    assert it.inventory.datapath == "ovs-kernel"
    warm_neighbours(it, [(s, "h1") for s in sources])
    for _ in range(3):
        with accounting(it) as kept:
            sent, received = burst(it, sources, "h1", 150)
        ledger = kept.ledger
        assert ledger.balances, ledger
        assert sent - received == sum(ledger.queue_drops.values()) > 0
        assert (ledger.policy_drops, ledger.emulator_drops, ledger.receive_errors) == ({}, {}, {})
    assert audit(it.inventory) == []


@need("openvswitch")
def test_full_tcp_frames_cross_the_kernels_tunnel(kernel_lab: Lab) -> None:
    h1, h3 = kernel_lab.net.get("h1"), kernel_lab.net.get("h3")
    h3.cmd("iperf3 -s -1 -D")
    with accounting(kernel_lab) as kept:
        said = h1.cmd(f"sleep 1; iperf3 -c {h3.IP()} -n 500K")
    assert "iperf Done" in said
    assert kept.ledger.balances, kept.ledger


@pytest.mark.parametrize(("source", "slow"), [("h2", "h1-leaf1"), ("h3", "h1-leaf1"), ("h3", "leaf1-spine1")],
                         ids=["behind the sender's leaf", "behind the tunnel", "inside the tunnel"])
@pytest.mark.parametrize("datapath", ["ovs", "ovs-kernel"])
def test_a_flow_through_a_slow_link_fills_its_queue(datapath: str, source: str, slow: str) -> None:
    """A socket must not know of a queue hops away: Linux counts a frame as the sender's own until somebody takes the
    owner off it, and TCP keeps no more than a few of its own outstanding (tcp_limit_output_bytes, sk_pacing_shift).
    With the owner on, three frames wait where forty have room, and none is ever dropped. What slow start does is left
    out: its bursts may overrun a queue that is empty otherwise."""
    if not has_module("openvswitch") and datapath == "ovs-kernel":
        pytest.skip("this kernel has no openvswitch")
    with lab(spec(datapath=datapath, host_rate="20mbit", links={slow: {"rate": "5mbit"}})) as it:
        warm_neighbours(it, [(source, "h1")])
        with _connection(it, source, "h1") as send:
            send(SLOW_START)
            with accounting(it) as kept:
                send(LONG)
    assert kept.ledger.balances, kept.ledger
    queue = "leaf1->h1" if slow == "h1-leaf1" else "spine1->leaf1"
    assert set(kept.ledger.queue_drops) == {queue}, kept.ledger


SLOW_START, LONG = 2_000_000, 6_000_000     # 3 and 10 s of 5 Mbit/s: cubic fills forty packets in two to four


@contextmanager
def _connection(it: Lab, source: str, target: str) -> Iterator[Callable[[int], None]]:
    """A TCP connection of two hosts: send so many bytes, until they have arrived."""
    with inside(it.inventory.netns_path(target)):
        listener = socket.create_server((it.fabric.host(target).ip, PORT))
    with inside(it.inventory.netns_path(source)):
        sender = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # The machine's default may be one that keeps queues short by itself, such as BBR.
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, it.fabric.spec.tcp.congestion_control.encode())
    with listener, sender:
        sender.connect((it.fabric.host(target).ip, PORT))
        receiver, _ = listener.accept()

        def send(count: int) -> None:
            sending = threading.Thread(target=sender.sendall, args=(bytes(count),))
            sending.start()
            while count:
                count -= len(receiver.recv(65536))
            sending.join()

        with receiver:
            yield send


@need("openvswitch")
def test_the_kernels_datapath_keeps_the_order_of_flows_that_it_knows(kernel_lab: Lab) -> None:
    """Whichever processor sends a frame and whichever takes it up: reordering would be the emulator's own.

    Of a new flow the first packet goes through the switch's daemon, and those behind it may overtake it.
    """
    it, sources = kernel_lab, ["h2", "h3", "h4"]
    receiver = udp(it, "h1", PORT)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4_000_000)
    senders = [udp(it, s) for s in sources]
    try:
        for numbers in ([0], range(1, 151)):
            for number in numbers:
                for sender in senders:
                    sender.sendto(number.to_bytes(4) + bytes(PAYLOAD - 4), (it.fabric.host("h1").ip, PORT))
            wait_quiet(it.inventory)
        arrived: dict[str, list[int]] = {}
        receiver.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                data, (source, _) = receiver.recvfrom(2048)
                arrived.setdefault(source, []).append(int.from_bytes(data[:4]))
    finally:
        for sock in (receiver, *senders):
            sock.close()
    assert set(arrived) == {it.fabric.host(s).ip for s in sources}
    assert min(map(len, arrived.values())) >= 20        # the queue in front of h1 holds 40 packets
    assert {source: numbers for source, numbers in arrived.items() if numbers != sorted(numbers)} == {}


@need("sch_netem")
@pytest.mark.parametrize("datapath", ["ovs", "ovs-kernel"])
def test_what_a_link_loses_is_counted_apart_from_what_its_queue_drops(datapath: str) -> None:
    if not has_module("openvswitch") and datapath == "ovs-kernel":
        pytest.skip("this kernel has no openvswitch")
    sources = ["h2", "h3", "h4"]
    lossy = {"h1-leaf1": {"rate": "1mbit", "loss": "10%", "delay": "2ms"}, "h3-leaf2": {"loss": "10%"}}
    with lab(spec(datapath=datapath, links=lossy)) as it:
        # ARP may be lost as well: neighbours are set instead of asked for.
        for a in ("h1", *sources):
            for b in ("h1", *sources):
                if a != b:
                    it.net.get(a).cmd(f"ip neigh replace {it.fabric.host(b).ip} lladdr {it.fabric.host(b).mac} "
                                      f"dev {a}-eth0 nud permanent")
        with accounting(it) as kept:
            sent, received = burst(it, sources, "h1", 200)
        ledger = kept.ledger
        assert ledger.balances, ledger
        assert sent - received == sum(ledger.queue_drops.values()) + sum(ledger.link_losses.values())
        assert {"h3->leaf2", "leaf1->h1"} <= set(ledger.link_losses) <= {"h3->leaf2", "leaf2->h3", "leaf1->h1",
                                                                         "h1->leaf1"}
        assert ledger.queue_drops["leaf1->h1"] > 0
        assert 5 <= ledger.link_losses["h3->leaf2"] <= 45      # 20 of 200 are expected; six standard deviations
        assert audit(it.inventory) == []


@need("sch_netem")
def test_a_delay_or_a_loss_changed_by_another_hand_is_found_in_its_direction() -> None:
    with lab(spec(links={"h1-leaf1": {"delay": "5ms", "jitter": "1ms", "loss": "0.5%"}})) as it:
        inventory = it.inventory
        there, back = inventory.wires["h1-leaf1"].b, inventory.wires["h1-leaf1"].a
        other = inventory.wires["h2-leaf1"].a

        def found(*lines: str) -> set[tuple[str, str, str, float, float | None]]:
            tc_batch(list(lines), inventory.wiring)
            return {(f.where, f.what, f.unit, round(f.expected, 6), None if f.found is None else round(f.found, 6))
                    for f in audit(inventory)}

        netem = "parent 1:10 handle 2: netem limit 100000"
        as_built = f"qdisc replace dev {there} {netem} delay 5ms 1ms loss 0.5%"
        assert found() == set()
        assert found(f"qdisc change dev {there} {netem} delay 6ms 1ms loss 1.5%") == {
            ("h1->leaf1", "delay", "ms", 5, 6), ("h1->leaf1", "loss", "%", 0.5, 1.5)}
        assert found(as_built) == set()
        assert found(f"qdisc change dev {there} {netem} delay 5ms 1ms loss gemodel 2%") == {
            ("h1->leaf1", "loss", "%", 0.5, 2)}
        assert found(as_built, f"class change dev {there} parent 1: classid 1:10 htb rate 2mbit ceil 2mbit") == {
            ("h1->leaf1", "rate of the wire after the host's", "bit/s", 1e10, 2e6)}
        assert {(f, what) for f, what, *_ in found(
            f"class change dev {there} parent 1: classid 1:10 htb rate 10gbit ceil 10gbit",
            f"qdisc replace dev {other} {netem} delay 3ms")} == {("leaf1->h2", "delay"), ("leaf1->h2", "queue")}
        assert {(f, what, has) for f, what, _, _, has in found(f"qdisc del dev {back} parent 1:10")} >= {
            ("leaf1->h1", "delay", None), ("leaf1->h1", "jitter", None), ("leaf1->h1", "loss", None)}


@need("sch_netem")
def test_a_round_trip_takes_the_delays_of_its_links() -> None:
    with lab(spec(delay="5ms", jitter="1ms")) as it:
        h1, h3 = it.net.get("h1"), it.net.get("h3")
        h1.cmd(f"ping -c1 -W2 {h3.IP()}")
        said = h1.cmd(f"ping -c20 -i0.05 {h3.IP()}")
        assert "20 received" in said
        (low, mean) = map(float, re.findall(r"= ([\d.]+)/([\d.]+)/", said)[0])
        assert low >= 8 * 4         # four links, both ways, none under 4 ms
        assert mean >= 8 * 5 * 0.95


@need("sch_red")
def test_a_marking_queue_marks_what_can_be_marked_and_drops_the_rest() -> None:
    marking = {"bytes": "300kB", "kind": "red", "min": "15kB", "max": "15kB", "ecn": True}     # holds the whole burst
    slow = {"rate": "500kbit", "queue": marking}    # the slowest machine forwards faster than this link
    sources = ["h2", "h3", "h4"]
    with lab(spec(links={"h1-leaf1": slow})) as it:
        warm_neighbours(it, [(s, "h1") for s in sources])
        dropped = {}
        for tos in (0, ECT):
            with accounting(it) as kept:
                marks, received = _marked_burst(it, sources, tos, 60)
            assert kept.ledger.balances, kept.ledger
            assert 60 * len(sources) - received == sum(kept.ledger.queue_drops.values())
            dropped[tos] = sum(kept.ledger.queue_drops.values())
            assert (marks > 0) is (tos == ECT)
        assert dropped[ECT] == 0 < dropped[0]
        assert audit(it.inventory) == []


@need("sch_red")
@pytest.mark.parametrize("datapath", ["ovs", "ovs-kernel"])
def test_a_mark_that_a_spine_sets_on_the_tunnel_reaches_the_host(datapath: str) -> None:
    if not has_module("openvswitch") and datapath == "ovs-kernel":
        pytest.skip("this kernel has no openvswitch")
    marking = {"bytes": "60kB", "kind": "red", "min": "8kB", "max": "8kB", "ecn": True}
    # Two hosts behind one slow link between spine and leaf: the tunnel's outer header is what gets marked there.
    narrow = {"leaf1-spine1": {"rate": "500kbit", "queue": marking}}
    with lab(spec(host_rate="4mbit", datapath=datapath, links=narrow)) as it:
        warm_neighbours(it, [(s, "h1") for s in ("h3", "h4")])
        with accounting(it) as kept:
            marks, received = _marked_burst(it, ["h3", "h4"], ECT, 40)
        assert kept.ledger.balances, kept.ledger
        assert marks > 0
        assert received + sum(kept.ledger.queue_drops.values()) == 80
        unmarked, _ = _marked_burst(it, ["h2"], ECT, 40)       # the same leaf: no tunnel, no such queue
        assert unmarked == 0


def _marked_burst(it: Lab, sources: Sequence[str], tos: int, count: int) -> tuple[int, int]:
    """(packets that arrived with CE, packets that arrived) of a burst to h1 sent with this TOS byte."""
    receiver = udp(it, "h1", PORT)
    receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    senders = [udp(it, s) for s in sources]
    for sender in senders:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    for _ in range(count):
        for sender in senders:
            sender.sendto(bytes(PAYLOAD), (it.fabric.host("h1").ip, PORT))
    wait_quiet(it.inventory)
    receiver.setblocking(False)
    marks = received = 0
    while True:
        try:
            _, ancillary, _, _ = receiver.recvmsg(2048, 64)
        except BlockingIOError:
            break
        received += 1
        marks += any(data[0] & MASK == CE for _, kind, data in ancillary if kind == socket.IP_TOS)
    for sock in (receiver, *senders):
        sock.close()
    return marks, received


@need("sch_fq_codel")
def test_fq_codel_drops_are_in_the_books() -> None:
    sources = ["h2", "h3", "h4"]
    with lab(spec(queue={"packets": 20, "kind": "fq_codel"}, links={"h1-leaf1": {"rate": "1mbit"}})) as it:
        warm_neighbours(it, [(s, "h1") for s in sources])
        with accounting(it) as kept:
            sent, received = burst(it, sources, "h1", 150)
        assert kept.ledger.balances, kept.ledger
        assert sent - received == sum(kept.ledger.queue_drops.values()) > 0
        assert audit(it.inventory) == []
