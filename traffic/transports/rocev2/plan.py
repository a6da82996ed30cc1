"""What to send: queue pairs of RoCEv2 workloads, the job file of traffic.transports.rocev2. No I/O on the network."""

from __future__ import annotations

import math
import random
from typing import Literal

from pydantic import Field

from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from traffic.transports.rocev2.wire import OVERHEAD, PSNS
from traffic.transports.udp.plan import MAX_PACKETS, MAX_STREAMS, Job, Stream
from traffic.workloads.specs import RoceSpec

ENTROPY_PORTS = range(49_152, 65_536)   # source ports that RoCEv2 senders choose from
SPRAY_PORTS = 1024                      # that a spraying queue pair goes through before it begins again
MOST_REPEATS = 16                       # room in memory for so many transmissions of each packet, on average
FIRST_QPN = 0x100


class QueuePair(Stream):
    """A stream that is one queue pair. `flows` source ports are taken in turn; one keeps it on one path.

    mtu      payload of each packet, bytes      message  packets in each message
    service  rc repeats what was lost, uc does not          timeout  s of silence before rc begins again
    """

    mtu: int
    message: int = Field(ge=1)
    service: Literal["rc", "uc"]
    timeout: float = Field(gt=0)

    @property
    def first_psn(self) -> int:
        """Drawn from the seed, as queue pairs begin anywhere."""
        return random.Random(f"psn {self.seed} {self.name}").randrange(PSNS)  # noqa: S311 - repeatable on purpose

    @property
    def room(self) -> int:
        """Transmissions that memory is reserved for."""
        repeats = MOST_REPEATS if self.service == "rc" else 1
        return min(max((self.packets or 0) * repeats, 10_000), MAX_PACKETS)

    def ports(self) -> tuple[int, ...]:
        """Its source ports, drawn from the seed."""
        draw = random.Random(f"ports {self.seed} {self.name}")  # noqa: S311 - repeatable on purpose
        return tuple(draw.sample(ENTROPY_PORTS, self.flows))


class RoceJob(Job):
    """What one process of queue pairs does."""

    streams: tuple[QueuePair, ...] = Field(min_length=1, max_length=MAX_STREAMS)


def queue_pairs(spec: RoceSpec, fabric: Fabric, name: str, seed: int) -> tuple[QueuePair, ...]:
    """The queue pairs of a workload called `name`, in emulated units. Raises SpecError.

    Each of a pair's queue pairs has its share of rate and size; size and message count whole packets,
    rounded up. pps = rate / (8 x frame).
    """
    scale = fabric.spec.scale.scale
    for host in dict.fromkeys(h for pair in spec.pairs for h in pair):
        mtu = fabric.access_link(host).mtu
        if spec.mtu + OVERHEAD - 14 > mtu:
            raise SpecError(name, f"an mtu of at most {mtu - OVERHEAD + 14} bytes of payload, at {host}'s MTU of {mtu}",
                            f"{spec.mtu} bytes", f"headers and ICRC take {OVERHEAD - 14} bytes")
    packets = _packets(scale.to_emulated_size(spec.size) / spec.queue_pairs, spec.mtu)
    if packets > MAX_PACKETS // 2:
        raise SpecError(name, f"at most {MAX_PACKETS // 2} packets for a queue pair", f"{packets}", "lower the size")
    pps = scale.to_emulated_rate(spec.rate) / (8 * (spec.mtu + OVERHEAD)) / spec.queue_pairs
    return tuple(QueuePair(
        name=f"{name}/{i}.{k}", workload=name, src=src, dst=dst, pps=pps, frame=spec.mtu + OVERHEAD, count=packets,
        flows=SPRAY_PORTS if spec.spray else 1, seed=seed, mtu=spec.mtu, service=spec.service,
        message=_packets(scale.to_emulated_size(spec.message), spec.mtu), timeout=retry_timeout(fabric),
        dscp=fabric.spec.dscp_of(spec.traffic_class))
        for i, (src, dst) in enumerate(spec.pairs) for k in range(spec.queue_pairs))


def _packets(size: float, mtu: int) -> int:
    return max(1, math.ceil(size / mtu))


def retry_timeout(fabric: Fabric) -> float:
    """Seconds of silence after which a reliable queue pair begins again: no queueing may look like a loss.

    Both ways through the slowest queues: four of them there, and as many back, and a little.
    """
    return 0.1 + 8 * max(k.queue * 8 / k.rate + k.delay for k in fabric.links)
