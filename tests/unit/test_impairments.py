"""Links that delay, lose and reorder, and queues that mark: from the spec to tc's words, and into packet accounting."""

from __future__ import annotations

from functools import partial

import pytest
from pydantic import TypeAdapter, ValidationError

from scenarios.spec.references import reference_problems
from scenarios.spec.scenario import Scenario
from tests.unit.test_ledger import FABRIC, NOTHING, OUT, WIRES
from tests.unit.test_qdisc import DONE, Kernel, ask, attribute, message, tcmsg
from topologies.lab import host_limits
from topologies.links.htb import counters, disciplines, qdisc, wires
from topologies.model.disciplines import Queue
from topologies.model.errors import HostError, SpecError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric, Link
from topologies.model.inventory import Inventory, SwitchProcess
from topologies.model.spec import FabricSpec
from topologies.model.units import parse_share
from topologies.proof.ledger import Counters, QueueCount, balance
from topologies.switches.ovs import losses
from topologies.switches.ovs.hops import walk


def fabric(**keys: object) -> Fabric:
    return expand(FabricSpec.model_validate({"leaves": 1, "spines": 1, "hosts_per_leaf": 1, "probes": False, **keys}))


def access(**keys: object) -> Link:
    return fabric(**keys).link("h1-leaf1")


# ---- what a user writes

@pytest.mark.parametrize(("text", "share"), [("0%", 0), ("0.1%", 0.001), ("100%", 1)])
def test_a_share_is_written_in_percent(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0.1", "-1%", "101%", "1 in 10", "1ms", 0.1])
def test_another_share_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"0\.1%"):
        parse_share(text)


def test_a_saved_spec_reads_back_as_it_was() -> None:
    spec = FabricSpec.model_validate({"delay": "3ms", "jitter": "0.3ms", "loss": "0.07%", "reorder": "1.1%",
                                      "queue": {"bytes": "60kB", "kind": "red", "min": "9kB", "max": "15kB",
                                                "ecn": True}})
    assert FabricSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("queue", [
    {"bytes": "60kB", "kind": "red"}, {"bytes": "60kB", "kind": "red", "min": "9kB"},
    {"bytes": "60kB", "kind": "red", "min": "15kB", "max": "9kB"}, {"bytes": "60kB", "min": "9kB", "max": "9kB"},
    {"bytes": "60kB", "ecn": True}, {"bytes": "60kB", "kind": "pie"}, {"kind": "fq_codel"}])
def test_a_queue_that_makes_no_sense_is_refused(queue: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Queue).validate_python(queue)


def test_impairments_of_the_fabric_hold_for_every_link_unless_it_has_its_own() -> None:
    found = fabric(delay="2ms", jitter="1ms", loss="1%", reorder="2%", links={"h1-leaf1": {"loss": "0%"}})
    own, other = found.link("h1-leaf1"), found.link("leaf1-spine1")
    assert (own.delay, own.jitter, own.loss, own.reorder) == (2e-3, 1e-3, 0.0, 0.02)
    assert other.loss == pytest.approx(0.01)


@pytest.mark.parametrize(("keys", "reported"), [({"jitter": "1ms"}, "at most its delay"),
                                                ({"reorder": "1%"}, "a delay"),
                                                ({"delay": "1ms", "jitter": "2ms"}, "at most its delay")])
def test_what_needs_a_delay_and_has_none_is_refused(keys: dict[str, str], reported: str) -> None:
    with pytest.raises(SpecError, match=reported):
        fabric(**keys)


def test_times_and_sizes_scale_and_shares_do_not() -> None:
    link = access(host_rate="10gbit", uplink_rate="10gbit", delay="10us", jitter="5us", loss="1%",
                  queue={"bytes": "60MB", "kind": "red", "min": "6MB", "max": "30MB"},
                  scale={"rate": "1/1000", "size": "1/100"})
    assert (link.delay, link.jitter) == (pytest.approx(1e-4), pytest.approx(5e-5))      # time scales by size / rate
    assert link.loss == pytest.approx(0.01)
    assert (link.discipline.min, link.discipline.max) == (60_000, 300_000)


def test_uplinks_queue_as_hosts_do_twice_as_long() -> None:
    up = fabric(queue={"packets": 40, "kind": "fq_codel", "ecn": True}).link("leaf1-spine1")
    assert (up.queue, up.discipline.kind, up.discipline.ecn) == (80 * 1564, "fq_codel", True)     # frames in VXLAN


# ---- the words of tc

def test_netem_has_the_links_impairments() -> None:
    link = access(delay="2ms", jitter="0.5ms", loss="0.1%", reorder="25%")
    assert wires.impairment_words(link) == "netem delay 2000us 500us loss random 0.1% reorder 25% limit 100000"
    assert wires.impairment_words(access(loss="5%")) == "netem loss random 5% limit 100000"


def test_a_lossy_link_loses_in_both_directions_before_the_queue() -> None:
    lines = list(wires.wire_lines(fabric(links={"h1-leaf1": {"loss": "1%"}})))
    for device in ("w0a", "w0b"):
        assert f"qdisc add dev {device} parent 1:10 handle 2: netem loss random 1% limit 100000" in lines
        assert any(x.startswith(f"qdisc add dev {device} parent 2:1 handle 10: bfifo") for x in lines)
    assert not any("netem" in x and "w1" in x for x in lines)


def test_red_between_two_lengths_follows_its_average() -> None:
    link = access(host_rate="10mbit", queue={"bytes": "60kB", "kind": "red", "min": "15kB", "max": "45kB"})
    # (2 x 15000 + 45000) / (3 x 1514) = 16.5, rounded up, and one more
    assert disciplines.queue_words(link, link.queue) == (
        "red limit 60000 min 15000 max 45000 avpkt 1514 burst 18 probability 0.1 bandwidth 10000kbit")


def test_red_with_one_length_marks_all_above_it() -> None:
    link = access(queue={"bytes": "60kB", "kind": "red", "min": "15kB", "max": "15kB", "ecn": True})
    assert "probability 1.0" in disciplines.queue_words(link, link.queue)
    assert disciplines.queue_words(link, link.queue).endswith(" ecn")


def test_fq_codel_counts_full_frames_and_marks_only_if_asked() -> None:
    link = access(queue={"bytes": "60kB", "kind": "fq_codel"})
    assert disciplines.queue_words(link, link.queue) == "fq_codel limit 39 noecn"
    assert disciplines.kernel_limit(link, 100) == 1


def test_a_hosts_own_queue_stays_plain() -> None:
    asked = fabric(queue={"bytes": "60kB", "kind": "fq_codel"}, loss="1%")
    assert [x for x in wires.host_lines(asked, "h1") if "handle 10:" in x] == [
        f"qdisc add dev h1-eth0 parent 1:10 handle 10: bfifo limit {wires.HOST_QUEUE}"]


# ---- what a machine must have

@pytest.mark.parametrize(("keys", "key", "module"), [
    ({"loss": "1%"}, "loss", "sch_netem"), ({"delay": "1ms"}, "delay", "sch_netem"),
    ({"queue": {"bytes": "60kB", "kind": "fq_codel"}}, "queue of kind fq_codel", "sch_fq_codel"),
    ({"queue": {"bytes": "60kB", "kind": "red", "min": "9kB", "max": "9kB"}}, "queue of kind red", "sch_red")])
def test_a_fabric_is_refused_by_the_name_of_the_missing_module(
        monkeypatch: pytest.MonkeyPatch, keys: dict[str, object], key: str, module: str) -> None:
    monkeypatch.setattr(host_limits, "has_module", lambda name: name != module)
    with pytest.raises(HostError) as error:
        host_limits.require_features(fabric(**keys))
    assert key in error.value.where
    assert module in error.value.expected
    host_limits.require_features(fabric())      # without it nothing is missing


# ---- what is counted

def _options(kind: bytes, options: bytes) -> bytes:
    body = tcmsg(3, qdisc.TRAFFIC_QUEUE, 0x00010010) + attribute(qdisc.TCA_KIND, kind + b"\0")
    return message(qdisc.RTM_NEWQDISC, body + attribute(qdisc.TCA_OPTIONS, options)) + DONE


def test_the_limits_of_red_and_fq_codel_are_read() -> None:
    red = attribute(1, (60_000).to_bytes(4, "little") + bytes(12))
    codel = attribute(1, bytes(4)) + attribute(2, (39).to_bytes(4, "little"))
    assert [q.limit for q in ask(Kernel(_options(b"red", red)))] == [60_000]
    assert [q.limit for q in ask(Kernel(_options(b"fq_codel", codel)))] == [39]


def test_netems_drops_are_the_links_losses_without_those_of_the_queue_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def held(netns: str) -> list[tuple[str, qdisc.Qdisc]]:
        if netns != "wiring":
            return [("h1-eth0", qdisc.Qdisc(1, "bfifo", qdisc.TRAFFIC_QUEUE, 0, 0, 100, 0, 0, 0, 1))]
        return [("w0b", qdisc.Qdisc(2, "netem", qdisc.IMPAIRMENT, 0, 0, 90, 10, 0, 0, None)),
                ("w0b", qdisc.Qdisc(2, "bfifo", qdisc.TRAFFIC_QUEUE, 0, 0, 90, 0, 0, 0, 1)),
                ("w0a", qdisc.Qdisc(3, "netem", qdisc.IMPAIRMENT, 0, 0, 50, 12, 0, 5, None)),
                ("w0a", qdisc.Qdisc(3, "bfifo", qdisc.TRAFFIC_QUEUE, 0, 0, 50, 8, 0, 3, 1))]

    link = fabric(loss="1%").link("h1-leaf1")
    wanted = [wires.Queue("h1->leaf1", link.name, 1, 1e6, "host", "h1-eth0", "w0b"),
              wires.Queue("leaf1->h1", link.name, 1, 1e6, "wiring", "w0a", "w0a")]
    monkeypatch.setattr(counters, "queues", lambda _inventory: wanted)
    monkeypatch.setattr(counters, "device_queues", held)
    found = counters.read_queues(type("Lab", (), {"wiring": "wiring"})())   # type: ignore[arg-type]
    assert found["h1->leaf1"] == QueueCount(sent=100, lost=10)
    assert found["leaf1->h1"] == QueueCount(sent=50, dropped=8, waiting=5, lost=4)


def test_what_links_lose_has_its_place_in_the_books() -> None:
    """h1 sends 100 packets to h2: its own link loses 5, the other one 3, and the queue there drops 2."""
    after = Counters(
        received={"wires/w0a": 100, "leaf1/leaf1-eth101": 95, "wires/w1b": 95, "h2/h2-eth0": 90},
        sent={"h1/h1-eth0": 100, "wires/w0b": 95, f"leaf1/{OUT}": 95, "wires/w1a": 90},
        queues={"h1->leaf1": QueueCount(100, lost=5), "leaf1->h2": QueueCount(90, 2, lost=3)},
        overruns={}, policy={})
    ledger = balance(FABRIC, partial(walk, WIRES), NOTHING, after)
    assert ledger.balances, ledger
    assert ledger.link_losses == {"h1->leaf1": 5, "leaf1->h2": 3}
    assert ledger.queue_drops == {"leaf1->h2": 2}
    assert (ledger.sent, ledger.received, ledger.lost) == (100, 90, 10)


# ---- the kernel's datapath

PROCESS = SwitchProcess(name="leaf1", directory="/nowhere", pid=1)


def test_upcalls_that_found_no_room_are_read_from_the_datapath(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ("system@ovs-system:\n  lookups: hit:120 missed:11 lost:7\n  flows: 3\n"
            "  masks: hit:4 total:2 hit/pkt:0.03\n  port 0: ovs-system (internal)\n")
    monkeypatch.setattr(losses.unixctl, "call", lambda _process, _method: said)
    assert losses.lost_upcalls(PROCESS) == 7


def test_a_datapath_without_that_count_is_an_error_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses.unixctl, "call", lambda _process, _method: "")
    with pytest.raises(HostError, match="lost lookups"):
        losses.lost_upcalls(PROCESS)


@pytest.mark.parametrize(("keys", "parent", "words"), [
    ({}, "1:10", "bfifo limit 30000"), ({"loss": "1%"}, "2:1", "bfifo limit 30000"),
    ({"delay": "1ms"}, "2:1", "bfifo limit 30000")])
def test_a_queue_is_changed_where_it_stands(
        monkeypatch: pytest.MonkeyPatch, keys: dict[str, object], parent: str, words: str) -> None:
    reported: list[str] = []
    monkeypatch.setattr(wires, "tc_batch", lambda lines, _netns: reported.extend(lines))
    asked = fabric(**keys)
    wires.set_queue(
        Inventory(lab="t", directory="/nowhere", fabric=asked, netns={n.name: n.name for n in asked.nodes},
                  wiring="t.wires", wires=wires.devices(asked), switches={}, datapath="ovs",
                  controller_socket="", api_socket=""), "h1-leaf1", 30_000)
    assert reported == [f"qdisc change dev w0a parent {parent} handle 10: {words}"]


RED = {"bytes": "60kB", "kind": "red", "min": "9kB", "max": "9kB"}


@pytest.mark.parametrize(("keys", "queue", "reported"), [
    ({}, "30kB", []),
    ({"queue": {"bytes": "60kB", "kind": "fq_codel"}}, "30kB", ["a link with a plain queue"]),
    ({}, RED, ["a length such as 60kB: a queue keeps its kind"]),
    ({"queue": RED}, "30kB", ["a link with a plain queue"]),
    ({"links": {"h1-leaf1": {"queue": RED}}}, "30kB", ["a link with a plain queue"]),
    ({"queue": RED, "links": {"h1-leaf1": {"queue": "60kB"}}}, "30kB", [])])
def test_an_event_changes_a_queues_length_only_where_that_loses_nothing(
        keys: dict[str, object], queue: object, reported: list[str]) -> None:
    scenario = Scenario.model_validate({
        "name": "s", "question": "?", "fabric": {"leaves": 1, "spines": 1, "hosts_per_leaf": 2, **keys},
        "workloads": {"w": {"kind": "bulk", "pairs": [["h1", "h2"]]}},
        "events": [{"at": "1s", "link": "h1-leaf1", "queue": queue}]})
    assert [p.expected for p in reference_problems(scenario, expand(scenario.fabric))] == reported
