"""What a job's model, its process or iperf3 would refuse, `check` refuses with file and line: no lab is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios.run.jobs import jobs_of, setting_of
from scenarios.run.phases import traffic_of
from scenarios.spec.load_scenario import LIBRARY, load_scenario
from tests.unit.bounded import MEMORY, aifab, refused
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.load import ready_files
from traffic.inference.plan import ServingJob
from traffic.transports.iperf import Job as IperfJob
from traffic.transports.replay.plan import ReplayJob
from traffic.transports.rocev2.plan import RoceJob
from traffic.transports.udp.plan import Job as StreamsJob
from traffic.workloads.kinds.kind import Setting

pytestmark = pytest.mark.large

H = "[h1, h5]"
NOWHERE = Setting().common
# Workloads of one phase -> the key to blame, expected, found; None where it is fine.
WRONG: dict[str, tuple[str, str, str] | None] = {
    f"u: {{kind: udp, pairs: [{H}], pps: 100, duration: 0s}}": ("u.duration", "a number above 0", "0.0"),
    f"u: {{kind: udp, pairs: [{H}], pps: 1000, duration: 5h}}": (
        "u.duration", "at most 16777216 packets in a stream", "18000000"),
    f"u: {{kind: udp, pairs: [{H}], pps: 2000000, count: 10}}": (
        "u.pps", "a number of at most 1000000 packets a second", "2000000.0"),
    f"u: {{kind: udp, pairs: [{H}], rate: 10tbit, count: 10}}": (
        "u.rate", "a number of at most 1000000 packets a second", "825627476"),
    f"u: {{kind: udp, pairs: [{H}], pps: 100, count: 20000000}}": (
        "u.count", "a number of at most 16777216", "20000000"),
    f"u: {{kind: udp, pairs: [{H}, [h2, h6], [h3, h7]], pps: 1000, duration: 4h}}": (
        "u", "at most 33554432 packets in all streams of a phase", "43200000"),
    f"a: {{kind: udp, pairs: [{H}], pps: 1000, count: 9}}, "
    f"u: {{kind: udp, pairs: [{H}, [h2, h6], [h3, h7]], pps: 1000, duration: 4h}}": (
        "u", "at most 33554432 packets in all streams of a phase", "43200009"),
    f"u: {{kind: udp, pairs: [{', '.join([H] * 1025)}], pps: 1, count: 1}}": (
        "u", "at most 1,024 streams in a phase", "1,025"),
    f"u: {{kind: udp, pairs: [{', '.join([H] * 12)}], pps: 1, count: 1, flows: 1024}}": (
        "u", "at most 12000 flows from one host", "more from h1"),
    f"w: {{kind: rocev2, pairs: [{', '.join([H] * 17)}], queue_pairs: 64, rate: 1mbit, size: 100kB}}": (
        "w", "at most 1,024 queue pairs in a phase", "1,088"),
    f"w: {{kind: rocev2, pairs: [{H}], rate: 4mbit, size: 20GB, mtu: 256}}": (
        "w", "at most 8388608 packets for a queue pair", "78125000"),
    f"w: {{kind: rocev2, pairs: [{H}], rate: 100tbit, size: 1kB}}": (
        "w.rate", "a number of at most 1000000 packets a second", "11552680221"),
    f"b: {{kind: bulk, pairs: [{H}], duration: 25h}}": (
        "b.duration", "at most 86,400 s, which is as long as iperf3 runs", "90,000 s"),
    f"b: {{kind: bulk, pairs: [{', '.join([H] * 200)}]}}, c: {{kind: bulk, pairs: [{', '.join([H] * 57)}]}}": (
        "b.pairs", "at most 256 bulk transfers at the same time", "257"),
    "r: {kind: collective, size: 1MB, ranks: 20000, fold: true}": (
        "r.ranks", "at most 100,000 computes and transfers in an iteration",
        "all-reduce (ring) of 20,000 ranks, which are 800,000,000"),
    "r: {kind: collective, size: 1MB, ranks: 200, fold: true, algorithm: direct}": (
        "r.ranks", "at most 2,000,000 transfers that wait for others",
        "all-reduce (direct) of 200 ranks, which have 7,960,000"),
    "r: {kind: collective, size: 1MB, ranks: 8, op: all-to-all, flows_per_pair: 64, iterations: 1}": None,
    "r: {kind: collective, size: 1MB, ranks: 200, fold: true, flows_per_pair: 64}": (
        "r.flows_per_pair", "at most 10,000 TCP connections",
        "all-reduce (ring) of 200 ranks with 64 flows a pair, which are 12,800"),
    "j: {kind: training-job, model: llama3-8b, data: 2, micro_batches: 1000000}": (
        "j", "at most 20,000 computes and transfers in an iteration",
        "2 ranks and 1,000,000 micro-batches, which are at least 4,000,002"),
    "j: {kind: training-job, model: llama3-8b, data: 100000, fold: true}": (
        "j", "at most 20,000 computes and transfers in an iteration",
        "100,000 ranks and 1 micro-batches, which are at least 10,000,100,000"),
    "j: {kind: training-job, model: llama3-8b, data: 2, pipeline: 64, fold: true}": (
        "j.pipeline", "a divisor of layers, 32", "64"),
    "s: {kind: serving, clients: [h1], gateway: h2, rate: 1, requests: 10000000}": (
        "s.requests", "at most 50,000 requests, those of all turns and agents together",
        "10,000,000 requests, which are 10,000,000"),
    "s: {kind: serving, clients: [h1], gateway: h2, rate: 1, turns: 100000}": (
        "s.turns", "at most 50,000 requests, those of all turns and agents together",
        "100 sessions of 100,000 turns, which are 10,000,000"),
    "s: {kind: serving, clients: [h1], gateway: h2, rate: 1, block: 1, requests: 9000}": (
        "s.block", "at most 2,000,000 blocks of all prompts together",
        "9,000 requests in blocks of 1 tokens, which have some 13,05"),
    "s: {kind: serving, clients: [h1], gateway: h2, replicas: [h3], rate: 1, chunk: 1, input_tokens: 200000}": (
        "s.chunk", "prompts that are computed in at most 100,000 steps", "200,000 tokens in chunks of 1"),
    "s: {kind: serving, clients: [h1], gateway: h2, replicas: [h3], rate: 1, requests: 5000, agent: {hosts: [h4], "
    "tools: {t: {hosts: [h5]}}, steps: [64, 64], fan_out: [16, 16]}}": (
        "s.requests", "at most 50,000 requests, those of all turns and agents together",
        "5,000 tasks of agents of 1072 calls, which are 5,360,000"),
    ", ".join(f"{name}: {{kind: collective, size: 1MB, ranks: 200, fold: true}}" for name in "abcd"): (
        "", "at most 200,000 computes and transfers of an iteration in all phases together", "320,000"),
}


@pytest.mark.parametrize("workloads", WRONG)
def test_what_a_job_does_not_allow_is_refused_with_file_and_line(tmp_path: Path, workloads: str) -> None:
    (tmp_path / "s.yml").write_text(f"name: s\nquestion: Does it run?\nfabric: small\nworkloads: {{{workloads}}}\n")
    wanted = WRONG[workloads]
    if wanted is None:
        load_scenario(str(tmp_path / "s.yml"))
        return
    with pytest.raises(SpecErrors) as info:
        load_scenario(str(tmp_path / "s.yml"))
    (error,) = info.value.errors
    key, expected, found = wanted
    where = f"{tmp_path}/s.yml:4 workloads.{key}" if key else f"{tmp_path}/s.yml:1 phases"
    assert (error.where, error.expected) == (where, expected)
    assert error.found.startswith(found)


def test_check_says_so_in_bounded_memory_for_each_of_them(tmp_path: Path) -> None:
    for n, workloads in enumerate(w for w, wanted in WRONG.items() if wanted):
        (tmp_path / f"{n}.yml").write_text(f"name: s\nquestion: q?\nfabric: small\nworkloads: {{{workloads}}}\n")
    names = [f"{n}.yml" for n in range(sum(wanted is not None for wanted in WRONG.values()))]
    assert [line.split(":", 1)[0] for line in refused(aifab(tmp_path, "check", *names))] == names


@pytest.mark.parametrize(("lines", "where", "expected"), [
    ("events:\n" + "- {at: 1s, link: leaf1-spine1, flap: {period: 1ms, count: 1000}}\n" * 6, "s.yml:5 events",
     "at most 10,000 changes, each going down and up of a flap among them"),
    ("events:\n" + "- {at: 1s, switch: leaf1, state: restart}\n" * 300, "s.yml:5 events", "at most 256 of them"),
    ("schedule:\n" + "- {at: 1s, move: {h1: a/b}}\n" * 300, "s.yml:5 schedule", "at most 256 of them"),
    ("phases:\n" + "".join(f"- {{name: p{n}, run: [b]}}\n" for n in range(300)), "s.yml:5 phases",
     "at most 256 of them"),
    ("vpcs:\n" + "- {kind: VPCAttachment, metadata: {name: a}, spec: {connection: h1, subnet: a/b}}\n" * 3001,
     "s.yml:5 vpcs", "at most 3000 of them"),
])
def test_lists_of_a_scenario_have_a_length(tmp_path: Path, lines: str, where: str, expected: str) -> None:
    (tmp_path / "s.yml").write_text(
        f"name: s\nquestion: q?\nfabric: small\nworkloads: {{b: {{kind: bulk, pairs: [{H}]}}}}\n{lines}")
    (error,) = refused(aifab(tmp_path, "check", "s.yml"))
    assert error.startswith(f"{where}: expected {expected}; found ")


def test_a_queue_that_takes_minutes_to_empty_is_refused_where_streams_wait_for_it(tmp_path: Path) -> None:
    (tmp_path / "s.yml").write_text("name: s\nquestion: q?\nfabric: {host_rate: 1kbit, queue: 60kB}\nworkloads: {u: "
                                    "{kind: udp, pairs: [[h1, h5]], pps: 1, count: 1}}\n")
    with pytest.raises(SpecErrors, match=r"s.yml:3 fabric: expected queues that are empty within 600 s"):
        load_scenario(str(tmp_path / "s.yml"))


@pytest.mark.parametrize("name", sorted(ready_files(LIBRARY)))
def test_every_job_of_the_library_is_what_its_process_reads(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name)
    fabric = expand(scenario.fabric)
    for phase in scenario.phases:
        for job in jobs_of(traffic_of(scenario, phase, fabric), setting_of(scenario, fabric)):
            (tmp_path / "job.json").write_text(json.dumps(job.dump()))
            _READ[job.what](tmp_path / "job.json")


_READ: dict[str, Callable[[Path], object]] = {
    "streams": StreamsJob.read, "roce": RoceJob.read, "replay": ReplayJob.read, "inference": ServingJob.read,
    "iperf": IperfJob.read,
    "engine": lambda path: json.loads(path.read_text())}


@pytest.mark.parametrize(("read", "data"), [
    (StreamsJob.read, {**NOWHERE, "streams": []}), (ServingJob.read, NOWHERE),
    (IperfJob.read, {**NOWHERE, "bulks": {"b": {"kind": "bulk", "pairs": [["h1", "h2"]], "duration": "25h"}}})])
def test_a_job_that_is_wrong_is_an_error_of_its_process_and_no_traceback(
        tmp_path: Path, read: Callable[[Path], object], data: dict[str, object]) -> None:
    (tmp_path / "job.json").write_text(json.dumps(data))
    with pytest.raises(SpecError, match=r"job.json"):
        read(tmp_path / "job.json")


def test_vpcs_of_a_whole_fabric_are_checked_in_bounded_memory(tmp_path: Path) -> None:
    attached = "".join(f"- {{kind: VPCAttachment, metadata: {{name: a{n}}}, spec: {{connection: h{n}, subnet: a/s}}}}\n"
                       for n in range(1, 1985))
    (tmp_path / "s.yml").write_text(
        "name: s\nquestion: q?\nfabric: {leaves: 64, spines: 4, hosts_per_leaf: 31}\n"
        "workloads: {b: {kind: bulk, pairs: [[h1, h40]]}}\nvpcs:\n"
        "- {kind: VPC, metadata: {name: a}, spec: {subnets: {s: {subnet: 10.1.0.0/20}}}}\n"
        + attached)
    reported = aifab(tmp_path, "check", "s.yml")
    assert (reported.code, reported.kb < MEMORY) == (0, True), reported.err
