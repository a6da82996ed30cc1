"""Streams from specs: pace, sizes, ports, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from topologies.model.addressing import SENTINEL_DSCP
from topologies.model.errors import LabError, SpecError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.transports.udp.plan import (
    MAX_PACKETS,
    SOURCE_PORTS,
    Job,
    Stream,
    sentinel_job,
    sentinel_streams,
    source_ports,
    streams_of,
)
from traffic.workloads.specs import StreamSpec


@pytest.fixture
def fabric() -> Fabric:
    return expand(FabricSpec(name="small", leaves=2, spines=2, hosts_per_leaf=2))


def spec(**keys: object) -> StreamSpec:
    return StreamSpec.model_validate({"kind": "udp", "pairs": [["h1", "h3"], ["h2", "h3"]], **keys})


def stream(**keys: object) -> Stream:
    return Stream.model_validate({"name": "s", "workload": "w", "src": "h1", "dst": "h2", "pps": 100.0,
                                  "frame": 200, "count": 10, **keys})


def test_each_pair_becomes_a_stream_of_the_specs_rate(fabric: Fabric) -> None:
    streams = streams_of(spec(rate="10mbit", frame=1250, duration="2s"), fabric, "incast", 7)
    assert [(s.name, s.src, s.dst) for s in streams] == [("incast/0", "h1", "h3"), ("incast/1", "h2", "h3")]
    assert {s.pps for s in streams} == {1000.0}         # 10e6 / (8 x 1250)
    assert {s.packets for s in streams} == {2000}
    assert {s.payload for s in streams} == {1250 - 42}


def test_rates_and_durations_are_scaled_but_packets_are_not() -> None:
    scaled = expand(FabricSpec.model_validate(
        {"name": "x", "hosts_per_leaf": 2, "host_rate": "400gbit", "scale": {"rate": "1/40000", "size": "1/400000"}}))
    by_rate = streams_of(spec(rate="400gbit", frame=1250, duration="1s"), scaled, "w", 1)[0]
    assert by_rate.pps == pytest.approx(1000.0)
    assert by_rate.duration == pytest.approx(0.1)       # time scales by size / rate = 1/10
    by_count = streams_of(spec(pps=50, count=99), scaled, "w", 1)[0]
    assert (by_count.pps, by_count.packets) == (50.0, 99)


@pytest.mark.parametrize(("pairs", "frame", "found"), [
    ([["h1", "h9"]], 100, "h9"),
    ([["h1", "leaf1"]], 100, "leaf1, a leaf"),
    ([["h1", "h1"]], 100, "[h1, h1]"),
    ([["h1", "h2"]], 1515, "1515 bytes"),
])
def test_streams_that_the_fabric_cannot_carry_are_refused(
        fabric: Fabric, pairs: object, frame: int, found: str) -> None:
    with pytest.raises(SpecError) as caught:
        streams_of(spec(pairs=pairs, frame=frame, pps=1, count=1), fabric, "w", 1)
    assert found in caught.value.found


def test_source_ports_repeat_by_seed_and_never_clash_at_a_host() -> None:
    streams = tuple(stream(name=f"s{i}", src=f"h{1 + i % 2}", flows=64, seed=5) for i in range(8))
    ports = list(source_ports(streams))
    assert ports == list(source_ports(streams))
    assert ports[0] != next(source_ports((stream(name="s0", flows=64, seed=6),)))
    for host in ("h1", "h2"):
        used = [p for s, mine in zip(streams, ports, strict=True) if s.src == host for p in mine]
        assert len(set(used)) == len(used) == 4 * 64
        assert all(p in SOURCE_PORTS for p in used)


def test_more_flows_than_source_ports_at_a_host_are_refused() -> None:
    streams = tuple(stream(name=f"s{i}", flows=1024) for i in range(12))
    with pytest.raises(SpecError, match="more from h1"):
        list(source_ports(streams))


def test_the_sentinel_is_endless_small_and_marked_between_probe_hosts(fabric: Fabric) -> None:
    streams = sentinel_streams(fabric, 1)
    assert [(s.src, s.dst) for s in streams] == [("probe1", "probe2"), ("probe2", "probe1")]
    assert all(s.packets is None and s.dscp == SENTINEL_DSCP and s.pps == 250 for s in streams)
    job = sentinel_job(fabric, "i", 0.0, "r", 1)
    assert job is not None
    assert job.realtime
    assert {s.workload for s in job.streams} == {"sentinel"}


def test_a_fabric_without_two_probes_has_no_sentinel() -> None:
    assert sentinel_job(expand(FabricSpec(probes=False)), "i", 0.0, "r", 1) is None
    assert sentinel_job(expand(FabricSpec(leaves=1)), "i", 0.0, "r", 1) is None


@pytest.mark.parametrize(("keys", "message"), [
    ({"duration": 1.0}, "not both"),
    ({"count": None, "duration": 1e6, "pps": 1e5}, f"at most {MAX_PACKETS}"),
    ({"frame": 60}, "greater than or equal to 66"),
    ({"pps": 0}, "greater than 0"),
    ({"dscp": 64}, "63"),
])
def test_impossible_streams_are_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stream(**keys)


def test_a_job_refuses_streams_of_one_name() -> None:
    with pytest.raises(ValidationError, match="found s twice"):
        Job(inventory="i", t0=0, records="r", phase="p", streams=(stream(), stream()))


def test_a_job_reads_back_as_it_was_written(tmp_path: Path) -> None:
    job = Job(inventory="i", t0=1.5, records="r", phase="p", streams=(stream(), stream(name="t", count=None)), drain=2)
    path = tmp_path / "job.json"
    path.write_text(job.model_dump_json())
    assert Job.read(path) == job
    assert job.streams[1].packets is None


@pytest.mark.parametrize(("text", "found"), [
    (b"{", "1 problem"),
    (b"\xff\xfe", "1 problem"),
    (json.dumps({"inventory": "i", "t0": 0, "records": "r", "phase": "p", "streams": []}).encode(), "streams|item"),
])
def test_a_damaged_job_is_an_error_that_names_the_file(tmp_path: Path, text: bytes, found: str) -> None:
    path = tmp_path / "job.json"
    path.write_bytes(text)
    with pytest.raises(LabError, match=found) as caught:
        Job.read(path)
    assert str(path) in caught.value.where


def test_a_missing_job_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="No such file"):
        Job.read(tmp_path / "none.json")
