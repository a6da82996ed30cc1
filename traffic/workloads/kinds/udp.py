"""Paced UDP streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from topologies.model.addressing import ETHERNET_HEADER
from topologies.model.document import KeyPath, Problem
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.fabric import Fabric
from topologies.model.units import show_rate, show_time
from traffic.transports.udp.plan import Job, Stream, source_ports, streams_of
from traffic.workloads.kinds.kind import Json, Setting
from traffic.workloads.kinds.names import pair_problems
from traffic.workloads.kinds.paced import Paced, PacedKind, PacedProcess, made
from traffic.workloads.specs import StreamSpec


class Streams(PacedProcess["UdpStreams"]):
    """One process of UDP streams, a half that sends and one that receives."""

    what, module, sends, receives = "streams", "traffic.transports.udp", "sender", "receiver"
    model = Job

    def job(self, built: Sequence[UdpStreams], setting: Setting) -> Callable[[], Json]:
        """Raises SpecErrors also for a host with more flows than there are source ports."""
        job = super().job(built, setting)
        try:
            for _ in source_ports(tuple(s for b in built for s in b.streams)):
                pass
        except SpecError as error:
            raise SpecErrors([SpecError(f"workloads.{built[-1].name}", error.expected, error.found,
                                        error.hint)]) from None
        return job


class UdpStreams(Paced):
    process = Streams()


class UdpKind(PacedKind[StreamSpec, UdpStreams]):
    """Single packets on an absolute schedule: loss, reordering, latency and jitter."""

    spec, title, times = StreamSpec, "The UDP streams", ("latency",)
    checks_early = True

    def problems(self, spec: StreamSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        yield from pair_problems(fabric, spec.pairs, at)
        largest = fabric.spec.mtu + ETHERNET_HEADER
        if spec.frame > largest:
            yield Problem((*at, "frame"), f"at most {largest} bytes, a full frame at MTU {fabric.spec.mtu}",
                          str(spec.frame), "larger ones would be cut into fragments")

    def build(self, spec: StreamSpec, fabric: Fabric, name: str, seed: int) -> UdpStreams:
        return UdpStreams(name, made(partial(streams_of, spec, fabric, name, seed), Stream, name, spec))

    def explain(self, spec: StreamSpec, built: UdpStreams, fabric: Fabric) -> str:
        """Frames count whole here as in the spec; a scale stretches times and slows rates."""
        scale = fabric.spec.scale.scale
        rate = scale.to_emulated_rate(spec.rate) if spec.rate is not None else (spec.pps or 0.0) * spec.frame * 8
        if spec.count is not None:
            length = f"{spec.count} packets each"
        else:
            length = f"for {show_time(scale.to_emulated_time(spec.duration or 0.0))}"
        streams = len(spec.pairs)
        return (f"UDP, {streams} stream{'s' if streams > 1 else ''} of {show_rate(rate)} "
                f"in frames of {spec.frame} B, {length}")
