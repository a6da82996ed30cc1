"""What to send: the job file of traffic.transports.udp, and how specs become streams. No I/O on the network."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, model_validator

from topologies.model.addressing import ETHERNET_HEADER, SENTINEL_DSCP
from topologies.model.errors import SpecError, Violation, Violations
from topologies.model.fabric import Fabric
from topologies.model.fields import Strict
from traffic.runtime.job import PhaseJob
from traffic.runtime.records import SENTINEL
from traffic.workloads.specs import StreamSpec

FRAME_OVERHEAD = 42             # Ethernet 14 + IPv4 20 + UDP 8
MIN_FRAME = 66                  # room for our header of 24 bytes
MAX_PACKETS = 2**24             # of one stream; an endless one at 250 pps reaches it after 18 hours
MAX_JOB_PACKETS = 2**25         # of all streams with an end: 28 bytes of memory each
MAX_STREAMS = 1024              # of a job
MAX_DRAIN = 600.0               # seconds of silence that a job waits for at most
FIRST_PORT = 12_000             # destination port of a job's first stream; the others follow
SENTINEL_FIRST_PORT = 11_000
SOURCE_PORTS = range(20_000, 32_000)    # below the kernel's own choice, so that a seed always finds its ports free
SENTINEL_PPS = 250.0             # of one stream, and
SENTINEL_TOTAL_PPS = 500.0       # of all: at 39 us a packet and switch they take 6 % of a core
SENTINEL_FRAME = 90


class Stream(Strict):
    """One paced stream. `count` packets, or `duration` seconds, or with neither until it is stopped.

    frame is the Ethernet frame in bytes without FCS; flows is the number of source ports taken in turn.
    """

    name: str
    workload: str
    src: str
    dst: str
    pps: float = Field(gt=0, le=1e6)
    frame: int = Field(ge=MIN_FRAME, le=9014)
    count: int | None = Field(None, ge=1, le=MAX_PACKETS)
    duration: float | None = Field(None, gt=0)
    flows: int = Field(1, ge=1, le=1024)
    dscp: int = Field(0, ge=0, le=63)
    seed: int = 0

    @model_validator(mode="after")
    def _one_end(self) -> Stream:
        if self.count is not None and self.duration is not None:
            raise ValueError("count or duration, not both")
        if self.packets is not None and self.packets > MAX_PACKETS:
            raise Violations([Violation(("count" if self.duration is None else "duration",),
                                        f"at most {MAX_PACKETS} packets in a stream", str(self.packets),
                                        "a shorter duration, or fewer packets a second")])
        return self

    @property
    def packets(self) -> int | None:
        """Packets that the schedule holds; None if endless."""
        if self.duration is not None:
            return max(1, math.floor(self.duration * self.pps + 1e-9))
        return self.count

    @property
    def payload(self) -> int:
        return self.frame - FRAME_OVERHEAD


class Job(PhaseJob):
    """What one process of streams does. `drain`: seconds of silence after which missing packets are lost."""

    what = "a job of UDP streams"
    streams: tuple[Stream, ...] = Field(min_length=1, max_length=MAX_STREAMS)
    drain: float = Field(1.0, gt=0, le=MAX_DRAIN)
    first_port: int = Field(FIRST_PORT, ge=1024, le=19_000)
    realtime: bool = Field(False, description="sender and receiver under SCHED_FIFO, where allowed")

    @model_validator(mode="after")
    def _fits(self) -> Job:
        names = [s.name for s in self.streams]
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ValueError(f"streams with names of their own; found {twice} twice")
        total = sum(s.packets or 0 for s in self.streams)
        if total > MAX_JOB_PACKETS:
            raise Violations([Violation(("streams",), f"at most {MAX_JOB_PACKETS} packets in all streams of a phase",
                                        str(total), "shorter, slower or fewer streams, or phases of their own")])
        return self


def streams_of(spec: StreamSpec, fabric: Fabric, name: str, seed: int) -> tuple[Stream, ...]:
    """The streams of a UDP workload called `name`, one per pair, in emulated units.

    rate and duration are converted by the fabric's scale; pps and count are not: packets do not scale.
    pps = rate / (8 x frame). Raises SpecError for an unknown host, a pair of one host, or a frame that
    an access link does not carry.
    """
    scale = fabric.spec.scale.scale
    pps = spec.pps if spec.pps is not None else scale.to_emulated_rate(spec.rate or 0.0) / (8 * spec.frame)
    duration = None if spec.duration is None else scale.to_emulated_time(spec.duration)
    streams = []
    for i, (src, dst) in enumerate(spec.pairs):
        _fits_on(fabric, name, src, dst, spec.frame)
        streams.append(Stream(name=f"{name}/{i}", workload=name, src=src, dst=dst, pps=pps, frame=spec.frame,
                              count=spec.count, duration=duration, flows=spec.flows, seed=seed,
                              dscp=fabric.spec.dscp_of(spec.traffic_class)))
    return tuple(streams)


def _fits_on(fabric: Fabric, where: str, src: str, dst: str, frame: int) -> None:
    if fabric.host(src).name == fabric.host(dst).name:
        raise SpecError(where, "a pair of two hosts", f"[{src}, {dst}]")
    for host in (src, dst):
        mtu = fabric.access_link(host).mtu
        if frame - ETHERNET_HEADER > mtu:
            most = mtu + ETHERNET_HEADER
            raise SpecError(where, f"a frame of at most {most} bytes, which is what {host}'s link carries",
                            f"{frame} bytes", "lower the frame or raise the fabric's mtu")


def sentinel_streams(fabric: Fabric, seed: int) -> tuple[Stream, ...]:
    """The sentinel: small packets from each probe host to the next, until stopped.

    250 a second each, fewer where many leaves would make them a load of their own. A fabric with fewer
    than two probe hosts has none.
    """
    rings = [ring for ring in fabric.probe_rings if len(ring) > 1]
    pairs = [pair for ring in rings for pair in zip(ring, ring[1:] + ring[:1], strict=True)]
    pps = min(SENTINEL_PPS, SENTINEL_TOTAL_PPS / max(len(pairs), 1))
    return tuple(Stream(name=f"{SENTINEL}/{i}", workload=SENTINEL, src=src, dst=dst, pps=pps,
                        frame=SENTINEL_FRAME, dscp=SENTINEL_DSCP, seed=seed)
                 for i, (src, dst) in enumerate(pairs))


def sentinel_job(fabric: Fabric, inventory: Path, t0: float, records: Path, seed: int) -> Job | None:
    """The job of the sentinel through a whole run; None where the fabric has no two probe hosts."""
    streams = sentinel_streams(fabric, seed)
    if not streams:
        return None
    return Job(inventory=inventory, t0=t0, records=records, phase=SENTINEL, streams=streams,
               first_port=SENTINEL_FIRST_PORT, realtime=True)


def source_ports(streams: tuple[Stream, ...]) -> Iterator[tuple[int, ...]]:
    """Source ports of each stream: seeded, so that ECMP places them alike again; unique at each host.

    Raises SpecError where a host has more flows than there are ports.
    """
    taken: dict[str, set[int]] = {}
    for stream in streams:
        mine = taken.setdefault(stream.src, set())
        free = [p for p in SOURCE_PORTS if p not in mine]
        if len(free) < stream.flows:
            raise SpecError(f"stream {stream.name}", f"at most {len(SOURCE_PORTS)} flows from one host",
                            f"more from {stream.src}", "spread the streams over hosts")
        ports = tuple(random.Random(f"{stream.seed} {stream.name}").sample(free, stream.flows))  # noqa: S311 - repeatable on purpose
        mine.update(ports)
        yield ports
