"""RoCEv2 queue pairs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from topologies.model.addressing import ETHERNET_HEADER
from topologies.model.document import KeyPath, Problem
from topologies.model.fabric import Fabric
from topologies.model.units import show_count, show_rate, show_size
from traffic.metrics import roce
from traffic.transports.rocev2.plan import QueuePair, RoceJob, queue_pairs
from traffic.transports.rocev2.records import RoceRecord
from traffic.transports.rocev2.wire import OVERHEAD
from traffic.transports.udp.records import StreamRecord
from traffic.workloads.kinds.kind import Family
from traffic.workloads.kinds.names import pair_problems
from traffic.workloads.kinds.paced import PACKETS, Paced, PacedKind, PacedProcess, made
from traffic.workloads.specs import RoceSpec

QUEUE_PAIRS = Family((RoceRecord, StreamRecord), lambda left, _: roce.metrics(left[RoceRecord], left[StreamRecord]))


class QueuePairProcess(PacedProcess["QueuePairs"]):
    """One process of queue pairs, a half that sends and one that receives."""

    what, module, sends, receives = "roce", "traffic.transports.rocev2", "roce-sender", "roce-receiver"
    model, parts = RoceJob, "queue pairs"


class QueuePairs(Paced):
    process = QueuePairProcess()


class RoceKind(PacedKind[RoceSpec, QueuePairs]):
    """SEND messages of packets at a pace, over reliable or unreliable connections."""

    spec, title, times = RoceSpec, "The RoCEv2 queue pairs", ("latency",)
    families = (PACKETS, QUEUE_PAIRS)
    checks_early = True

    def problems(self, spec: RoceSpec, fabric: Fabric, at: KeyPath) -> Iterator[Problem]:
        yield from pair_problems(fabric, spec.pairs, at)
        headers = OVERHEAD - ETHERNET_HEADER
        if spec.frame - ETHERNET_HEADER > fabric.spec.mtu:
            most = fabric.spec.mtu - headers
            yield Problem((*at, "mtu"), f"at most {most} bytes of payload at MTU {fabric.spec.mtu}", str(spec.mtu),
                          f"headers and ICRC take {headers} bytes; or raise the fabric's mtu")

    def build(self, spec: RoceSpec, fabric: Fabric, name: str, seed: int) -> QueuePairs:
        return QueuePairs(name, made(partial(queue_pairs, spec, fabric, name, seed), QueuePair, name, spec))

    def explain(self, spec: RoceSpec, built: QueuePairs, fabric: Fabric) -> str:
        scale = fabric.spec.scale.scale
        service = "reliable" if spec.service == "rc" else "unreliable"
        paths = ("sprayed over all paths" if spec.spray
                 else f"on the path{'s' if spec.queue_pairs > 1 else ''} they hash to")
        each = show_count(spec.queue_pairs, f"{service} queue pair")
        return (f"RoCEv2, {show_count(len(spec.pairs), 'pair')} with {each} each, {paths}, "
                f"{show_size(scale.to_emulated_size(spec.size))} each at "
                f"{show_rate(scale.to_emulated_rate(spec.rate))}")
