"""What a running engine is asked and told: changes, audit, paths, counts of drop rules, captures; its build."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.made_up_engine import CountersFile, Engine, inventory_of
from topologies.links.htb import hosts
from topologies.model.errors import HostError
from topologies.model.expansion import expand
from topologies.model.inventory import Inventory, SwitchProcess
from topologies.model.spec import ClassSpec, FabricSpec
from topologies.proof.findings import NOTHING_DECLARED, Declared
from topologies.switches.engine import build, capture, changes, process
from topologies.switches.engine.audit import audit
from topologies.switches.engine.datapath import ENGINE
from topologies.switches.engine.feeder import Feeder
from topologies.switches.engine.layout import Layout
from topologies.switches.engine.management.commands import drop_counts, set_neighbours
from topologies.switches.engine.management.paths import frame_bytes, path_of
from topologies.switches.engine.management.process import SOCKET
from topologies.switches.engine.queues import limit, limited
from topologies.switches.management import Frame

GOLD = ClassSpec(dscp=10, min="30%", max="60%")
FABRIC = expand(FabricSpec(name="w", leaves=1, spines=1, hosts_per_leaf=2, classes={"gold": GOLD}, datapath="engine"))
NO_QUEUE = "queue 0 limit=0 level=0 min=0 max=0 kmin=0 kmax=0 pmax=0 xoff=0 xon=0 headroom=0 beside=0"
FRAME = Frame(101, "udp", "02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1", "10.0.0.2", 5000, 9000)


def shown(command: str, rates: dict[str, int] | None = None) -> str:
    """What an engine that does as the fabric says answers to `show A->B`."""
    direction = command.split(" ")[1]
    link = FABRIC.link(direction)
    queues = [NO_QUEUE.replace("queue 0", f"queue {n}") for n in range(8)]
    for number in limited(FABRIC, link):
        size = limit(FABRIC, link, link.directions.index(direction))
        share = "min=0.3 max=0.6" if number == 1 else "min=0.7 max=0"
        queues[number] = queues[number].replace("limit=0", f"limit={size}").replace("min=0 max=0", share)
    rate = (rates or {}).get(direction, round(link.rate))
    return (f"rate={rate} delay=0 jitter=0 loss=0 ber=0 duplicate=0 reorder=0 cable=1 way=1 " + " ".join(queues))


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inventory:
    """Of a lab whose engine is this process."""
    monkeypatch.setattr(os, "getpriority", lambda *_: 0)    # tests may run at any
    CountersFile(tmp_path, FABRIC)
    (tmp_path / process.PID).write_text(str(os.getpid()))
    made = inventory_of(FABRIC, tmp_path, os.getpid())
    return made.model_copy(update={"switches": {
        name: s.model_copy(update={"policy": os.sched_getscheduler(0)}) for name, s in made.switches.items()}})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens at hosts, in words."""
    found: list[str] = []
    monkeypatch.setattr(hosts, "set_rate", lambda _i, link, rate: found.append(f"{link.name} {rate:g}"))
    monkeypatch.setattr(hosts, "set_shares", lambda _i, links, _c: found.extend(f"{k.name} shares" for k in links))
    monkeypatch.setattr(hosts, "audit", lambda *_: iter(()))
    return found


def switch(inventory: Inventory, name: str = "leaf1") -> SwitchProcess:
    return inventory.switches[name]


# ---- changes

def test_a_lower_rate_comes_to_the_host_first_and_a_higher_one_last(inventory: Inventory, told: list[str]) -> None:
    def answer(command: str) -> str:
        told.append(command)
        return shown(command) if command.startswith("show") else ""

    Engine(Path(inventory.directory), answer)
    changes.set_rate(inventory, "h1-leaf1", 5e6)
    changes.set_rate(inventory, "h1-leaf1", 20e6)
    assert [said for said in told if not said.startswith("show")] == [
        "h1-leaf1 5e+06", "direction h1->leaf1 rate=5000000", "direction leaf1->h1 rate=5000000",
        "direction h1->leaf1 rate=20000000", "direction leaf1->h1 rate=20000000", "h1-leaf1 2e+07"]


def test_queues_cables_and_power_are_told_to_the_engine(inventory: Inventory) -> None:
    engine = Engine(Path(inventory.directory))
    ENGINE.set_queue(inventory, "spine1-leaf1", 5000)
    ENGINE.set_state(inventory, "leaf1-spine1", up=False)
    ENGINE.kill(inventory, "spine1")
    assert engine.commands == [
        *(f"queue {d} {n} limit=5000" for d in ("leaf1->spine1", "spine1->leaf1") for n in (0, 1)),
        "cable leaf1-spine1 down", "power spine1 off"]


def test_a_switch_that_has_power_cannot_be_started_again(inventory: Inventory) -> None:
    with pytest.raises(HostError, match="switch spine1: expected a switch without power"):
        ENGINE.start_again(inventory, "spine1")


def test_shares_are_read_from_the_engine_and_changed_in_it_and_at_hosts(inventory: Inventory, told: list[str]) -> None:
    engine = Engine(Path(inventory.directory), lambda c: shown(c) if c.startswith("show") else "")
    assert ENGINE.shares(inventory) == {"gold": GOLD}
    ENGINE.set_shares(inventory, {"gold": GOLD.model_copy(update={"min": 0.2, "max": 1.0})})
    assert "queue leaf1->h2 0 min=0.8 max=0" in engine.commands
    assert "queue leaf1->h2 1 min=0.2 max=0" in engine.commands
    assert told == ["h1-leaf1 shares", "h2-leaf1 shares", "probe1-leaf1 shares"]


def test_a_refusal_is_an_error_with_the_engines_sentence(inventory: Inventory) -> None:
    with pytest.raises(HostError, match="fabric engine at"):
        ENGINE.set_state(inventory, "leaf1-spine1", up=False)       # nobody listens


# ---- audit

@pytest.mark.usefixtures("told")
class TestAudit:
    def test_an_engine_that_does_as_it_was_told_has_no_findings(self, inventory: Inventory) -> None:
        Engine(Path(inventory.directory), shown)
        assert list(audit(inventory, NOTHING_DECLARED)) == []

    def test_a_rate_that_nobody_declared_is_found_and_a_declared_one_expected(self, inventory: Inventory) -> None:
        Engine(Path(inventory.directory), lambda c: shown(c, {"leaf1->h1": 1}))
        (found,) = audit(inventory, NOTHING_DECLARED)
        assert (found.where, found.what, found.found) == ("leaf1->h1", "rate", 1)
        declared = {f.where for f in audit(inventory, Declared({"h1-leaf1": 5.0}, {}))}
        assert declared == {"h1->leaf1", "leaf1->h1"}

    def test_queues_and_shares_are_held_against_what_was_declared(self, inventory: Inventory) -> None:
        Engine(Path(inventory.directory), shown)
        gold = GOLD.model_copy(update={"max": 1.0})
        other = replace(NOTHING_DECLARED, queues={"h1-leaf1": 9}, classes={"gold": gold})
        found = {(f.where, f.what) for f in audit(inventory, other)}
        assert ("leaf1->h1", "queue 0") in found
        assert ("h1->leaf1", "queue 0") not in found, "a host's own stays"
        assert ("leaf1->spine1", "max of queue 1") in found

    def test_a_switch_without_power_is_found_unless_its_outage_was_declared(self, inventory: Inventory) -> None:
        Engine(Path(inventory.directory), shown)
        file = CountersFile(Path(inventory.directory), FABRIC)
        file.switches["spine1"]["is_on"] = 0
        file.write()
        (found,) = audit(inventory, NOTHING_DECLARED)
        assert (found.where, found.what) == ("switch spine1", "power")
        assert list(audit(inventory, replace(NOTHING_DECLARED, daemons={"spine1": 0}))) == []

    def test_of_an_engine_that_has_ended_that_is_the_finding(self, inventory: Inventory) -> None:
        (Path(inventory.directory) / process.PID).write_text("4194304")
        (found,) = audit(inventory, NOTHING_DECLARED)
        assert (found.where, found.what, found.found) == ("the fabric engine", "process", None)


def test_what_has_ended_is_named_with_its_last_words(inventory: Inventory) -> None:
    directory = Path(inventory.directory)
    assert ENGINE.ended(inventory) == "its OpenFlow agent has ended"
    (directory / process.AGENT_PID).write_text(str(os.getpid()))
    assert ENGINE.ended(inventory) == ""
    (directory / process.PID).write_text("4194304")
    (directory / process.LOG).write_text("one\nfabricd: no memory\n")
    assert ENGINE.ended(inventory) == "the fabric engine has ended (fabricd: no memory)"


# ---- management

def test_neighbours_are_told_one_by_one(inventory: Inventory) -> None:
    engine = Engine(Path(inventory.directory))
    set_neighbours(switch(inventory), [("10.255.0.2", "02:ff:00:00:00:02"), ("10.255.1.2", "02:ff:00:00:00:02")])
    assert engine.commands == ["neighbour leaf1 10.255.0.2 02:ff:00:00:00:02",
                               "neighbour leaf1 10.255.1.2 02:ff:00:00:00:02"]


def test_drop_rules_are_counted_by_their_cookies(inventory: Inventory) -> None:
    Engine(Path(inventory.directory), lambda c: {"drops leaf1": "7:2 9:0 7:1"}[c])
    assert drop_counts(switch(inventory)) == {7: 3, 9: 0}


def test_a_path_is_asked_by_a_frame_of_the_flow(inventory: Inventory) -> None:
    engine = Engine(Path(inventory.directory), lambda _: "rules=1,2 output=1 tunnel=10.255.1.2,10.255.2.2")
    assert path_of(switch(inventory), FRAME).tunnel_ends == ("10.255.1.2", "10.255.2.2")
    assert engine.commands == [f"trace leaf1 101 {frame_bytes(FRAME).hex()}"]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_frame_is_one_of_the_flow(protocol: str) -> None:
    from scapy.layers.inet import IP  # noqa: PLC0415 - slow to import
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    asked = replace(FRAME, protocol=protocol)       # type: ignore[arg-type]
    made = Ether(frame_bytes(asked))
    assert (made.src, made.dst, made[IP].src, made[IP].dst) == (FRAME.src_mac, FRAME.dst_mac, "10.0.0.1", "10.0.0.2")
    assert (made[IP].payload.name.lower(), made.sport, made.dport) == (protocol, 5000, 9000)
    again = Ether(bytes(Ether(bytes(made))))
    del again[IP].chksum
    assert Ether(bytes(again))[IP].chksum == made[IP].chksum


def test_a_path_to_nowhere_shows_the_engines_words(inventory: Inventory) -> None:
    Engine(Path(inventory.directory), lambda _: "rules=4 drop=dropped_by_rule")
    found = path_of(switch(inventory), FRAME)
    assert (found.tunnel_ends, found.shown) == ((), "rules=4 drop=dropped_by_rule")


# ---- captures and calibration frames

def test_a_capture_is_pcap_with_nanoseconds(inventory: Inventory) -> None:
    Engine(Path(inventory.directory), lambda _: "event frame leaf1->h1 1500000000 60 0102")
    read, write = os.pipe()
    capture.capture(Path(inventory.directory) / SOCKET, ["leaf1->h1"], 1, write)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        assert file.read(24) == capture.HEADER
        assert file.read()[8:] == b"\x02\0\0\0\x3c\0\0\0\x01\x02"


def test_a_direction_is_captured_by_its_name_and_a_link_both_ways(inventory: Inventory) -> None:
    assert ENGINE.capture_command(inventory, "leaf1->h1", 5)[-3:] == ["--packets", "5", "leaf1->h1"]
    assert ENGINE.capture_command(inventory, "h1-leaf1")[-2:] == ["h1->leaf1", "leaf1->h1"]


def test_frames_are_fed_without_waiting_for_each_answer(inventory: Inventory) -> None:
    engine = Engine(Path(inventory.directory))
    feeder = Feeder(Path(inventory.directory) / SOCKET, "leaf1->h1", b"\x01\x02")
    for _ in range(200):
        feeder.send()
    feeder.close()
    assert set(engine.commands) == {"inject leaf1->h1 0102"}


def test_a_frame_that_is_refused_is_an_error(inventory: Inventory) -> None:
    Engine(Path(inventory.directory), lambda _: "event\nerror there is no direction x")
    feeder = Feeder(Path(inventory.directory) / SOCKET, "x", b"\x01\x02")


    def feed() -> None:
        for _ in range(200):
            feeder.send()

    with pytest.raises(HostError, match="there is no direction x"):
        feed()
    feeder.close()


# ---- the program

@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of two files, and a cache of its own."""
    directory = tmp_path / "sources"
    directory.mkdir()
    (directory / "a.c").write_text("int b(void);\nint main(void) { return b(); }\n")
    (directory / "b.c").write_text("int b(void) { return 7; }\n")
    monkeypatch.setattr(build, "SOURCES", directory)
    monkeypatch.setattr(build, "CACHE", tmp_path / "cache")
    return directory


def test_the_program_is_compiled_once_for_its_sources(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.program()
    assert os.waitstatus_to_exitcode(os.system(str(first))) == 7      # noqa: S605 - a path of ours
    monkeypatch.setattr(build, "find_program", lambda _: None)
    assert build.program() == first
    (sources / "b.c").write_text("int b(void) { return 8; }\n")
    with pytest.raises(HostError, match="apt-get install gcc libc6-dev"):
        build.program()


def test_sources_that_do_not_compile_are_reported_and_leave_nothing(sources: Path, tmp_path: Path) -> None:
    (sources / "b.c").write_text("int b(void) { return unknown; }\n")
    with pytest.raises(HostError, match="unknown"):
        build.program()
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["build.lock"]


def test_a_cache_that_others_can_write_is_refused(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(HostError, match="AIFAB_CACHE"):
        build.program()
    assert sources.is_dir()


def test_a_lab_of_another_datapath_has_no_layout(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="what a fabric engine was started with"):
        Layout.read(tmp_path)
