"""Captures: what is read of them, what becomes of it, and how each bad input is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from scenarios.commands.replay import scenario_of
from scenarios.run.phases import notes_of, traffic_of
from scenarios.spec.compiling import compiled
from scenarios.spec.expected import traffic_lines
from topologies.model.errors import LabError, SpecError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.scale import Scale
from traffic.transports.replay.capture import MOST_FLOWS, Flow, read_capture
from traffic.transports.replay.plan import Replay, Schedule, check_together, merged, replay_of
from traffic.workloads.specs import ReplaySpec

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
HOSTS = {A: "h1", B: "h5"}
MACS: dict[str, Any] = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
HEADERS = 14 + 20


def at(seconds: float, body: Packet) -> Packet:
    frame = Ether(**MACS) / body
    frame.time = 1_700_000_000 + seconds
    return frame


def tcp(seconds: float, size: int, src: str = A, dst: str = B, sport: int = 40_000, dport: int = 80) -> Packet:
    """A TCP segment in a frame of `size` bytes."""
    return at(seconds, IP(src=src, dst=dst) / TCP(sport=sport, dport=dport) / Raw(bytes(size - HEADERS - 20)))


def udp(seconds: float, size: int, src: str = B, dst: str = A, sport: int = 80, dport: int = 40_000) -> Packet:
    return at(seconds, IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(bytes(size - HEADERS - 8)))


def written(directory: Path, *frames: Packet) -> Path:
    path = directory / "some capture.pcap"
    wrpcap(str(path), list(frames), linktype=1)
    return path


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(load_fabric("small"))


def replayed(path: Path, fabric: Fabric, **keys: Any) -> Replay:
    spec = ReplaySpec.model_validate({"kind": "replay", "trace": str(path), "hosts": HOSTS, **keys})
    return replay_of(spec, fabric, "w")


def test_flows_keep_times_sizes_and_ports_and_the_rest_is_counted_by_kind(tmp_path: Path) -> None:
    path = written(
        tmp_path, tcp(0.5, 1514), at(0.6, ARP()), udp(0.75, 100), tcp(0.25, 200), at(0.8, IP(src=A, dst=B) / ICMP()),
        udp(0.9, 90, dst="224.0.0.251", dport=5353), at(0.95, IP(src=A, dst=B, frag=100, proto=17) / Raw(bytes(100))))
    capture = read_capture(path)
    forth, back = Flow(A, B, 6, 40_000, 80), Flow(B, A, 17, 80, 40_000)
    # Writing rounds to microseconds.
    assert [(round(t, -3), flow, size) for t, flow, size in capture.packets] == [
        (0, forth, 200), (250_000_000, forth, 1514), (500_000_000, back, 100)]
    assert capture.left_out == {"ARP": 1, "other protocols over IPv4": 1, "multicast and broadcast": 1,
                                "fragments": 1}


def test_a_replay_has_a_stream_for_each_flow_and_the_captures_schedule(tmp_path: Path, fabric: Fabric) -> None:
    path = written(tmp_path, tcp(0, 1514), udp(0.5, 54), tcp(1, 514), at(1.1, ARP()))
    replay = replayed(path, fabric, speedup=2)
    first, second = replay.streams
    assert (first.name, first.src, first.dst, first.sport, first.dport) == ("w/0", "h1", "h5", 40_000, 80)
    assert (first.packets, first.frame, first.largest) == (2, 1014, 1514)
    assert first.pps == pytest.approx(2.0)
    assert (second.src, second.dst, second.sport, second.dport, second.packets) == ("h5", "h1", 80, 40_000, 1)
    assert replay.schedule.due.tolist() == pytest.approx([0, 250_000_000, 500_000_000], abs=2000)
    assert replay.schedule.stream.tolist() == [0, 1, 0]
    assert replay.schedule.frame.tolist() == [1514, 66, 514]
    assert replay.notes["left out"] == "ARP (1)"
    assert replay.notes["enlarged"].startswith("1 frames of less than 66 bytes")
    assert "3 packets of 2 flows" in replay.notes["capture"]


def test_a_scale_stretches_times_as_it_slows_rates(tmp_path: Path) -> None:
    scaled = expand(load_fabric("scaled400g"))
    scale: Scale = scaled.spec.scale.scale
    replay = replayed(written(tmp_path, tcp(0, 1514), tcp(0.001, 1514)), scaled)
    assert int(replay.schedule.due[1]) == pytest.approx(1e6 / scale.rate, rel=0.01)
    assert scale.rate < 1


def test_several_replays_run_as_one_schedule(tmp_path: Path, fabric: Fabric) -> None:
    one = replayed(written(tmp_path, tcp(0, 100), tcp(0.2, 100)), fabric)
    two = replayed(written(tmp_path, udp(0, 200), udp(0.1, 200)), fabric)
    streams, schedule = merged([one, two])
    assert [s.sport for s in streams] == [40_000, 80]
    assert schedule.stream.tolist() == [0, 1, 1, 0]
    assert schedule.frame.tolist() == [100, 200, 200, 100]
    path = tmp_path / "schedule.npz"
    schedule.save(path)
    again = Schedule.load(path)
    assert all(np.array_equal(getattr(again, k), getattr(schedule, k)) for k in ("due", "stream", "frame"))
    with pytest.raises(SpecError, match=f"at most {MOST_FLOWS} flows"):
        check_together({str(k): one for k in range(MOST_FLOWS + 1)})


# ---- bad input

def test_what_is_no_capture_is_reported_with_its_file(tmp_path: Path, fabric: Fabric) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a capture, but long enough to hold the header of one")
    with pytest.raises(LabError, match="a pcap capture") as caught:
        replayed(text, fabric)
    assert caught.value.where == str(text)
    with pytest.raises(LabError, match="no frame at all"):
        replayed(written(tmp_path), fabric)
    with pytest.raises(LabError, match="2 of ARP"):
        replayed(written(tmp_path, at(0, ARP()), at(1, ARP())), fabric)


@pytest.mark.parametrize(("cut", "frame", "found"), [(10, 2, "90 of its 100"), (110, 2, "within its header")])
def test_a_truncated_capture_is_reported_with_the_frame(tmp_path: Path, fabric: Fabric, cut: int, frame: int,
                                                        found: str) -> None:
    whole = written(tmp_path, tcp(0, 100), tcp(1, 100))
    whole.write_bytes(whole.read_bytes()[:-cut])
    with pytest.raises(LabError, match=found) as caught:
        replayed(whole, fabric)
    assert caught.value.where == f"{whole}, frame {frame}"
    assert "truncated" in caught.value.hint


def test_a_snap_length_that_cuts_the_ports_is_reported(tmp_path: Path, fabric: Fabric) -> None:
    frame = tcp(0, 100)
    short = Ether(bytes(frame)[:30])
    short.time, short.wirelen = frame.time, 100
    with pytest.raises(LabError, match="30 captured bytes of 100") as caught:
        replayed(written(tmp_path, short), fabric)
    assert "-s 96" in caught.value.hint


def test_addresses_without_a_host_are_named_with_their_packets(tmp_path: Path, fabric: Fabric) -> None:
    path = written(tmp_path, tcp(0, 100), tcp(1, 100, dst=C), tcp(2, 100, src=C))
    with pytest.raises(SpecError, match=r"none for 192.0.2.3 \(2 packets\)") as caught:
        replayed(path, fabric)
    assert caught.value.where == "workloads.w.hosts"
    with pytest.raises(SpecError, match=f"h1 for {A} and for {B}"):
        replayed(path, fabric, hosts={A: "h1", B: "h1", C: "h2"})


def test_a_frame_over_the_mtu_is_reported_with_its_size(tmp_path: Path, fabric: Fabric) -> None:
    with pytest.raises(SpecError, match="at most 1514 bytes") as caught:
        replayed(written(tmp_path, tcp(0, 100), tcp(1, 9014)), fabric)
    assert "1 larger ones, the first of 9014 bytes" in caught.value.found
    assert "gro off" in caught.value.hint


def test_too_many_flows_are_reported(tmp_path: Path, fabric: Fabric) -> None:
    frame = bytearray(bytes(tcp(0, 66)))
    frames = []
    for k in range(MOST_FLOWS + 1):
        frame[34:36] = (1000 + k).to_bytes(2, "big")
        frames.append(bytes(frame))
    path = tmp_path / "many.pcap"
    wrpcap(str(path), frames, linktype=1)
    with pytest.raises(SpecError, match=f"at most {MOST_FLOWS} flows; found {MOST_FLOWS + 1}"):
        replayed(path, fabric)


# ---- the command

def test_the_command_makes_a_scenario_that_says_what_it_will_do(tmp_path: Path) -> None:
    path = written(tmp_path, tcp(0, 1514), udp(1, 100))
    scenario, _ = scenario_of(path, [f"{A}=h1", f"{B}=h5"], "small", [], 1.0)
    assert scenario.name == "replay-some-capture"
    assert scenario.question == "How does the traffic of some capture.pcap fare on fabric small?"
    (line,) = traffic_lines(scenario, compiled(scenario))
    assert "replay of some capture.pcap: 2 packets of 2 flows within 1 s" in line
    traffic = traffic_of(scenario, scenario.phases[0], expand(scenario.fabric))
    assert notes_of([traffic])["replay"]["hosts"] == f"{A} is h1, {B} is h5"


@pytest.mark.parametrize(("maps", "speedup", "where", "found"), [
    ([], 1.0, "--map", "no --map"),
    (["h1"], 1.0, "--map h1", "h1"),
    ([f"{A}=h1", f"{A}=h2"], 1.0, f"--map {A}=h2", f"{A} is h1 already"),
    (["192.0.2=h1"], 1.0, "--map", "192.0.2"),
    ([f"{A}=h1", f"{B}=h77"], 1.0, f"--map {B}", "h77"),
    ([f"{A}=h1"], 1.0, "--map", f"none for {B} (1 packets)"),
    ([f"{A}=h1", f"{B}=h5"], 0.0, "--speedup", "0"),
])
def test_wrong_options_of_the_command_are_named(tmp_path: Path, maps: list[str], speedup: float, where: str,
                                                found: str) -> None:
    with pytest.raises(SpecError) as caught:
        scenario_of(written(tmp_path, tcp(0, 100)), maps, "small", [], speedup)
    assert (caught.value.where, caught.value.found) == (where, found)


def test_a_capture_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        scenario_of(tmp_path / "none.pcap", [f"{A}=h1"], "small", [], 1.0)
    assert (caught.value.where, caught.value.found) == (str(tmp_path / "none.pcap"), "no such file")
