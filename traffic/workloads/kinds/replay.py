"""A capture, played again as UDP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from traffic.transports.replay.plan import NAMES, Replay, ReplayJob, check_together, merged, replay_of
from traffic.workloads.kinds.kind import Json, Setting
from traffic.workloads.kinds.names import host_problems, trace_problems
from traffic.workloads.kinds.paced import Paced, PacedKind, PacedProcess
from traffic.workloads.specs import ReplaySpec


class Player(PacedProcess["Replayed"]):
    """One process of replayed captures, with one schedule for all of them."""

    what, module, (sends, receives) = "replay", "traffic.transports.replay", NAMES
    model, parts = ReplayJob, "flows"

    def job(self, built: Sequence[Replayed], setting: Setting) -> Callable[[], Json]:
        check_together({b.name: b.replay for b in built})
        return super().job(built, setting)

    def keys(self, setting: Setting) -> Json:
        return {"schedule": str(_schedule(setting))}

    def save(self, built: Sequence[Replayed], setting: Setting) -> None:
        merged([b.replay for b in built])[1].save(_schedule(setting))


def _schedule(setting: Setting) -> Path:
    return Path(f"{setting.stem}.replay.schedule.npz")


@dataclass(frozen=True)
class Replayed(Paced):
    """The flows of a capture."""

    replay: Replay
    process = Player()

    @property
    def notes(self) -> Mapping[str, str]:
        return self.replay.notes

    def seconds(self, fabric: Fabric) -> float:
        return float(self.replay.schedule.due[-1]) / 1e9


class ReplayKind(PacedKind[ReplaySpec, Replayed]):
    """TCP and UDP packets of a capture with their sizes and times, between mapped hosts."""

    spec, title, times = ReplaySpec, "The replayed capture", ("latency",)

    def problems(self, spec: ReplaySpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        yield from trace_problems(spec.trace, at)
        for address, host in spec.hosts.items():
            yield from host_problems(fabric, host, (*at, "hosts", address))

    def build(self, spec: ReplaySpec, fabric: Fabric, name: str, seed: int) -> Replayed:
        replay = replay_of(spec, fabric, name)
        return Replayed(name, replay.streams, replay)

    def explain(self, spec: ReplaySpec, built: Replayed, fabric: Fabric) -> str:
        return f"replay of {built.replay.notes['capture']}"
