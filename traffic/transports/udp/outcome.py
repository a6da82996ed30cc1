"""From what sender and receiver saw to records: one `stream` a stream, and its packets one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from traffic.metrics.packets import longest_outage, loss_runs, reordering
from traffic.runtime.records import RecordWriter
from traffic.transports.udp.board import DUPLICATES, FOREIGN, LAST_ARRIVAL, RECEIVED, SENT, SLOTS, Lane
from traffic.transports.udp.plan import Stream
from traffic.transports.udp.records import Lateness, PacketsRecord, StreamRecord

MAX_SAMPLES = 200_000       # packets of a stream that are written one by one; beyond, every k-th
PER_LINE = 256
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StreamEnd:
    """What a stream's record holds beside its lane. offset: CLOCK_REALTIME - CLOCK_MONOTONIC, ns."""

    phase: str
    t0: float
    offset: int
    number: int
    sport: tuple[int, ...]
    dport: int
    send_errors: dict[str, int]
    socket_drops: int
    clock_step: float
    latency_invalid: str
    interrupted: bool


def _rows(view: memoryview, length: int) -> Numbers:
    return np.array(view[:length], dtype=np.int64)


def stream_record(stream: Stream, lane: Lane, found: StreamEnd) -> StreamRecord:
    """The stream's record. Loss is counted, never estimated; latencies live in the packets' records."""
    sent, received = lane.count[SENT], lane.count[RECEIVED]
    times, order = _rows(lane.sent, sent), _rows(lane.order, sent)
    arrived = order > 0
    reorder = reordering(np.flatnonzero(arrived)[np.argsort(order[arrived])])
    outage = longest_outage(arrived, times / 1e9)
    return StreamRecord(
        workload=stream.workload, phase=found.phase, stream=stream.name, number=found.number,
        src=stream.src, dst=stream.dst, sport=found.sport, dport=found.dport, dscp=stream.dscp,
        pps=stream.pps, frame=stream.frame,
        sent=sent, send_errors=found.send_errors, received=received, lost=sent - received,
        duplicates=lane.count[DUPLICATES], foreign=lane.count[FOREIGN],
        reordered=reorder.reordered, reorder_extent_max=reorder.extent_max,
        loss_runs=loss_runs(arrived),
        outage=replace(outage, seconds=round(outage.seconds, 6)),
        socket_drops=found.socket_drops,
        port_sent=tuple(lane.port_sent), port_received=tuple(lane.port_received),
        start=None if not sent else times[0] / 1e9 - found.t0,
        end=_end(times, lane, found),
        lateness=_lateness(_rows(lane.late, lane.count[SLOTS])),
        sample_step=sample_step(sent), clock_step=found.clock_step,
        latency_invalid=found.latency_invalid, interrupted=found.interrupted)


def _end(times: Numbers, lane: Lane, found: StreamEnd) -> float | None:
    """The last sending or the last arrival, whichever is later."""
    if not len(times):
        return None
    arrival = lane.count[LAST_ARRIVAL] - found.offset if lane.count[RECEIVED] else 0
    return float(max(int(times[-1]), arrival) / 1e9 - found.t0)


def _lateness(late: Numbers) -> Lateness | None:
    """How late slots were served, seconds."""
    if not len(late):
        return None
    p50, p99 = np.quantile(late, (0.5, 0.99))
    return Lateness(p50=round(p50 / 1e9, 7), p99=round(p99 / 1e9, 7), max=round(int(late.max()) / 1e9, 7))


def sample_step(sent: int) -> int:
    """1 up to MAX_SAMPLES packets; beyond, the smallest k so that every k-th packet makes no more of them."""
    return max(1, -(-sent // MAX_SAMPLES))


def packets_records(stream: Stream, lane: Lane, phase: str, t0: float) -> Iterator[PacketsRecord]:
    """Send time and delay of the stream's packets, in their sequence, PER_LINE a record."""
    sent = lane.count[SENT]
    step = sample_step(sent)
    times = _rows(lane.sent, sent)[::step]
    delays = _rows(lane.delay, sent)[::step]
    arrived = _rows(lane.order, sent)[::step] > 0
    for a in range(0, len(times), PER_LINE):
        part = slice(a, a + PER_LINE)
        yield PacketsRecord(
            workload=stream.workload, phase=phase, stream=stream.name, first_seq=a * step, step=step,
            t=tuple((times[part] / 1e9 - t0).tolist()),
            delay=tuple(d / 1e9 if there else None
                        for d, there in zip(delays[part].tolist(), arrived[part].tolist(), strict=True)))


def write_stream(writer: RecordWriter, stream: Stream, lane: Lane, found: StreamEnd) -> StreamRecord:
    """Write the packets of a stream and what became of it, which is returned."""
    for packets in packets_records(stream, lane, found.phase, found.t0):
        writer.write(packets)
    record = stream_record(stream, lane, found)
    writer.write(record)
    return record


def summary(record: StreamRecord) -> dict[str, object]:
    """What the parent of the process gets of a stream at its end."""
    return {"stream": record.stream, "sent": record.sent, "received": record.received, "lost": record.lost}
