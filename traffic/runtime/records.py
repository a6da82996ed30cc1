"""What happened, one JSON object a line: raw records, kept apart from the metrics made of them.

Every time is in seconds since the run's t0 on CLOCK_MONOTONIC, every size in bytes, every rate in
bit/s. docs/reference/records.md describes each kind for readers of the files.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import Field, asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol

from topologies.access import files
from topologies.model.errors import LabError

SENTINEL = "sentinel"       # workload and phase of the lab's own probe stream, which runs through all phases
DECIMALS = 6        # of a stored number: microseconds, below what a user-space stamp can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRecord:
    """One transfer that is over. `iteration` is negative in the warm-up (-1 is its last one).

    ready  all that it waited for was over      start  first byte given to the sender's kernel
    end    last byte taken from the receiver's kernel
    """

    kind: ClassVar[str] = "transfer"
    workload: str
    phase: str
    iteration: int
    op: str
    src: str
    dst: str
    src_rank: int
    dst_rank: int
    bytes: int
    ready: float
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeRecord:
    """A rank's work, planned for `seconds`; end - start - seconds is how late its timer was."""

    kind: ClassVar[str] = "compute"
    workload: str
    phase: str
    iteration: int
    op: str
    rank: int
    host: str
    seconds: float
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveRecord:
    """A collective; `bytes`: S of algbw (docs/reference/methods.md: training). rank_start, rank_end follow `ranks`."""

    kind: ClassVar[str] = "collective"
    workload: str
    phase: str
    iteration: int
    op: str
    collective: str
    algorithm: str
    ranks: tuple[int, ...]
    bytes: int
    start: float
    end: float
    rank_start: tuple[float, ...]
    rank_end: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One iteration of a workload. `ranks[r]` is [start, end] of rank r, None if it had nothing to do."""

    kind: ClassVar[str] = "step"
    workload: str
    phase: str
    iteration: int
    start: float
    end: float
    ranks: tuple[tuple[float, float] | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """A request and its answer. Stamps that were never reached are None.

    scheduled   when it was due         sent    first byte given to the client's kernel
    first_byte  of the response, at the client      done    last byte of the response, at the client
    """

    kind: ClassVar[str] = "request"
    workload: str
    phase: str
    iteration: int
    id: str
    client: str
    server: str
    request_bytes: int
    response_bytes: int
    status: str             # ok | timeout | failed
    scheduled: float
    sent: float | None
    first_byte: float | None
    done: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord:
    """A TCP connection at its end; `src` opened it. From TCP_INFO of both sides; rtt smoothed, seconds."""

    kind: ClassVar[str] = "connection"
    workload: str
    phase: str
    src: str
    dst: str
    sport: int
    dport: int
    cc: str
    bytes: int              # payload src -> dst
    retransmits: int        # segments, src -> dst
    rtt: float
    reply_bytes: int        # payload dst -> src
    reply_retransmits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRecord:
    """Where the switches send a connection, asked when it stood: directions there and back, 'h1->leaf1' first."""

    kind: ClassVar[str] = "path"
    workload: str
    phase: str
    src: str
    dst: str
    src_rank: int
    dst_rank: int
    number: int             # of the connections of this pair of ranks
    sport: int
    dport: int
    there: tuple[str, ...]
    back: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """What moving the bytes cost: CPU of the engine process from go to the end, payload received."""

    kind: ClassVar[str] = "engine"
    phase: str
    start: float
    end: float
    cpu_seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LatenessRecord:
    """How late a process's 10 ms timer was in the second that ended at t; seconds."""

    kind: ClassVar[str] = "timer-lateness"
    phase: str
    t: float
    n: int
    p50: float
    p99: float
    max: float
    process: str = "engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatenessRunRecord:
    """The same over the whole phase, from all samples."""

    kind: ClassVar[str] = "timer-lateness-run"
    phase: str
    n: int
    p50: float
    p99: float
    max: float
    process: str = "engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSettingsRecord:
    """What was set in a host's namespace before traffic started."""

    kind: ClassVar[str] = "tcp-settings"
    host: str
    congestion_control: str
    rto_min: float
    slow_start_after_idle: bool
    no_metrics_save: bool
    initial_window: int     # packets


@dataclass(frozen=True, slots=True, kw_only=True)
class IperfRecord:
    """One iperf3 transfer; bytes and rate as the receiver counted them, payload only."""

    kind: ClassVar[str] = "iperf"
    workload: str
    phase: str
    src: str
    dst: str
    start: float
    seconds: float
    bytes: int
    bits_per_second: float
    retransmits: int
    connections: int
    congestion_control: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptedRecord:
    """The phase was ended from outside; what comes before in the file is all there is."""

    kind: ClassVar[str] = "interrupted"
    phase: str
    t: float
    reason: str


class Record(Protocol):
    """One of the dataclasses above, or of another module: a kind and fields that JSON can hold."""

    kind: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Field[object]]]


# what is written whatever the kinds of workload: by the TCP engine, and around all processes
COMMON: tuple[type[Record], ...] = (
    TransferRecord, ComputeRecord, CollectiveRecord, StepRecord, ConnectionRecord, PathRecord, EngineRecord,
    LatenessRecord, LatenessRunRecord, TcpSettingsRecord, InterruptedRecord)


def reached(stamp: float | None) -> float:
    """A stamp that the status of its record promises, as of a request that was answered."""
    if stamp is None:
        raise ValueError("a record without a stamp that its status promises")
    return stamp


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return value


def encode(record: Record) -> str:
    """One line of JSON, its kind first."""
    body = {key: _rounded(value) for key, value in asdict(record).items()}
    return json.dumps({"kind": record.kind, **body}, separators=(",", ":"))


class RecordWriter:
    """Appends records to a file in whole lines.

    `write` only takes the record in; `pump` encodes a few at a time, so that a burst of records does
    not hold up the traffic; `flush` puts everything on disk. Several processes may append to one file.
    Raises LabError where the disk is full or the file cannot be written; no half line stays behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[Record] = []
        self._lines: list[bytes] = []
        try:
            self._fd = files.append(path)
        except OSError as error:
            raise self._unwritable(error) from None

    def write(self, record: Record) -> None:
        self._waiting.append(record)

    def pump(self, limit: int) -> None:
        """Encode at most `limit` records."""
        if not self._waiting:
            return
        batch, self._waiting[:limit] = self._waiting[:limit], []
        self._lines += [encode(r).encode() + b"\n" for r in batch]

    def flush(self) -> None:
        """Encode all that waits and write it out."""
        self.pump(len(self._waiting))
        self.write_out()

    def write_out(self) -> None:
        """Write what is encoded, in one call of the kernel where it takes it all."""
        data, self._lines = b"".join(self._lines), []
        while data:
            try:
                written = os.write(self._fd, data)
            except OSError as error:
                raise self._unwritable(error) from None
            rest = data[written:]
            if rest and not data[:written].endswith(b"\n"):
                self._drop_half_line(data[:written])
                rest = data[data.rfind(b"\n", 0, written) + 1:]
                if len(rest) == len(data):      # not even one line fits: trying again would never end
                    raise self._unwritable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            data = rest

    def _drop_half_line(self, written: bytes) -> None:
        """Cut the piece of a line that a full disk left at the end of the file."""
        half = len(written) - (written.rfind(b"\n") + 1)
        os.ftruncate(self._fd, os.fstat(self._fd).st_size - half)

    def _unwritable(self, error: OSError) -> LabError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return LabError(str(self.path), "room for the run's records", os.strerror(error.errno),
                            "free space there, or choose another directory for runs; what was written stays")
        return LabError(str(self.path), "a file that can be written", error.strerror or str(error))

    def close(self) -> None:
        try:
            self.flush()
        finally:
            os.close(self._fd)

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
