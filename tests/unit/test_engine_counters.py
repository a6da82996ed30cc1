"""The engine's counters from Python: the file, samples, packet accounting hop by hop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.made_up_engine import CountersFile, inventory_of
from topologies.links.htb import hosts
from topologies.model.errors import HostError
from topologies.model.expansion import expand
from topologies.model.histogram import Histogram
from topologies.model.inventory import SwitchProcess
from topologies.model.spec import FabricSpec
from topologies.proof.ledger import Counters as Snapshot
from topologies.proof.ledger import Fault, Ledger, QueueCount, balance
from topologies.switches.engine import accounting, sampling
from topologies.switches.engine.counters import Counters
from topologies.switches.engine.datapath import ENGINE
from topologies.switches.engine.management.power import forwards
from topologies.switches.engine.sampling import directions

FABRIC = expand(FabricSpec(name="w", leaves=2, spines=1, hosts_per_leaf=1, probes=False, datapath="engine"))
PATH = ("h1->leaf1", "leaf1->spine1", "spine1->leaf2", "leaf2->h2")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CountersFile:
    """Of a lab whose hosts' devices count what the engine read and wrote."""
    made = CountersFile(tmp_path, FABRIC)

    def device_counts(netns: str) -> dict[str, tuple[int, int]]:
        counts = made.hosts[netns.rpartition("-")[2]]
        return {f"{netns.rpartition('-')[2]}-eth0": (counts["written_packets"], counts["read_packets"])}

    def at_hosts(*_: object) -> dict[str, QueueCount]:
        return {"h1->leaf1": QueueCount(made.hosts["h1"]["read_packets"]), "h2->leaf2": QueueCount()}

    monkeypatch.setattr(accounting, "device_counts", device_counts)
    monkeypatch.setattr(hosts, "read", at_hosts)
    return made


def carry(file: CountersFile, packets: int = 10) -> None:
    """So many packets of 1,000 bytes from h1 to h2."""
    file.hosts["h1"]["read_packets"] += packets
    file.hosts["h2"]["written_packets"] += packets
    for name in PATH:
        file.queues[name, 0]["sent_packets"] += packets
        file.queues[name, 0]["sent_bytes"] += 1000 * packets
    for switch in file.switches.values():
        switch["came"] += packets
        switch["left"] += packets


def ledger(file: CountersFile, change: Callable[[], None], faults: tuple[Fault, ...] = (),
           policy: dict[str, dict[str, int]] | None = None) -> Ledger:
    """Between now and after a change."""
    inventory = inventory_of(FABRIC, file.path.parent)

    def snapshot(drops: dict[str, dict[str, int]]) -> Snapshot:
        file.write()
        received, sent = ENGINE.devices(inventory)
        return Snapshot(received, sent, ENGINE.queues(inventory), {}, drops)

    before = snapshot({})
    change()
    return balance(FABRIC, lambda it: ENGINE.walk(inventory, it), before, snapshot(policy or {}), faults)


def test_what_was_written_is_read(file: CountersFile) -> None:
    file.engine["pool"], file.switches["spine1"]["no_bucket"] = 4096, 3
    file.directions["leaf2->h2"]["flying"], file.queues["leaf2->h2", 7]["high"] = 5, 9
    file.hosts["h2"]["gated"] = 6
    file.write()
    held = Counters(file.path)
    number = file.layout.directions.index("leaf2->h2")
    assert held.engine().pool == 4096
    assert held.direction(number).flying == 5
    assert held.queue(number, 7).high == 9
    assert held.host(1).gated == 6
    assert held.switch(file.layout.switches.index("spine1")).no_bucket == 3


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 100_000])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(HostError, match=r"expected .*counters"):
        Counters(tmp_path / "x")


def test_a_quantile_is_the_end_of_its_bucket_and_never_above_the_greatest_time() -> None:
    counts = [0] * 96
    counts[0], counts[9], counts[38] = 98, 1, 1       # below 2 us, of 5 us, of 768 to 896 us
    held = Histogram(100, 0, 800_000, tuple(counts))
    assert [held.quantile(share) for share in (0.5, 0.99, 1.0)] == [2000, 6000, 800_000]
    assert (held - held).quantile(0.99) == 0.0
    assert held + held - held == held


def test_samples_are_bytes_packets_drops_and_what_waits_without_the_probes(
        file: CountersFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "calm_links", lambda _: [])
    carry(file)
    file.queues["leaf2->h2", 0] |= {"drops": 2, "headroom_drops": 1, "bytes": 1514}
    file.queues["leaf2->h2", 7]["sent_bytes"] = 999
    file.write()
    found = dict(zip(file.layout.directions, sampling.Engine(inventory_of(FABRIC, file.path.parent)).read(),
                     strict=True))
    assert found["leaf2->h2"] == (10_000, 10, 3, 1514, 60_000)
    assert found["h2->leaf2"] == (0, 0, 0, 0, 64 * 1514)


def test_sent_and_waiting_are_of_packets_in_no_class(file: CountersFile) -> None:
    carry(file)
    file.queues["leaf2->h2", 0]["packets"], file.directions["leaf2->h2"]["flying"] = 3, 1
    file.queues["leaf2->h2", 1]["packets"] = 8
    file.write()
    there = next(d for d in directions(inventory_of(FABRIC, file.path.parent)) if d.direction == "leaf2->h2")
    assert ENGINE.sent(there) == 10_000
    assert ENGINE.waiting([there]) == 4


def test_packets_that_all_arrive_balance(file: CountersFile) -> None:
    found = ledger(file, lambda: carry(file))
    assert (found.sent, found.received, found.lost, found.unexplained) == (10, 10, 0, {})
    assert found.balances


def test_drops_and_losses_of_links_have_the_names_of_their_directions(file: CountersFile) -> None:
    def change() -> None:
        carry(file)
        file.hosts["h1"]["read_packets"] += 3
        for name in PATH[:2]:
            file.queues[name, 0]["sent_packets"] += 3
        for switch in ("leaf1", "spine1"):
            file.switches[switch]["came"] += 3
            file.switches[switch]["left"] += 3
        file.queues["spine1->leaf2", 0]["sent_packets"] += 1
        file.queues["spine1->leaf2", 0]["drops"] += 2
        file.directions["spine1->leaf2"]["lost"] += 1

    found = ledger(file, change)
    assert found.queue_drops == {"spine1->leaf2": 2}
    assert found.link_losses == {"spine1->leaf2": 1}
    assert found.balances


def test_drops_beyond_headroom_have_the_direction_by_which_they_came(file: CountersFile) -> None:
    def change() -> None:
        carry(file)
        file.hosts["h1"]["read_packets"] += 2
        for name in PATH[:2]:
            file.queues[name, 0]["sent_packets"] += 2
        for switch in ("leaf1", "spine1"):
            file.switches[switch]["came"] += 2
            file.switches[switch]["left"] += 2
        file.queues["leaf1->spine1", 0]["headroom_drops"] += 2

    found = ledger(file, change)
    assert found.queue_drops == {"leaf1->spine1": 2}
    assert found.balances


def test_a_rules_drops_are_the_policys_and_other_ends_have_their_reason(file: CountersFile) -> None:
    def change() -> None:
        carry(file)
        file.hosts["h1"]["read_packets"] += 5
        file.queues["h1->leaf1", 0]["sent_packets"] += 5
        file.switches["leaf1"]["came"] += 5
        file.switches["leaf1"]["dropped_by_rule"] += 4
        file.switches["leaf1"]["no_bucket"] += 1

    found = ledger(file, change, policy={"leaf1": {"unknown-destination": 4}})
    assert found.policy_drops == {"leaf1 unknown-destination": 4}
    assert found.unexplained == {"leaf1 (no bucket)": 1}


@pytest.mark.parametrize(("place", "change"), [
    ("h1-eth0 (host's device)", lambda f: f.hosts["h1"].update(read_packets=9)),
    ("h1->leaf1 (into the link)", lambda f: f.queues["h1->leaf1", 0].update(sent_packets=9)),
    ("leaf1 (into the switch)", lambda f: f.switches["leaf1"].update(came=9)),
    ("leaf1 (inside the switch)", lambda f: f.switches["leaf1"].update(left=9)),
    ("leaf1 (behind the switch)", lambda f: f.queues["leaf1->spine1", 0].update(sent_packets=9)),
    ("leaf2->h2 (out of the link)", lambda f: f.hosts["h2"].update(written_packets=9)),
])
def test_a_packet_that_nothing_counts_has_a_place(file: CountersFile, place: str, monkeypatch: pytest.MonkeyPatch,
                                                  change: Callable[[CountersFile], None]) -> None:
    if place.startswith("h1-eth0"):
        monkeypatch.setattr(hosts, "read", lambda *_: {"h1->leaf1": QueueCount(
            file.queues["leaf1->spine1", 0]["sent_packets"])})

    def both() -> None:
        carry(file)
        change(file)

    found = ledger(file, both)
    assert found.unexplained.get(place) == 1
    assert not found.balances


def test_what_a_pulled_cable_ended_is_the_faults_whether_it_waited_or_was_under_way(file: CountersFile) -> None:
    def change() -> None:
        carry(file)
        file.hosts["h1"]["read_packets"] += 5
        file.queues["h1->leaf1", 0]["sent_packets"] += 5
        file.switches["leaf1"]["came"] += 5
        file.switches["leaf1"]["left"] += 5
        file.queues["leaf1->spine1", 0]["sent_packets"] += 2      # under way; 3 waited
        file.directions["leaf1->spine1"]["cut"] += 5
        file.directions["leaf1->spine1"]["cut_flying"] += 2

    fault = Fault("leaf1-spine1 down", ("leaf1-spine1",), 1.0)
    assert ledger(file, change, (fault,)).fault_losses == {"leaf1-spine1 down": 5}
    assert ledger(file, change).unexplained == {"leaf1->spine1 (cut)": 5}


def test_what_came_to_a_switch_without_power_is_its_outages(file: CountersFile) -> None:
    def change() -> None:
        carry(file)
        file.hosts["h1"]["read_packets"] += 2
        for name in PATH[:2]:
            file.queues[name, 0]["sent_packets"] += 2
        file.switches["leaf1"]["came"] += 2
        file.switches["leaf1"]["left"] += 2
        file.switches["spine1"]["cut"] += 2

    fault = Fault("spine1 down", ("leaf1-spine1", "leaf2-spine1"), 1.0, "spine1")
    found = ledger(file, change, (fault,))
    assert found.fault_losses == {"spine1 down": 2}
    assert found.balances


def test_lateness_is_that_of_all_frames_at_the_edge(file: CountersFile) -> None:
    first = 11      # words behind the engine's own
    for histogram, bucket, count in ((0, 8, 999), (1, 40, 1)):
        start = first + histogram * (3 + 96)
        file.histograms[start], file.histograms[start + 2] = count, 10**7
        file.histograms[start + 3 + bucket] = count
    file.write()
    (late,) = ENGINE.lateness(inventory_of(FABRIC, file.path.parent)).values()
    assert (late.count, late.quantile(0.99)) == (1000, 5000)


def test_a_switch_without_power_forwards_nothing(file: CountersFile) -> None:
    spine = SwitchProcess(name="spine1", directory=str(file.path.parent), pid=1)
    assert forwards(spine)
    file.switches["spine1"]["is_on"] = 0
    file.write()
    assert not forwards(spine)
    assert not forwards(SwitchProcess(name="spine1", directory="/nowhere", pid=1))


def test_the_pools_emptiness_is_told_once(file: CountersFile) -> None:
    file.engine["pool_empty"] = 4
    file.write()
    inventory = inventory_of(FABRIC, file.path.parent)
    assert [ENGINE.losses(inventory, s) for s in inventory.switches] == [4, 0, 0]
