"""A capture and a map of its addresses -> streams with their schedule: the job of traffic.transports.replay."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from topologies.access import files
from topologies.model.addressing import ETHERNET_HEADER
from topologies.model.errors import SpecError
from topologies.model.fabric import Fabric
from topologies.model.units import show_rate, show_time
from traffic.transports.replay.capture import MOST_FLOWS, Capture, Flow, read_capture
from traffic.transports.udp.capture_file import LATEST
from traffic.transports.udp.plan import MIN_FRAME, Job, Stream
from traffic.workloads.specs import ReplaySpec

NAMES = ("replay-sender", "replay-receiver")     # under which the sampler watches the process's two halves
_FASTEST = 1e6              # packets a second that a stream is told to have


class ReplayStream(Stream):
    """A flow of a capture. `frame` is the mean of its frames, rounded; `pps` its mean rate."""

    sport: int = Field(ge=0, le=65_535)
    dport: int = Field(ge=1, le=65_535)
    largest: int = Field(ge=MIN_FRAME, le=9014, description="its largest frame")


class ReplayJob(Job):
    """What one process of replays does. `schedule`: a file of `Schedule.save`."""

    streams: tuple[ReplayStream, ...] = Field(min_length=1, max_length=MOST_FLOWS)
    schedule: str


@dataclass(frozen=True)
class Schedule:
    """All packets in the order of their times: ns after the start, number of the stream, bytes of the frame."""

    due: npt.NDArray[np.int64]
    stream: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]

    def save(self, path: Path) -> None:
        """To `path`, whose name must end in .npz."""
        with os.fdopen(files.new_file(path), "wb") as file:
            np.savez(file, due=self.due, stream=self.stream, frame=self.frame)

    @staticmethod
    def load(path: Path) -> Schedule:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as held:
            return Schedule(held["due"], held["stream"], held["frame"])


@dataclass(frozen=True)
class Replay:
    """One replayed capture, ready to run; `notes` say what was made of it."""

    streams: tuple[ReplayStream, ...]
    schedule: Schedule
    notes: dict[str, str]


def replay_of(spec: ReplaySpec, fabric: Fabric, name: str) -> Replay:
    """The replay of a workload called `name`.

    Times follow the scale of rates, as frames keep their sizes: emulated time = real time / (rate scale x speedup).
    Raises LabError for what is no capture; SpecError naming addresses without a host, a frame that does not fit,
    more flows than can be served.
    """
    try:
        capture = read_capture(Path(spec.trace))
    except SpecError as error:      # more than a replay may have
        raise SpecError(f"workloads.{name}.trace", error.expected, error.found, error.hint) from None
    flows = capture.flows
    _check_addresses(spec, name, capture)
    factor = 1 / (fabric.spec.scale.scale.rate * spec.speedup)
    if float(capture.times[-1]) * factor >= LATEST:
        raise SpecError(f"workloads.{name}.speedup", "a replay that ends within 292 years", f"{spec.speedup:g}")
    sizes = capture.sizes
    schedule = Schedule(np.rint(capture.times * factor).astype(np.int64), capture.numbers, np.maximum(sizes, MIN_FRAME))
    _check_sizes(schedule, [tuple(spec.hosts[a] for a in (f.src, f.dst)) for f in flows], fabric, name)
    streams = tuple(_stream(spec, name, k, flow, schedule) for k, flow in enumerate(flows))
    return Replay(streams, schedule, _notes(spec, capture, schedule, int((sizes < MIN_FRAME).sum()), len(flows)))


def _check_addresses(spec: ReplaySpec, name: str, capture: Capture) -> None:
    """Every address has a host, and nobody speaks to himself."""
    seen: Counter[str] = Counter()
    for flow, count in zip(capture.flows, np.bincount(capture.numbers).tolist(), strict=True):
        seen.update({flow.src: count})
        seen.update({flow.dst: count})
    unknown = [f"{address} ({count} packets)" for address, count in seen.most_common() if address not in spec.hosts]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise SpecError(f"workloads.{name}.hosts", "a host for every address of the capture",
                        f"none for {', '.join(unknown[:5])}{more}",
                        "give them hosts, or cut the capture: tcpdump -r OLD -w NEW with a filter")
    for flow in capture.flows:
        if spec.hosts[flow.src] == spec.hosts[flow.dst]:
            raise SpecError(f"workloads.{name}.hosts", "two hosts for two addresses that speak to each other",
                            f"{spec.hosts[flow.src]} for {flow.src} and for {flow.dst}")


def _check_sizes(schedule: Schedule, pairs: Sequence[tuple[str, ...]], fabric: Fabric, name: str) -> None:
    """Each frame fits both hosts' links."""
    most = np.array([min(fabric.access_link(host).mtu for host in pair) + ETHERNET_HEADER for pair in pairs])
    too_large = np.flatnonzero(schedule.frame > most[schedule.stream])
    if len(too_large):
        k = int(too_large[0])
        src, dst = pairs[int(schedule.stream[k])]
        raise SpecError(f"workloads.{name}.trace", f"frames of at most {most[schedule.stream[k]]} bytes, which is what "
                        f"the links of {src} and {dst} carry", f"{len(too_large)} larger ones, the first of "
                        f"{schedule.frame[k]} bytes", "raise the fabric's mtu if the network had such frames; else the "
                        "host joined segments: capture without offloads, ethtool -K DEVICE gro off gso off tso off")


def _stream(spec: ReplaySpec, name: str, k: int, flow: Flow, schedule: Schedule) -> ReplayStream:
    mine = schedule.stream == k
    due, frame = schedule.due[mine], schedule.frame[mine]
    span = float(due[-1] - due[0]) / 1e9
    pps = (len(due) - 1) / span if span else _FASTEST
    return ReplayStream(
        name=f"{name}/{k}", workload=name, src=spec.hosts[flow.src], dst=spec.hosts[flow.dst],
        pps=min(max(pps, 1 / max(span, 1.0)), _FASTEST), frame=round(float(frame.mean())), count=len(due),
        sport=flow.sport, dport=flow.dport, largest=int(frame.max()))


def check_together(replays: Mapping[str, Replay]) -> None:
    """Raises SpecError where the replays of one phase have more flows than one process serves."""
    flows = {name: len(replay.streams) for name, replay in replays.items()}
    if sum(flows.values()) > MOST_FLOWS:
        raise SpecError("workloads", f"at most {MOST_FLOWS} flows in the replays of a phase",
                        ", ".join(f"{n} in {name}" for name, n in flows.items()), "run them in phases of their own")


def merged(replays: Sequence[Replay]) -> tuple[tuple[ReplayStream, ...], Schedule]:
    """Several replays as one: streams one after the other, packets in the order of their times."""
    streams: list[ReplayStream] = []
    shifted = []
    for replay in replays:
        shifted.append(replay.schedule.stream + len(streams))
        streams += replay.streams
    due, stream, frame = (np.concatenate(parts) for parts in (
        [r.schedule.due for r in replays], shifted, [r.schedule.frame for r in replays]))
    order = np.argsort(due, kind="stable")
    return tuple(streams), Schedule(due[order], stream[order], frame[order])


def _notes(spec: ReplaySpec, capture: Capture, schedule: Schedule, raised: int, flows: int) -> dict[str, str]:
    """What a report says about the capture and about what was made of it."""
    seconds = float(schedule.due[-1]) / 1e9
    rate = f", {show_rate(8 * float(schedule.frame.sum()) / seconds)} on average" if seconds else ""
    left_out = ", ".join(f"{kind} ({n})" for kind, n in capture.left_out.items())
    notes = {
        "capture": f"{Path(spec.trace).name}: {len(capture.times)} packets of {flows} flows within "
                   f"{show_time(seconds)} as replayed{rate}",
        "hosts": ", ".join(f"{address} is {host}" for address, host in spec.hosts.items()),
        "transport": "UDP with the capture's ports and sizes, in an open loop: captured TCP does not slow down here",
    }
    if left_out:
        notes["left out"] = left_out
    if capture.tagged:
        notes["untagged"] = f"{capture.tagged} packets lost their VLAN tags"
    if raised:
        notes["enlarged"] = f"{raised} frames of less than {MIN_FRAME} bytes, to hold number and stamp"
    return notes
