"""Traffic classes on real wires: shares held under load, drops with the name of their class, changes under traffic."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from controller.intent.intent import Intent
from scenarios.evidence.results import RunDirectory
from scenarios.evidence.tenants import Tenants
from scenarios.run.lab import Lab, lab
from scenarios.run.live_shares import change_shares
from scenarios.run.measure import Measurement
from scenarios.run.phases import PhaseRun, traffic_of
from scenarios.run.ranks import link_bytes
from scenarios.run.vpcs import apply_intent
from scenarios.spec.scenario import Scenario
from tests.lab.fabric_lab import accounting, udp, waiting_at, warm_neighbours
from tests.unit.intents import attach, intent, vpc
from topologies.access.netns import inside
from topologies.lab.shell import tc_batch
from topologies.links.htb.counters import device_queues
from topologies.links.htb.sampling import Wires
from topologies.links.htb.shares import held_classes, set_shares
from topologies.links.htb.wires import queues, set_rate
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec
from topologies.proof.audit import audit
from topologies.proof.calibrate import settled_rates
from topologies.proof.counters import wait_quiet
from topologies.proof.findings import NOTHING_DECLARED, Declared

pytestmark = pytest.mark.lab

RATE = 2e6      # of the wire that is fought for: 2 Mbit/s, so that a second is some 165 full frames
GOLD, BULK = 10, 20
SPEC = FabricSpec.model_validate({
    "name": "classes", "leaves": 2, "spines": 1, "hosts_per_leaf": 3, "probes": False, "host_rate": "10mbit",
    "links": {"h4-leaf2": {"rate": "2mbit"}}, "queue": "15kB",
    "classes": {"gold": {"dscp": GOLD, "min": "60%", "vpcs": ["g"]},
                "bulk": {"dscp": BULK, "min": "10%", "max": "50%"}}})
LAST = "leaf2->h4"
SECONDS = 2.0
TRIES = 6
ALL = [("h1", GOLD, RATE), ("h2", BULK, RATE), ("h3", 0, RATE)]


@pytest.fixture(scope="module")
def it() -> Iterator[Lab]:
    with lab(expand(SPEC)) as made:
        yield made


@contextmanager
def flood(it: Lab, *streams: tuple[str, int, float]) -> Iterator[None]:
    """(host, DSCP, bit/s): full frames to h4 from a thread, paced, until the block ends."""
    stop = threading.Event()
    with ExitStack() as stack:
        senders = []
        for host, dscp, rate in streams:
            sock = stack.enter_context(udp(it, host))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
            senders.append((sock, 1514 * 8 / rate))

        def send() -> None:
            due = [time.monotonic()] * len(senders)
            while not stop.is_set():
                for n, (sock, gap) in enumerate(senders):
                    while due[n] <= time.monotonic():
                        sock.sendto(bytes(1472), (it.fabric.host("h4").ip, 9000))
                        due[n] += gap
                time.sleep(0.002)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def sent_by_class(it: Lab, direction: str = LAST) -> dict[str, int]:
    """Bytes that each class's queue of a direction has sent so far; '' is what is in no class."""
    (queue,) = [q for q in queues(it.inventory) if q.direction == direction]
    held = {q.handle: q.bytes for device, q in device_queues(queue.netns) if device == queue.device}
    return {c.name: held[c.handle] for c in queue.classes}


def rates(it: Lab, seconds: float = SECONDS) -> dict[str, float]:
    """bit/s of each class towards h4, from now on."""
    time.sleep(0.5)     # the queues fill
    before, t = sent_by_class(it), time.monotonic()
    time.sleep(seconds)
    after, took = sent_by_class(it), time.monotonic() - t
    return {name: 8 * (after[name] - before[name]) / took for name in before}


def shared(it: Lab, streams: Sequence[tuple[str, int, float]], wanted: Mapping[str, float]) -> dict[str, float]:
    """Shares of the wire to h4 that classes got; measured again, up to TRIES times, while they are not as wanted.

    A machine that is busy with something else sends too little in one measurement or the other. More than a class
    may have is never its doing: that fails at once.
    """
    for _ in range(TRIES):
        with flood(it, *streams):
            found = {name: rate / RATE for name, rate in rates(it).items()}
        wait_quiet(it.inventory)
        assert sum(found.values()) < 1.03
        assert found["bulk"] < 0.515
        if all(found[name] == pytest.approx(share, rel=0.05, abs=0.01) for name, share in wanted.items()):
            break
    return found


def test_each_class_gets_its_minimum_and_no_class_more_than_its_maximum(it: Lab) -> None:
    """gold 60 to 100 %, bulk 10 to 50 %, the rest 30 to 100 %; all three want all of it."""
    warm_neighbours(it, [("h1", "h4"), ("h2", "h4"), ("h3", "h4")])
    wanted = {"gold": 0.6, "bulk": 0.1, "": 0.3}
    assert shared(it, ALL, wanted) == pytest.approx(wanted, rel=0.05, abs=0.01)


def test_a_class_alone_gets_its_maximum_and_one_without_a_limit_all(it: Lab) -> None:
    warm_neighbours(it, [("h1", "h4"), ("h2", "h4")])
    for host, dscp, name, share in (("h2", BULK, "bulk", 0.5), ("h1", GOLD, "gold", 1.0)):
        wanted = {name: share}
        assert shared(it, [(host, dscp, 1.3 * RATE)], wanted)[name] == pytest.approx(share, rel=0.05, abs=0.01)


def test_the_ledger_names_the_class_whose_queue_dropped_and_its_books_close(it: Lab) -> None:
    warm_neighbours(it, [("h1", "h4"), ("h2", "h4")])
    with ExitStack() as stack:
        receiver = stack.enter_context(udp(it, "h4", 9000))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        with accounting(it) as kept, flood(it, ("h1", GOLD, 0.4 * RATE), ("h2", BULK, RATE)):
            time.sleep(2)
        received = waiting_at(receiver)
    ledger = kept.ledger
    assert ledger.balances, ledger
    assert set(ledger.queue_drops) == {f"{LAST} class bulk"}
    assert ledger.queue_drops[f"{LAST} class bulk"] > 20
    assert received == ledger.sent - ledger.lost


def test_shares_that_change_under_traffic_lose_nothing_and_hold(it: Lab) -> None:
    warm_neighbours(it, [("h1", "h4"), ("h2", "h4"), ("h3", "h4")])
    classes = it.fabric.spec.classes
    turned = {"gold": classes["gold"].model_copy(update={"min": 0.1}),
              "bulk": classes["bulk"].model_copy(update={"min": 0.4, "max": 0.5})}
    try:
        with accounting(it) as kept, flood(it, ("h1", GOLD, 0.2 * RATE), ("h2", BULK, 0.2 * RATE)):
            for n in range(20):
                set_shares(it.inventory, turned if n % 2 == 0 else classes)
                time.sleep(0.05)
        assert kept.ledger.lost == 0
        assert kept.ledger.balances, kept.ledger
        set_shares(it.inventory, turned)
        wanted = {"gold": 0.1, "bulk": 0.4, "": 0.5}
        assert shared(it, ALL, wanted) == pytest.approx(wanted, rel=0.05, abs=0.01)
        assert audit(it.inventory, Declared({}, {}, turned)) == []
        assert {f.what for f in audit(it.inventory)} == {"min of gold", "min of bulk", "min of the rest"}
    finally:
        set_shares(it.inventory, classes)
    assert audit(it.inventory) == []


def test_a_link_that_changes_its_rate_keeps_the_shares(it: Lab) -> None:
    try:
        set_rate(it.inventory, "h4-leaf2", 4e6)
        assert audit(it.inventory, Declared({"h4-leaf2": 4e6}, {})) == []
        assert {(f.where, f.what) for f in audit(it.inventory) if f.where == LAST} == {
            (LAST, what) for what in ("rate", "ceiling", "min of the rest", "max of the rest", "min of gold",
                                      "max of gold", "min of bulk", "max of bulk")}
    finally:
        set_rate(it.inventory, "h4-leaf2", RATE)


def test_calibration_finds_the_rate_of_a_wire_with_classes(it: Lab) -> None:
    (queue,) = [q for q in queues(it.inventory) if q.direction == LAST]
    assert settled_rates(it.inventory, [queue])[0].measured == pytest.approx(RATE, rel=0.03)


@pytest.mark.parametrize(("change", "what"), [
    ("class change dev {} parent 1:1 classid 1:11 htb rate 1000000bit ceil 2000000bit burst 3328 cburst 3328",
     {"min of gold"}),
    ("qdisc change dev {} parent 1:12 handle 12: bfifo limit 5000", {"queue of bulk"})])
def test_a_class_that_another_hand_has_changed_is_found(it: Lab, change: str, what: set[str]) -> None:
    (queue,) = [q for q in queues(it.inventory) if q.direction == LAST]
    tc_batch([change.format(queue.device)], queue.netns)
    try:
        assert {(f.where, f.what) for f in audit(it.inventory, NOTHING_DECLARED)} == {(LAST, w) for w in what}
    finally:
        set_shares(it.inventory, it.fabric.spec.classes)
        tc_batch([f"qdisc change dev {queue.device} parent 1:12 handle 12: bfifo limit {queue.limit}"], queue.netns)


def test_a_vpc_is_in_its_class_on_every_wire_whatever_its_hosts_mark(it: Lab) -> None:
    """h1 of the VPC g marks its packets as bulk; they are gold on the uplinks, encapsulated, and behind them."""
    apply_intent(it.inventory, intent(vpc("g", {"x": "10.1.0.0/24"}), attach("h1", "g/x"), attach("h4", "g/x")))
    try:
        hosts = it.controller.intent()["hosts"]
        with accounting(it) as kept:
            before = {d: sent_by_class(it, d) for d in ("leaf1->spine1", "spine1->leaf2", LAST)}
            with ExitStack() as stack:
                (receiver, sender) = (stack.enter_context(udp_at(it, h, hosts[h]["ip"])) for h in ("h4", "h1"))
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, BULK << 2)
                for _ in range(20):
                    sender.sendto(bytes(1000), (hosts["h4"]["ip"], receiver.getsockname()[1]))
                wait_quiet(it.inventory)
                assert waiting_at(receiver) == 20
        assert kept.ledger.balances, kept.ledger
        for direction, was in before.items():
            grown = {name: n - was[name] for name, n in sent_by_class(it, direction).items()}
            assert grown["gold"] > 20 * 1000, direction
            assert grown["bulk"] == 0, direction
    finally:
        apply_intent(it.inventory, Intent())


def test_a_host_whose_vpc_is_in_no_class_gets_into_none_by_marking_its_packets(it: Lab) -> None:
    """Its own link believes it; from its leaf on it is in no class, encapsulated or not."""
    apply_intent(it.inventory, intent(vpc("p", {"x": "10.1.0.0/24"}), attach("h2", "p/x"), attach("h4", "p/x")))
    way = ("h2->leaf1", "leaf1->spine1", "spine1->leaf2", LAST)
    try:
        hosts = it.controller.intent()["hosts"]
        before = {d: sent_by_class(it, d) for d in way}
        with ExitStack() as stack:
            receiver, sender = (stack.enter_context(udp_at(it, h, hosts[h]["ip"])) for h in ("h4", "h2"))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, GOLD << 2)
            for _ in range(20):
                sender.sendto(bytes(1000), (hosts["h4"]["ip"], receiver.getsockname()[1]))
            wait_quiet(it.inventory)
            assert waiting_at(receiver) == 20
        grown = {d: {name: n - before[d][name] for name, n in sent_by_class(it, d).items()} for d in way}
        assert grown["h2->leaf1"]["gold"] > 20 * 1000
        for direction in way[1:]:
            assert grown[direction]["gold"] == 0, direction
            assert grown[direction][""] > 20 * 1000, direction
    finally:
        apply_intent(it.inventory, Intent())


WORKLOADS = {
    "collective": ({"kind": "collective", "placement": ["h2", "h5"], "size": "200kB", "iterations": 1, "warmup": 0},
                   "h2->leaf1"),
    "serving": ({"kind": "serving", "clients": ["h3"], "gateway": "h5", "replicas": ["h6"], "rate": 10, "requests": 5,
                 "input_tokens": 400, "output_tokens": 4, "bytes_per_input_token": 100}, "h3->leaf1"),
    "udp": ({"kind": "udp", "pairs": [["h2", "h5"]], "pps": 200, "frame": 1000, "count": 100}, "h2->leaf1"),
    "rocev2": ({"kind": "rocev2", "pairs": [["h2", "h5"]], "rate": "2mbit", "size": "100kB"}, "h2->leaf1"),
    "bulk": ({"kind": "bulk", "pairs": [["h2", "h5"]], "duration": "1s"}, "h2->leaf1"),
}


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workloads_packets_are_in_its_class_on_every_wire_from_the_hosts_own_on(
        it: Lab, tmp_path: Path, kind: str) -> None:
    """What it sends, what comes back, and packet accounting balances. iperf3's own control connection is in no
    class."""
    spec, first = WORKLOADS[kind]
    way = (first, "leaf1->spine1", "spine1->leaf2", "leaf2->spine1", "spine1->leaf1")
    before = {d: sent_by_class(it, d) for d in way}
    with accounting(it) as kept:
        play(it, tmp_path, {**spec, "traffic_class": "gold"})
    assert kept.ledger.balances, kept.ledger
    assert link_bytes(it.inventory)["leaf1->spine1"] == sum(sent_by_class(it, "leaf1->spine1").values())
    for direction in way:
        grown = {name: n - before[direction][name] for name, n in sent_by_class(it, direction).items()}
        assert grown["bulk"] == 0, (direction, grown)
        assert grown[""] < (20_000 if kind == "bulk" else 2_000), (direction, grown)      # ARP; iperf3's control
        if kind != "udp" or "leaf1->" in direction or "->leaf2" in direction or direction == first:
            assert grown["gold"] > 500, (direction, grown)


def play(it: Lab, directory: Path, workload: Mapping[str, object]) -> None:
    """Run one workload in the lab to its end."""
    scenario = Scenario.model_validate({"name": "c", "question": "?", "fabric": it.fabric.spec.model_dump(mode="json"),
                                        "workloads": {"w": workload}})
    phase, run = scenario.phases[0], RunDirectory.create(directory, scenario)
    measurement = Measurement(it, run, time.monotonic(), 1)
    measurement.watch = measurement.unwatch = lambda *_: None      # type: ignore[method-assign]  # no sampler here
    one = PhaseRun(measurement, scenario, phase, traffic_of(scenario, phase, it.fabric),
                   Tenants(it, scenario, run, measurement.t0))
    try:
        one.run(lambda *_: None, lambda _: None)
    finally:
        one.end()


def test_a_live_change_of_shares_holds_on_every_wire_and_reads_back(it: Lab) -> None:
    classes = it.fabric.spec.classes
    assert held_classes(it.inventory) == classes
    try:
        found, _ = change_shares(it.inventory, "bulk", "20%", "40%")
        assert (found.min, found.max) == (0.2, 0.4)
        assert held_classes(it.inventory) == {**classes, "bulk": found}
        assert audit(it.inventory, Declared({}, {}, {**classes, "bulk": found})) == []
        assert {f.where for f in audit(it.inventory)} == {q.direction for q in queues(it.inventory)}
    finally:
        set_shares(it.inventory, classes)
    assert audit(it.inventory) == []


def udp_at(it: Lab, host: str, ip: str) -> socket.socket:
    with inside(it.inventory.netns_path(host)):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((ip, 0))
    return made


def test_what_waits_in_a_limited_class_does_not_count_as_a_link_that_has_to_send(it: Lab) -> None:
    warm_neighbours(it, [("h1", "h4"), ("h2", "h4")])
    wires = Wires(queues(it.inventory))
    position = next(n for n, q in enumerate(queues(it.inventory)) if q.direction == LAST)
    found = {}
    for host, dscp in (("h2", BULK), ("h1", GOLD)):
        with flood(it, (host, dscp, 1.5 * RATE)):
            time.sleep(1)
            found[dscp] = wires.read()[position].backlog
        wait_quiet(it.inventory)
    assert found[BULK] == 0 < found[GOLD]


def test_the_sampler_counts_all_classes_of_a_direction_as_one(it: Lab) -> None:
    warm_neighbours(it, [("h1", "h4"), ("h2", "h4")])
    wires = Wires(queues(it.inventory))
    position = next(n for n, q in enumerate(queues(it.inventory)) if q.direction == LAST)
    before = wires.read()[position]
    with flood(it, ("h1", GOLD, 0.3 * RATE), ("h2", BULK, 0.3 * RATE)):
        time.sleep(1)
    wait_quiet(it.inventory)
    after = wires.read()[position]
    assert after.bytes - before.bytes >= 0.9 * 0.6 * RATE / 8
    assert after.bytes == sum(sent_by_class(it).values())
