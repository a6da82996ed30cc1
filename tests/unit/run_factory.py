"""Run directories as a run would leave them, with numbers of the right size, made without a lab."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from scenarios.evidence.results import RunDirectory
from scenarios.spec.scenario import Scenario
from tests.unit.records_of import whole
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric

Json = dict[str, Any]
RING = {"kind": "collective", "op": "all-reduce", "size": "8MB", "iterations": 3}
CHECKED = ("calibration", "link", "no emulator loss", "headroom", "timers", "ledger", "lock")


def scenario(name: str = "ring8", question: str = "Does an 8-host ring reach the ring limit?",
             fabric: Json | None = None, workloads: Json | None = None) -> Scenario:
    return Scenario.model_validate({
        "name": name, "question": question, "fabric": fabric or {"host_rate": "10mbit"},
        "workloads": workloads or {"ring": RING}})


def verdict(level: str = "VALID", reasons: int = 0) -> Json:
    """A verdict with so many reasons, all of that level."""
    texts = (
        "leaf1's switch waited for the CPU 46 % of second 12; the limit is 33 %",
        "the machine was idle 3.1 % of second 12; the limit is 15 %",
        "wire leaf1->spine2 sent 88.4 % of its rate with a full queue at 14.25 s; the limit is 90 %",
        "the sentinel's p99 was 3.91 ms between 8.2 s and 12.2 s; the limit is 2.42 ms",
        "17 packets were lost in leaf2's receive queue (rx_missed_errors); the limit is 0",
        "timers of the engine ran 6.4 ms late (p99); the limit is 1 ms",
        "the ledger misses 17 packets at leaf2",
        "wire h3->leaf1 was calibrated at 9.31 Mbit/s, 6.9 % under its rate; the limit is 3 %",
        "steal time was 12 % of second 13; the limit is 5 %",
    )
    names = ("headroom", "headroom", "link", "headroom", "no emulator loss", "timers", "ledger", "calibration",
             "headroom")
    found = [{"invariant": names[i % 9], "level": level, "text": texts[i % 9], "measured": 1.0, "limit": 0.5,
              "where": "leaf1", "when": 12.0} for i in range(reasons)]
    return {"verdict": level, "reasons": found,
            "checked": [{"invariant": n, "level": "VALID", "text": f"{n}: within its limits"} for n in CHECKED]}


def ledger(received: int = 91_204, queues: Json | None = None, policy: Json | None = None,
           faults: Json | None = None, unexplained: Json | None = None) -> Json:
    """Packet accounting that adds up: sent is what was received and what was lost."""
    parts = {"queue_drops": queues or {}, "policy_drops": policy or {}, "emulator_drops": {},
             "fault_losses": faults or {}, "unexplained": unexplained or {}}
    lost = sum(sum(p.values()) for p in parts.values())
    return {"balances": not unexplained, "sent": received + lost, "received": received, **parts}


def metrics(busbw: float = 9.21e6, name: str = "ring") -> Json:
    return {
        f"{name}.busbw": {
            "value": busbw, "unit": "bit/s", "tag": "busbw", "title": "bus bandwidth",
            "samples": 3, "spread": [busbw * 0.99, busbw * 1.004], "formula": "S / t x 2(n-1)/n",
            "source": "nccl-tests doc/PERFORMANCE.md"},
        f"{name}.busbw_of_limit": {
            "value": busbw / 9.395e6, "unit": "", "tag": "busbw_of_limit", "title": "bus bandwidth / ring limit",
            "samples": 3, "spread": None, "formula": "busbw / (rate x 1448 / (1514 + 66/k))", "source": "methods"},
        f"{name}.step_time": {
            "value": 12.162, "unit": "s", "tag": "step_time", "title": "step time", "samples": 3,
            "spread": [12.1, 12.3], "formula": "end of the last rank - start of the first", "source": "methods"},
        f"{name}.jct": {
            "value": 36.5, "unit": "s", "tag": "jct", "title": "job completion time", "samples": 1,
            "spread": None, "formula": "end of the last step - start of the first", "source": "methods"},
    }


def counters(fabric: Fabric, seconds: float = 20.0, period: float = 0.05, load: float = 0.9,
             drops: Json | None = None) -> list[Json]:
    """Sampler lines: links carry up to `load` of their rate in steps, `drops` packets per direction by the end."""
    directions = [d for k in fabric.links for d in k.directions]
    rates = [k.rate for k in fabric.links for _ in range(2)]
    queues = [k.queue for k in fabric.links for _ in range(2)]
    rng = random.Random(7)  # noqa: S311 - numbers for a test
    share = [0.0 if "probe" in d else load * rng.uniform(0.5, 1) for d in directions]
    lines: list[Json] = [{"kind": "header", "period": period, "directions": directions, "rates": rates,
                          "queues": queues, "frames": [1514] * len(directions),
                          "switches": [n.name for n in fabric.switches], "watched": ["engine"]}]
    total = [0.0] * len(directions)
    for n in range(round(seconds / period)):
        t = n * period
        active = 1.0 if math.fmod(t, 6) < 5 else 0.03
        for i, rate in enumerate(rates):
            total[i] += share[i] * active * rate / 8 * period * rng.uniform(0.9, 1.05)
        lost = [round((drops or {}).get(d, 0) * t / seconds) for d in directions]
        lines.append({"kind": "wires", "t": t, "took": 0.001, "late": 0.0, "v": [
            [round(b), round(b / 1514), lost[i], round(queues[i] * share[i] * active)] for i, b in enumerate(total)]})
        if n % round(1 / period) == 0:
            lines.append({"kind": "cpu", "t": t, "seconds": 1.0, "idle": 0.4, "steal": 0.0,
                          "runq": {s.name: 0.05 for s in fabric.switches},
                          "nice": {s.name: 0 for s in fabric.switches}})
    final = [[round(b), round(b / 1514), (drops or {}).get(d, 0), 0]
             for b, d in zip(total, directions, strict=True)]
    return [*lines, {"kind": "wires", "t": seconds, "took": 0.001, "late": 0.0, "v": final}]


def steps(workload: str = "ring", times: tuple[float, ...] = (12.4, 12.1, 12.16, 12.22)) -> list[Json]:
    """One warm-up (negative) and then measured iterations, each of eight ranks."""
    lines, start = [], 0.5
    for i, seconds in enumerate(times):
        ranks = [[start, start + seconds * (0.9 + 0.0125 * r)] for r in range(8)]
        lines.append({"kind": "step", "workload": workload, "phase": "main", "iteration": i - 1 if i else -1,
                      "start": start, "end": start + seconds, "ranks": ranks})
        start += seconds + 0.1
    return lines


def requests(count: int = 400, failed: int = 3) -> list[Json]:
    rng = random.Random(3)  # noqa: S311 - numbers for a test
    lines: list[Json] = []
    for i in range(count):
        at = i * 0.05
        first = at + rng.gammavariate(2, 0.03)
        bad = i < failed
        lines.append({
            "kind": "request", "workload": "chat", "phase": "main", "id": f"req/{i}", "client": "ext1",
            "server": "h1", "scheduled": at, "sent": at + 0.0004, "first_byte": None if bad else first,
            "done": None if bad else first + rng.gammavariate(2, 0.1), "request_bytes": 4000,
            "response_bytes": 60_000, "status": "timeout" if bad else "ok"})
    return lines


def serving(count: int = 150, failed: int = 4, workload: str = "chat", phase: str = "main") -> list[Json]:
    """Requests of a serving workload, some of which were given up, and their SLOs."""
    rng = random.Random(11)  # noqa: S311 - numbers for a test
    lines: list[Json] = [{"kind": "serving-setup", "workload": workload, "phase": phase, "routing": "random",
                          "slo_ttft": 0.5, "slo_tpot": 0.05}]
    for i in range(count):
        at, bad, tokens = i * 0.1, i < failed, 20
        arrived = at + rng.gammavariate(2, 0.05)
        admitted = arrived + rng.gammavariate(1, 0.02)
        made = admitted + 0.08
        first = made + rng.gammavariate(2, 0.02)
        lines.append({
            "kind": "serving", "workload": workload, "phase": phase, "id": i, "status": "timeout" if bad else "ok",
            "scheduled": at, "sent": at, "arrived": arrived, "admitted": admitted, "made": made,
            "first": None if bad else first, "done": at + 60 if bad else first + 0.01 * tokens, "messages": [],
            "output_tokens": 0 if bad else tokens, "wanted_tokens": tokens})
    return lines


def packets(stream: str = "incast-0", count: int = 5000, lost_every: int = 50, rate: float = 1000.0,
            workload: str = "incast") -> list[Json]:
    """A stream's samples in batches and its summary."""
    rng = random.Random(5)  # noqa: S311 - numbers for a test
    lines: list[Json] = []
    for first in range(0, count, 256):
        seqs = range(first, min(first + 256, count))
        lines.append({
            "kind": "packets", "workload": workload, "stream": stream, "first_seq": first,
            "t": [s / rate for s in seqs],
            "delay": [None if lost_every and s % lost_every == 7 else 0.0012 + rng.expovariate(900) for s in seqs]})
    lost = sum(d is None for line in lines for d in line["delay"])
    lines.append({
        "kind": "stream", "workload": workload, "phase": "main", "stream": stream, "src": "h1", "dst": "h3",
        "sent": count, "send_errors": {}, "received": count - lost, "lost": lost, "duplicates": 0, "reordered": 0,
        "reorder_extent_max": 0, "socket_drops": 0, "start": 0.0, "end": count / rate,
        "lateness": {"p50": 1e-5, "p99": 1e-4, "max": 3e-4}, "clock_step": 0.0})
    return lines


def write_lines(path: Path, lines: list[Json]) -> None:
    """Records are written with all that their kind has, other lines as they are."""
    path.write_text("".join(json.dumps(whole(line)) + "\n" for line in lines))


def make(base: Path, spec: Scenario | None = None, *, records: list[Json] | None = None,
         samples: list[Json] | None = None, status: str = "complete", **parts: Json | None) -> RunDirectory:
    """A run directory with these parts; None leaves a part out. `status` as Meta's."""
    spec = spec or scenario()
    run = RunDirectory.create(base, spec, ("aifab", "run", f"{spec.name}.yml"))
    for name, value in parts.items():
        if value is not None:
            run.write(name, value)  # type: ignore[arg-type]
    if records is not None:
        write_lines(run.records_path, records)
    if samples is not None:
        write_lines(run.counters_path, samples)
    if status != "running":
        run.mark(status, "the interface of h3 went down" if status == "failed" else None)  # type: ignore[arg-type]
    return run


def ring(base: Path, level: str = "VALID", reasons: int = 0, queues: Json | None = None,
         busbw: float = 9.21e6) -> RunDirectory:
    """Eight hosts, a ring all-reduce, everything written."""
    spec = scenario()
    return make(
        base, spec, records=[{"kind": "tcp-settings", "congestion_control": "cubic", "rto_min": 0.2}, *steps()],
        samples=counters(expand(spec.fabric), drops=queues), verdict=verdict(level, reasons),
        ledger=ledger(queues=queues), metrics=metrics(busbw),
        predictions={"ring.busbw": {"value": 9.395e6, "unit": "bit/s", "tag": "busbw", "title": "ring limit",
                                    "formula": "rate x 1448/(1514 + 66/k)", "source": "methods"},
                     "ring.step_time": {"value": 11.92, "unit": "s", "tag": "step_time", "title": "step time",
                                        "formula": "bytes / limit"}})
