"""How long a run takes on the clock of the machine that does it. Pure, and known before anything runs.

    bring-up, calibration ─> [connections, traffic, silence] of each phase, proofs of isolation ─> accounting, report

Traffic takes what predictions.json expects (traffic/models/predict.py, the roofline of serving) on the links as events
leave them, streams and captures as long as their schedules, iperf3 its whole seconds. Jobs that share hosts take at
least what their bytes together need. Predictions know no losses, no start-up and no collisions, so a run takes longer
rather than shorter. What the lab needs besides was measured on two cores (docs/reference/benchmarks.md, decision 047).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from scenarios.spec.scenario import Phase, Scenario
from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from topologies.proof.calibrate import BUDGET, MIN_FRAMES, MIN_SECONDS, PINGS, SPOT
from traffic.models.predict import busy_seconds
from traffic.transports.udp.plan import MAX_PACKETS, SENTINEL_PPS
from traffic.workloads.kinds.engine import runs, workloads_of
from traffic.workloads.kinds.kind import Built
from traffic.workloads.workload import Workload

MAX_RUN = 3600 * int(MAX_PACKETS / SENTINEL_PPS / 3600)      # s: 18 h; then the sentinel stream has no numbers left
BRING_UP, PER_NODE = 1.5, 0.03      # s, and s for each host and switch: namespaces, switches, rules, hosts' TCP
PER_PHASE = 2.0                     # s: processes start, connections stand, their paths are asked
PER_PROOF = 0.002                   # s for each pair of hosts that an isolation proof tests
ACCOUNTING, REPORT = 3.0, 4.0            # s: quiet, counters, ledger, tear-down; metrics, verdict and page
COLLISIONS = 1.5                    # x: a ring over leaves whose paths are chosen by hash reaches 0.66 of its limit
_YEAR, _DAY = 365 * 86_400, 86_400


@dataclass(frozen=True)
class Duration:
    """Seconds. phases: name -> its traffic, and the same where paths collide; longest: name -> the workload that it
    waits for; first: what a fabric's first calibration since the machine started takes besides."""

    phases: dict[str, tuple[float, float]]
    longest: dict[str, str]
    besides: float
    first: float

    @property
    def total(self) -> tuple[float, float]:
        """As it is expected, and where paths collide."""
        least, most = (sum(both[n] for both in self.phases.values()) + self.besides for n in (0, 1))
        return least, most


def duration_of(scenario: Scenario, traffic: Iterable[Collection[Built]], fabric: Fabric) -> Duration:
    """Of a run whose phases have this traffic."""
    phases: dict[str, tuple[float, float]] = {}
    longest: dict[str, str] = {}
    for (phase, on), its in zip(fabrics_of(scenario, fabric), traffic, strict=True):
        alone, workloads = {built.name: built.seconds(on) for built in its}, workloads_of(its)
        jobs = [alone[w.name] for w in workloads if _collide(w, on)]
        seconds = max([*alone.values(), *_together(workloads, on), _last_change(scenario, phase, on)])
        phases[phase.name] = seconds, max(seconds, COLLISIONS * max(jobs, default=0.0))
        longest[phase.name] = max(alone, key=lambda name: alone[name])
    spot, full = calibration_seconds(fabric)
    proofs = 1 + sum(any((c.phase or scenario.phases[0].name) == p.name for c in scenario.schedule)
                     for p in scenario.phases)
    pairs = len([n for n in fabric.all_hosts if n.role != "probe"]) ** 2 if scenario.vpcs else 0
    besides = (BRING_UP + PER_NODE * len(fabric.nodes) + spot + PER_PHASE * len(phases) + proofs * pairs * PER_PROOF
               + ACCOUNTING + REPORT)
    return Duration(phases, longest, besides, full - spot)


def check_duration(scenario: Scenario, found: Duration) -> None:
    """Raises SpecError for a run that is longer than its proof can be."""
    total, _ = found.total
    if total > MAX_RUN:
        phase = max(found.phases, key=lambda name: found.phases[name])
        raise SpecError(f"workloads.{found.longest[phase]}",
                        f"a run of at most {MAX_RUN // 3600} h, after which the sentinel stream has no numbers left",
                        f"one of {clock(total)}, of which phase {phase} takes {clock(found.phases[phase][0])}",
                        "a window of the trace, fewer requests, a higher rate, a speedup, or smaller sizes")


def span(both: tuple[float, float]) -> str:
    """'about 12 s', or 'about 48 s to 1 min 12 s'."""
    least, most = (clock(seconds) for seconds in both)
    return f"about {least}" if least == most else f"about {least} to {most}"


def clock(seconds: float) -> str:
    """'12 s', '3 min 20 s', '5 h 10 min', '12 days', '53 years'."""
    for most, unit, name, part, rest in ((60, 1, "s", 1, ""), (3600, 60, "min", 1, "s"), (_DAY, 3600, "h", 60, "min")):
        if round(seconds) < most:
            count, left = divmod(round(seconds), unit)
            more = f" {left // part} {rest}" if left // part else ""
            return f"{count} {name}{more}" if seconds >= 1 or name != "s" else "under 1 s"
    return f"{seconds / _DAY:,.0f} days" if seconds < 2 * _YEAR else f"{seconds / _YEAR:,.0f} years"


def calibration_seconds(fabric: Fabric) -> tuple[float, float]:
    """Of the spot check before each run, and of a fabric's full calibration (topologies/proof/calibrate.py)."""
    rates = sorted((k.rate, k.max_frame, k.queue) for k in fabric.links for _ in k.directions)
    trips = sum(len(ring) - 1 for ring in fabric.probe_rings if ring)
    return _fed(rates[:SPOT]), _fed(rates) + trips * 2 * (PINGS + 1) * 0.02


def _fed(wires: list[tuple[float, int, int]]) -> float:
    """Seconds to measure wires of (rate, frame, queue), as many at once as the budget allows, slowest first."""
    total, group = 0.0, 0.0
    for rate, frame, queue in wires:
        if not group or group + rate > BUDGET:      # the first of a group is its slowest: the others wait for it
            total, group = total + max(MIN_SECONDS, MIN_FRAMES * frame * 8 / rate) + 0.1 + queue * 8 / rate, 0.0
        group += rate
    return total


def fabrics_of(scenario: Scenario, fabric: Fabric) -> Iterator[tuple[Phase, Fabric]]:
    """Each phase with the fabric at the lowest rates that its links have in it; changed ones stay so in later phases.

    A job is paced by the slowest of a leaf's uplinks, unless paths are weighted: all of them count as slow.
    """
    scale, now = fabric.spec.scale.scale, {k.name: k.rate for k in fabric.links}
    for phase in scenario.phases:
        lowest = dict(now)
        for event in sorted(scenario.link_events(phase.name), key=lambda e: e.at):
            if event.rate is not None:
                name = fabric.link(event.link).name
                now[name] = scale.to_emulated_rate(event.rate)
                lowest[name] = min(lowest[name] if event.at else now[name], now[name])
        if fabric.spec.paths != "weighted":
            for leaf in fabric.leaves:
                names = [k.name for k in fabric.uplinks(leaf.name)]
                lowest |= dict.fromkeys(names, min(lowest[name] for name in names))
        links = tuple(k if lowest[k.name] == k.rate else k.model_copy(update={"rate": lowest[k.name]})
                      for k in fabric.links)
        yield phase, fabric if links == fabric.links else Fabric(spec=fabric.spec, nodes=fabric.nodes, links=links)


def _collide(workload: Workload, fabric: Fabric) -> bool:
    """Whether a job's connections choose among several spines by hash."""
    leaves = {fabric.host(h).leaf for h in workload.hosts}
    return (fabric.spec.paths != "pinned" and workload.connections != "pool" and len(leaves) > 1
            and len(fabric.spines) > 1)


def _together(workloads: Iterable[Workload], fabric: Fabric) -> Iterator[float]:
    """Seconds that the bytes of jobs which share hosts need, job after job."""
    jobs = [w for w in workloads if w.connections != "pool"]
    hosts = [frozenset(w.hosts) for w in jobs]
    busy = [runs(w) * busy_seconds(w, fabric) for w in jobs] if len(jobs) > 1 else []
    for used in dict.fromkeys(hosts):
        beside = [seconds for seconds, its in zip(busy, hosts, strict=False) if its & used]
        if len(beside) > 1:
            yield sum(beside)


def _last_change(scenario: Scenario, phase: Phase, fabric: Fabric) -> float:
    """Emulated seconds of the last event or change of a phase; 0 without any."""
    scale = fabric.spec.scale.scale
    first = scenario.phases[0].name
    times = [e.at for e in scenario.link_events(phase.name)] + [e.at for e in scenario.switch_events(phase.name)]
    times += [c.at for c in scenario.schedule if (c.phase or first) == phase.name]
    return scale.to_emulated_time(max(times, default=0.0))
