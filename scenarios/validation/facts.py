"""What the files of a finished run say, as checks ask for it. Nothing is guessed: what is missing is None."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from scenarios.evidence.results import Part, Recorded, RunDirectory
from scenarios.report.measured import Json
from scenarios.report.series import usable
from scenarios.validation.names import ALL_DROPS
from scenarios.verdict.invariants.evidence import Level
from topologies.model.document import show
from topologies.model.errors import LabError
from traffic.runtime.records import SENTINEL, IperfRecord

_BEGINS, _ENDS = ("start", "scheduled"), ("end", "done")        # of records


class Facts:
    """One run. Raises LabError for a run that did not come to its end, and for a damaged file."""

    def __init__(self, run: RunDirectory, recorded: Recorded | None = None) -> None:
        meta = run.meta
        if meta.status != "complete":
            raise LabError(str(run.path), "a finished run, whose checks can be answered",
                           f"one that is {meta.status}" + (f": {meta.error}" if meta.error else ""),
                           "run the scenario again")
        self._run, self._recorded = run, recorded or Recorded(run)

    @cached_property
    def level(self) -> str:
        """The verdict."""
        level = self._part("verdict").get("verdict")
        if level not in Level.__members__:
            raise LabError(str(self._run.path / "verdict.json"), f"one of {', '.join(Level.__members__)}", show(level),
                           "it was changed after the run; run the scenario again")
        return str(level)

    @cached_property
    def metrics(self) -> Mapping[str, Json]:
        return self._part("metrics")

    @cached_property
    def predictions(self) -> dict[str, Json]:
        """By key; empty if the model had nothing to predict."""
        return {k: v if isinstance(v, dict) else {"value": v} for k, v in (self._run.read("predictions") or {}).items()}

    @cached_property
    def proofs(self) -> list[Json]:
        """The reachability proofs of a scenario with VPCs, in the order in which they were made."""
        return list((self._run.read("tenants") or {}).get("proofs", []))

    def drops(self, place: str) -> int:
        """Packets of the whole run at a place: a cause, a direction (its classes included), a link (both directions),
        one class, or a drop rule."""
        ledger = self._part("ledger")
        if place in ALL_DROPS:
            return sum(ledger.get(ALL_DROPS[place], {}).values())
        places: Mapping[str, int] = {**ledger.get("queue_drops", {}), **ledger.get("policy_drops", {})}
        wanted = _directions(place)
        return sum(n for name, n in places.items()
                   if name == place or name in wanted or name.partition(" class ")[0] in wanted)

    def drops_of_phase(self, place: str, phase: str, wait: float = 0.0) -> int | None:
        """Packets that queues dropped in a phase, its first `wait` seconds left out; a sample's period exact.

        None: the phase left no record, was over by then, or nothing was sampled.
        """
        begin, end = self._spans.get(phase, (0.0, 0.0))
        counters = self._recorded.counters
        if counters is None or not usable(counters) or end <= begin + wait:
            return None
        first = max(int(counters.t.searchsorted(begin + wait, "right")) - 1, 0)
        last = min(int(counters.t.searchsorted(end)), len(counters.t) - 1)
        wanted = counters.directions if place == "queues" else _directions(place)
        columns = [i for i, d in enumerate(counters.directions) if d in wanted]
        return int((counters.drops[last, columns] - counters.drops[first, columns]).sum())

    @cached_property
    def _spans(self) -> dict[str, tuple[float, float]]:
        """Phase -> first start and last end of its records, s since the run's t0."""
        found: dict[str, tuple[float, float]] = {}
        for record in self._recorded.records:
            if getattr(record, "workload", "") == SENTINEL:
                continue
            begins, ends = ([x for k in stamps if isinstance(x := getattr(record, k, None), float)]
                            for stamps in (_BEGINS, _ENDS))
            if isinstance(record, IperfRecord):     # says how long, not until when
                ends.append(record.start + record.seconds)
            if begins:
                phase = str(getattr(record, "phase", ""))
                low, high = found.get(phase, (begins[0], begins[0]))
                found[phase] = min(low, *begins), max(high, *begins, *ends)
        return found

    def _part(self, name: Part) -> Json:
        part = self._run.read(name)
        if part is None:
            raise LabError(str(self._run.path / f"{name}.json"), "a part of a complete run", "no such file",
                           "it was removed after the run; run the scenario again")
        return part


def _directions(place: str) -> tuple[str, ...]:
    """'leaf1->h1' is one direction, 'h1-leaf1' two."""
    if "->" in place or "-" not in place or " " in place:
        return (place,)
    a, b = place.split("-")
    return f"{a}->{b}", f"{b}->{a}"
