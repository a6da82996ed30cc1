"""Figures out of the runs that came back from the VM, each held against what the lab VM must reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Required, TypedDict

RING_SHARE = 0.90       # of the ring's limit, over links of 1 ms
QUEUE_SHARE = 0.5       # DCTCP's p90 queue over Cubic's
RATE_SHARE = 0.95       # DCTCP's throughput over Cubic's
SETTLED = 0.25          # of the time with traffic, left out at the start: slow start
LOSSY, LOSS = ("leaf1->spine1", "spine1->leaf1"), 0.005     # of vm/scenarios/loss.yml
PACKETS = 1             # in a reading of counters.jsonl: bytes, packets, drops, backlog
RTT_SHARE, RTT_FLOOR = 0.15, 0.5e-3     # a round trip may be off by a share of it, or by seconds if that is more


@dataclass(frozen=True)
class Figure:
    """One sentence with a measured value, and whether it reaches what it must."""

    text: str
    good: bool


@dataclass(frozen=True)
class Direction:
    """One direction of a wire while it was busy: bit/s sent, bytes waiting (p90)."""

    rate: float
    queue: float


def run_of(runs: Path, name: str) -> Path | None:
    """The last run of a scenario, or None."""
    return max(_runs_of(runs, name), default=None)


class Sampled(TypedDict, total=False):
    """A line of counters.jsonl: the header has the directions, the others a time and a reading of each."""

    kind: Required[str]
    directions: list[str]
    t: float
    v: list[tuple[int, int, int, int]]


class Reason(TypedDict):
    """One of verdict.json, of which this is read."""

    level: str
    invariant: str
    text: str


def _runs_of(runs: Path, name: str) -> list[Path]:
    return [p for p in runs.glob(f"*-{name}-*") if (p / "metrics.json").exists()]


def times(runs: Path, step: str) -> int:
    """How often a scenario's step has run its scenario."""
    return len(_runs_of(runs, _scenario(step)))


def _scenario(step: str) -> str:
    return step.replace("scenario ", "vm-", 1)


def busy(lines: Sequence[Sampled], direction: str) -> Direction:
    """Of counters.jsonl: from a quarter into the time in which the direction had packets waiting, to its end."""
    header = next(x for x in lines if x["kind"] == "header")
    at = header["directions"].index(direction)
    samples = [(x["t"], *x["v"][at]) for x in lines if x["kind"] == "wires"]
    waiting = [n for n, (_, _, _, _, backlog) in enumerate(samples) if backlog]
    first = waiting[int(len(waiting) * SETTLED)]
    part = samples[first:waiting[-1] + 1]
    backlogs = sorted(backlog for _, _, _, _, backlog in part)
    return Direction(rate=8 * (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0]),
                     queue=backlogs[int(0.9 * (len(backlogs) - 1))])


def incast(runs: Path) -> Iterator[Figure]:
    """What three streams lost on each datapath, against what the ledger says the queues dropped.

    Beside it what came after a later packet: until a switch knows a new flow, its first packets may be overtaken.
    """
    for datapath in ("user", "kernel"):
        run = run_of(runs, f"vm-incast-{datapath}")
        if run is None:
            continue
        records = (json.loads(x) for x in (run / "records.jsonl").read_text().splitlines())
        streams = [r for r in records if r["kind"] == "stream" and r["workload"] == "senders"]
        lost = sum(s["sent"] - s["received"] for s in streams)
        ledger = json.loads((run / "ledger.json").read_text())
        named = sum(ledger["queue_drops"].values())
        received, overtaken = (sum(s[key] for s in streams) for key in ("received", "reordered"))
        yield Figure(f"incast, {datapath} datapath: {lost} packets lost, {named} named by the ledger, which "
                     f"{'balances' if ledger['balances'] else 'does not balance'} (equal, above 0, balances); "
                     f"{overtaken} of {received} that arrived were out of order",
                     lost == named > 0 and ledger["balances"])


def loss(runs: Path) -> Iterator[Figure]:
    """What the lossy uplink lost of what it was given, both ways, against its spec; nothing may be lost elsewhere."""
    run = run_of(runs, "vm-loss")
    if run is None:
        return
    ledger = json.loads((run / "ledger.json").read_text())
    lost = {d: ledger["link_losses"].get(d, 0) for d in LOSSY}
    lines = [json.loads(x) for x in (run / "counters.jsonl").read_text().splitlines()]
    directions = next(x for x in lines if x["kind"] == "header")["directions"]
    first, *_, last = [x["v"] for x in lines if x["kind"] == "wires"]      # the first: what calibration sent
    passed = sum(last[at][PACKETS] - first[at][PACKETS] for at in map(directions.index, LOSSY))
    share = sum(lost.values()) / (sum(lost.values()) + passed)
    elsewhere = sum(ledger["link_losses"].values()) - sum(lost.values())
    yield Figure(f"link with loss: {share:.2%} of {sum(lost.values()) + passed} packets lost (0.25 % to 0.75 %), "
                 f"{elsewhere} elsewhere (0), packet accounting that "
                 f"{'balances' if ledger['balances'] else 'does not balance'}",
                 LOSS / 2 <= share <= LOSS * 1.5 and not elsewhere and ledger["balances"])


def round_trip(path: Path) -> Iterator[Figure]:
    """Against floor + sum over hops of (delay + 8 x frame / rate)."""
    if not path.exists():
        return
    trip = json.loads(path.read_text())
    spec = trip["floor"] + trip["delays"] + trip["serialisation"]
    off, limit = trip["measured"] - spec, max(RTT_SHARE * spec, RTT_FLOOR)
    yield Figure(f"round trip over links of 1 ms: {trip['measured'] * 1e3:.2f} ms, {off * 1e3:+.2f} from the spec's "
                 f"{spec * 1e3:.2f} (within {limit * 1e3:.2f}); {trip['floor'] * 1e3:.2f} of it are the switches'",
                 abs(off) <= limit)


def ring(runs: Path) -> Iterator[Figure]:
    """The ring over links of 1 ms."""
    run = run_of(runs, "vm-delay")
    if run is not None:
        share = json.loads((run / "metrics.json").read_text())["ring.busbw_of_limit"]["value"]
        yield Figure(f"ring over links of 1 ms: {share:.3f} of its limit (at least {RING_SHARE})", share >= RING_SHARE)


def marking(runs: Path) -> Iterator[Figure]:
    """DCTCP with marking against Cubic with a plain queue, in front of the receiver of an incast."""
    found = [run_of(runs, name) for name in ("vm-dctcp", "vm-cubic")]
    if None in found:
        return
    dctcp, cubic = (busy([json.loads(x) for x in (run / "counters.jsonl").read_text().splitlines()], "leaf1->h1")
                    for run in found if run is not None)
    queue, rate = dctcp.queue / cubic.queue, dctcp.rate / cubic.rate
    yield Figure(f"DCTCP's p90 queue {dctcp.queue / 1e3:.1f} kB, Cubic's {cubic.queue / 1e3:.1f} kB: {queue:.2f} "
                 f"(below {QUEUE_SHARE})", queue < QUEUE_SHARE)
    yield Figure(f"DCTCP's throughput {dctcp.rate / 1e6:.2f} Mbit/s, Cubic's {cubic.rate / 1e6:.2f}: {rate:.3f} "
                 f"(at least {RATE_SHARE})", rate >= RATE_SHARE)


def verdict(runs: Path, step: str) -> list[Reason]:
    """Why the verdict of a scenario's step is not VALID, as verdict.json has it; nothing for another step."""
    run = run_of(runs, _scenario(step)) if step.startswith("scenario ") else None
    if run is None or not (run / "verdict.json").exists():
        return []
    return list(json.loads((run / "verdict.json").read_text())["reasons"])


def reasons(runs: Path, step: str) -> list[str]:
    """The same in words."""
    return [f"{r['level']}, {r['invariant']}: {r['text']}" for r in verdict(runs, step)]


def broken(runs: Path, step: str) -> frozenset[str]:
    """The invariants that make a step's run INVALID."""
    return frozenset(r["invariant"] for r in verdict(runs, step) if r["level"] == "INVALID")


def figures(results: Path) -> list[Figure]:
    """Of what came back: runs/ and rtt.json."""
    runs = results / "runs"
    return [*incast(runs), *ring(runs), *loss(runs), *round_trip(results / "rtt.json"), *marking(runs)]
