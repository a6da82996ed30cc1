"""Streams of packets on a schedule: what UDP, RoCEv2 and replayed captures have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Generic, TypeVar

from pydantic import ValidationError

from topologies.model.addressing import ETHERNET_HEADER
from topologies.model.document import KeyPath, Problem, dotted
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.explain import explain
from topologies.model.fabric import Fabric
from topologies.model.fields import Strict
from topologies.model.units import show_time
from traffic.metrics import packets
from traffic.transports.udp.plan import MAX_DRAIN, MAX_STREAMS, Job, Stream
from traffic.transports.udp.records import PacketsRecord, StreamRecord, StreamsRecord
from traffic.workloads.kinds.kind import B, Built, Family, Json, Kind, Pair, Process, S, Setting, checked_job, unplaced
from traffic.workloads.kinds.load import weight

T = TypeVar("T", bound=Stream)
P = TypeVar("P", bound="Paced")
# Values of a stream -> the keys of a spec that give them.
_KEYS: dict[str, tuple[str, ...]] = {"pps": ("pps", "rate"), "count": ("count", "size"), "frame": ("frame", "mtu")}


PACKETS = Family((StreamRecord, PacketsRecord),
                 lambda left, _: packets.metrics(left[StreamRecord], left[PacketsRecord]))


@dataclass(frozen=True)
class Paced(Built):
    """A workload of streams."""

    streams: tuple[Stream, ...]

    def pairs(self) -> set[Pair]:
        return {(s.src, s.dst) for s in self.streams}

    def seconds(self, fabric: Fabric) -> float:
        return max(s.duration if s.duration is not None else (s.packets or 0) / s.pps for s in self.streams)

    def demand(self, fabric: Fabric, seconds: float) -> float:
        return sum(_asks(s, fabric) for s in self.streams)


class PacedKind(Kind[S, B]):
    """A kind of streams."""

    families: ClassVar[tuple[Family, ...]] = (PACKETS,)
    other_records = (StreamsRecord,)


class PacedProcess(Process[P], Generic[P]):
    """A process of streams. model: of its job; parts: what its streams are called."""

    model: ClassVar[type[Job]]
    parts: ClassVar[str] = "streams"

    def job(self, built: Sequence[P], setting: Setting) -> Callable[[], Json]:
        streams = tuple(s for b in built for s in b.streams)
        return checked_job(self.model, {**setting.common, "drain": setting.drain, "realtime": True, "streams": streams,
                                        **self.keys(setting)}, partial(self._placed, streams))

    def keys(self, setting: Setting) -> Json:
        """What its jobs have besides."""
        return {}

    def _placed(self, streams: Sequence[Stream], problem: Problem) -> Problem:
        head = problem.path[0] if problem.path else ""
        if head == "drain":
            return Problem(("fabric",), f"queues that are empty within {show_time(MAX_DRAIN)}, there and back",
                           f"one that takes {problem.found} s", "a shorter queue, a higher rate, or less delay")
        if head != "streams" or len(problem.path) > 1:
            return unplaced(problem)
        at = ("workloads", _largest(streams))
        if len(streams) > MAX_STREAMS:
            return Problem(at, f"at most {MAX_STREAMS:,} {self.parts} in a phase", f"{len(streams):,}",
                           "fewer pairs, or phases of their own")
        return Problem(at, problem.expected, problem.found, problem.hint)


def made(build: Callable[[], tuple[T, ...]], model: type[T], name: str, spec: Strict) -> tuple[T, ...]:
    """The streams of a workload. Raises SpecErrors with what is wrong with them, at the keys of its spec."""
    at: KeyPath = ("workloads", name)
    try:
        return build()
    except SpecError as error:
        raise SpecErrors([SpecError(dotted(at), error.expected, error.found, error.hint)]) from None
    except ValidationError as error:
        wrong = explain(error, model, dict.fromkeys(model.model_fields))
        raise SpecErrors([SpecError(
            dotted((*at, *_key(p.path, spec))), f"{p.expected}{' packets a second' * (p.path == ('pps',))}", p.found,
            p.hint) for p in wrong]) from None


def _key(path: KeyPath, spec: Strict) -> KeyPath:
    """The key of a workload that gave a stream's value; nothing where none did."""
    wanted = _KEYS.get(str(path[0]), (str(path[0]),)) if path else ()
    return next(((key,) for key in wanted if getattr(spec, key, None) is not None), ())


def _largest(streams: Iterable[Stream]) -> str:
    """The workload with the most packets."""
    sizes: Counter[str] = Counter()
    for s in streams:
        sizes[s.workload] += s.packets or 1
    return sizes.most_common(1)[0][0]


def _asks(stream: Stream, fabric: Fabric) -> float:
    """As many full frames as the stream has packets; no more than its host can send of its own ones."""
    full = 8 * (fabric.spec.mtu + ETHERNET_HEADER)
    pps = min(stream.pps, fabric.access_link(stream.src).rate / (8 * stream.frame))
    return pps * full * weight(fabric, stream.src, stream.dst)
