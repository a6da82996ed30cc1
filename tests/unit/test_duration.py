"""How long a run takes and what it asks of the machine, as check says before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.spec.compiling import Compiled, compiled
from scenarios.spec.demand import PER_PROCESSOR, demand, warning
from scenarios.spec.duration import MAX_RUN, calibration_seconds, clock, span
from scenarios.spec.load_scenario import LIBRARY, load_scenario
from scenarios.spec.scenario import Scenario
from tests.unit.bounded import aifab, refused
from topologies.model.expansion import expand
from topologies.model.load import CATALOG, load_fabric, ready_files
from topologies.model.spec import FabricSpec
from traffic.models.predict import step_seconds
from traffic.transports.udp.plan import MAX_PACKETS, SENTINEL_PPS
from traffic.workloads.kinds.engine import workloads_of


def scenario(tmp_path: Path, workloads: str, fabric: str = "{base: small, paths: pinned}", more: str = "") -> Scenario:
    path = tmp_path / "s.yml"
    path.write_text(f"name: s\nquestion: q?\nfabric: {fabric}\nworkloads:\n{workloads}\n{more}")
    return load_scenario(str(path))


def phases(tmp_path: Path, workloads: str, fabric: str = "{base: small, paths: pinned}",
           more: str = "") -> dict[str, float]:
    """Phase -> expected seconds."""
    found = compiled(scenario(tmp_path, workloads, fabric, more)).duration
    return {name: least for name, (least, _) in found.phases.items()}


RING = "  ring: {kind: collective, size: 1MB, iterations: 3, warmup: 1}"


def test_a_job_takes_its_warm_up_and_its_iterations_as_predicted(tmp_path: Path) -> None:
    made = compiled(scenario(tmp_path, RING))
    (ring,) = workloads_of(made.runs[0])
    assert made.duration.phases["main"][0] == pytest.approx(4 * step_seconds(ring, made.fabric))
    # 2 (n-1)/n S at the ring's limit of 0.979 x 10 x 1448/1514 Mbit/s, 8 hosts
    assert made.duration.phases["main"][0] == pytest.approx(4 * 14e6 / 8 * 8 / 9.36e6, rel=0.03)


@pytest.mark.parametrize(("workload", "seconds"), [
    ("u: {kind: udp, pairs: [[h1, h5]], pps: 100, duration: 7s}", 7),
    ("u: {kind: udp, pairs: [[h1, h5]], pps: 100, count: 1234}", 12.34),
    ("w: {kind: rocev2, pairs: [[h1, h5]], rate: 8mbit, size: 1MB, mtu: 1024}", 1.057),      # 977 packets of 1082 B
    ("b: {kind: bulk, pairs: [[h1, h5]], duration: 6.2s}", 7),
    ("s: {kind: serving, clients: [h1], gateway: h2, replicas: [h3], rate: 10, process: constant, requests: 100, "
     "variation: 0, output_tokens: 1}", 10),
])
def test_what_has_a_schedule_takes_as_long_as_that(tmp_path: Path, workload: str, seconds: float) -> None:
    assert phases(tmp_path, f"  {workload}")["main"] == pytest.approx(seconds, rel=0.01)


def test_a_scale_stretches_times(tmp_path: Path) -> None:
    stretched = "{base: small, host_rate: 10gbit, scale: {rate: 1/1000, size: 1/10}}"
    assert phases(tmp_path, "  u: {kind: udp, pairs: [[h1, h5]], pps: 100, duration: 7s}", stretched)["main"] == 700


def test_turns_and_calls_wait_for_each_other(tmp_path: Path) -> None:
    serving = "kind: serving, clients: [h1], gateway: h2, replicas: [h3, h4], process: constant, rate: 1, requests: 3"
    one = phases(tmp_path, f"  s: {{{serving}}}")["main"]
    turns = phases(tmp_path, f"  s: {{{serving}, turns: 10, think: 2s}}")["main"]
    agents = phases(tmp_path, f"  s: {{{serving}, think: 2s, agent: {{hosts: [h5], tools: {{t: {{hosts: [h6], service: "
                              "5s}}, steps: [4, 4], fan_out: [1, 1]}}")["main"]
    assert 3 < one < 8
    assert one + 5 < turns < one + 9 * 2 * 3
    assert one + 5 < agents < one + 60


def test_prompts_that_replicas_cannot_keep_up_with_take_longer_than_they_come(tmp_path: Path) -> None:
    few = "kind: serving, clients: [h1], gateway: h2, replicas: [h3], rate: 100, requests: 400, input_tokens: 8000"
    assert phases(tmp_path, f"  s: {{{few}, timeout: 10min}}")["main"] > 60
    assert phases(tmp_path, f"  s: {{{few}, timeout: 5s}}")["main"] < 12       # by then all have given up


def test_a_phase_waits_for_the_longest_and_jobs_share_their_ports(tmp_path: Path) -> None:
    both = "phases: [{name: alone, run: [ring]}, {name: both, run: [ring, other]}, {name: beside, run: [ring, b]}]\n"
    found = phases(tmp_path, RING + "\n" + RING.replace("ring", "other") +
                   "\n  b: {kind: bulk, pairs: [[h1, h5]], duration: 60s}", more=both)
    assert found["both"] == pytest.approx(2 * found["alone"], rel=0.02)
    assert found["beside"] == 60


def test_events_leave_slow_links_for_their_phase_and_later_ones(tmp_path: Path) -> None:
    more = ("phases: [{name: a, run: [ring]}, {name: b, run: [ring]}, {name: c, run: [ring]}]\n"
            "events: [{phase: b, at: 0s, link: leaf1-spine1, rate: 2mbit}]\n")
    found = phases(tmp_path, RING, more=more)
    # both uplinks of leaf1 count as slow: 4 Mbit/s for its four hosts' 40, and inside VXLAN 1564 + 58 bytes for the
    # 1514 + 33 of a frame and half an ACK
    assert found["b"] == found["c"] == pytest.approx(found["a"] * 10 * 1622 / 1547, rel=0.01)


def test_a_phase_lasts_until_its_last_event(tmp_path: Path) -> None:
    more = "events: [{at: 90s, link: leaf1-spine1, rate: 20mbit}]\n"
    assert phases(tmp_path, RING, more=more)["main"] == 90


@pytest.mark.parametrize(("paths", "upper"), [("hash", 1.5), ("pinned", 1.0)])
def test_paths_by_hash_may_collide_and_pinned_ones_do_not(tmp_path: Path, paths: str, upper: float) -> None:
    found = compiled(scenario(tmp_path, RING, f"{{base: small, paths: {paths}}}")).duration
    least, most = found.phases["main"]
    assert most == pytest.approx(upper * least)
    assert (" to " in span(found.phases["main"])) == (upper > 1)


def test_the_whole_run_has_what_is_around_its_phases(tmp_path: Path) -> None:
    found = compiled(scenario(tmp_path, RING)).duration
    assert found.total[0] == sum(least for least, _ in found.phases.values()) + found.besides
    assert 5 < found.besides < 20
    wide = compiled(scenario(tmp_path, RING, "{base: wide32, paths: pinned}")).duration
    assert wide.besides > found.besides


def test_a_slow_fabric_takes_longer_to_calibrate() -> None:
    fast, slow = (calibration_seconds(expand(FabricSpec(host_rate=rate))) for rate in ("10mbit", "100kbit"))
    assert slow[0] > 10 * fast[0]
    assert slow[1] >= slow[0]


LONG = {
    "r: {kind: serving, rate: 0.000000001, requests: 1}": "34 years",
    "r: {kind: serving, trace: t.jsonl, format: mooncake}": "54 years",
    "r: {kind: requests, trace: t.csv}": "2 years",
    "r: {kind: collective, size: 1MB, iterations: 100000000}": "5 years",
    "r: {kind: collective, size: 1MB, compute: 15h}": "3 days",
    "r: {kind: udp, pairs: [[h1, h5]], pps: 0.001, duration: 300h}": "12 days",
    "r: {kind: bulk, pairs: [[h1, h5]], duration: 20h}": "20 h",
    "r: {kind: serving, rate: 1, requests: 2, turns: 2, think: 1000000h}": "years",
}


def test_a_run_of_days_is_refused_with_the_line_of_what_takes_so_long(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(
        '{"timestamp": 1700000000000, "input_length": 512, "output_length": 8, "hash_ids": [0]}\n')
    (tmp_path / "t.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
                                    "2025-11-16 18:15:46.6805900,374,44\n")
    for n, workload in enumerate(LONG):
        (tmp_path / f"{n}.yml").write_text(f"name: s\nquestion: q?\nfabric: border\nworkloads:\n  {workload}\n")
    errors = refused(aifab(tmp_path, "check", *(f"{n}.yml" for n in range(len(LONG)))))
    for n, (error, long) in enumerate(zip(errors, LONG.values(), strict=True)):
        assert error.startswith(f"{n}.yml:5 workloads.r: expected a run of at most 18 h, after which the sentinel")
        assert long in error


def test_a_run_is_no_longer_than_its_sentinel_has_numbers_for() -> None:
    assert MAX_RUN * SENTINEL_PPS <= MAX_PACKETS < (MAX_RUN + 3600) * SENTINEL_PPS


@pytest.mark.parametrize(("seconds", "text"), [
    (0.4, "under 1 s"), (1, "1 s"), (59.4, "59 s"), (59.9, "1 min"), (90, "1 min 30 s"), (3599.7, "1 h"),
    (3700, "1 h 1 min"), (86_400 * 3, "3 days"), (1.7e9, "54 years")])
def test_times_are_reported_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


# -- what the machine carries ------------------------------------------------------------------------


def asked(made: Compiled, of: Scenario) -> float:
    return demand(made.runs[0], made.fabric, made.duration.phases[of.phases[0].name][0])


@pytest.mark.parametrize(("workload", "fabric", "rate"), [
    ("r: {kind: collective, size: 1MB}", "small", 74.9e6),      # eight hosts at 10 Mbit/s, as payload
    ("r: {kind: collective, size: 1MB, placement: packed}", "small", 74.9e6 * (2 + 6 / 3) / 8),     # 2 hops of 8
    ("u: {kind: udp, pairs: [[h1, h5]], rate: 4mbit}", "small", 4e6),
    ("u: {kind: udp, pairs: [[h1, h5]], pps: 1000, frame: 90}", "small", 12.1e6),       # as many full frames
    ("u: {kind: udp, pairs: [[h1, h5]], rate: 400mbit}", "small", 10e6),                # h1 sends no more
    ("b: {kind: bulk, pairs: [[h1, h5], [h2, h5], [h3, h5]]}", "small", 10e6),          # h5 takes no more
])
def test_a_phase_asks_for_what_its_hosts_send(tmp_path: Path, workload: str, fabric: str, rate: float) -> None:
    more = "" if "udp" not in workload else ", duration: 5s}"
    of = scenario(tmp_path, f"  {workload[:-1] + more if more else workload}", fabric)
    assert asked(compiled(of), of) == pytest.approx(rate, rel=0.02)


def test_what_is_more_than_the_machine_carries_is_warned_of(tmp_path: Path) -> None:
    assert warning("main", 2 * PER_PROCESSOR, 2) == ""
    assert warning("main", 4 * PER_PROCESSOR, 2) == (
        "warning: phase main asks for 160 Mbit/s between hosts, and 2 processors carry some 80 Mbit/s with headroom: "
        "expect SUSPECT or INVALID; lower the rates, take fewer hosts or more processors")
    (tmp_path / "s.yml").write_text("name: s\nquestion: q?\nfabric: {base: small, host_rate: 100gbit}\nworkloads:\n"
                                    f"{RING}\n")
    reported = aifab(tmp_path, "check", "s.yml")
    assert reported.code == 0
    assert "\n  warning: phase main asks for 74" in reported.out


@pytest.mark.parametrize("name", sorted(ready_files(LIBRARY)))
def test_scenarios_of_the_library_last_minutes_and_ask_for_no_more_than_two_processors_carry(name: str) -> None:
    of = load_scenario(name)
    made = compiled(of)
    assert 10 < made.duration.total[0] < 200
    for phase, traffic in zip(of.phases, made.runs, strict=True):
        assert not warning(phase.name, demand(traffic, made.fabric, made.duration.phases[phase.name][0]), 2)


@pytest.mark.parametrize("name", sorted(p.stem for p in CATALOG.glob("*.yml")))
def test_a_ring_over_every_fabric_of_the_catalog_is_carried_by_two_processors(name: str, tmp_path: Path) -> None:
    load_fabric(name)
    of = scenario(tmp_path, "  r: {kind: collective, size: 1MB}" if name != "scaled400g" else
                  "  r: {kind: collective, size: 1GB}", f"{{base: {name}}}") if name != "bifurcated" else None
    if of is not None:
        assert not warning("main", asked(compiled(of), of), 2)
