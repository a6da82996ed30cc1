"""What serving writes down: a line a request, a line a replica, and what the metrics have to know.

All times in emulated seconds since the run's t0, sizes in emulated bytes; docs/records.md explains each field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(slots=True)
class ServingRecord:
    """A request from when it was due to its end. Stamps that were never reached are None.

    scheduled  due           sent     first byte given to the client's kernel     arrived  prompt whole at the replica
    admitted   in its batch  made     its first token is computed                 first    at the client
    done       last token, or the error, at the client; or when it was given up
    """

    kind: ClassVar[str] = "serving"
    workload: str
    phase: str
    id: int
    session: str
    client: str
    replica: str = ""
    status: str = ""        # ok | rejected | timeout | failed
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0      # at the client
    wanted_tokens: int = 0      # of an answer in full
    request_bytes: int = 0
    response_bytes: int = 0
    scheduled: float = 0.0
    sent: float | None = None
    arrived: float | None = None
    admitted: float | None = None
    made: float | None = None
    first: float | None = None
    done: float | None = None
    blocks: int = 0             # of the prompt
    hit_gpu: int = 0            # of them found in each tier
    hit_host: int = 0
    hit_tokens: int = 0         # that were not computed
    order: int = -1             # number of its look-up among the events of its replica's cache
    kept: int = -1              # number of the event that put its whole context there
    preempted: int = 0
    decoder: str = ""           # the replica that decoded, where another one prefilled
    kv_bytes: int = 0           # of the KV cache that went from one to the other
    kv_start: float | None = None
    kv_end: float | None = None
    messages: tuple[tuple[float, int], ...] = ()    # when each message of the answer arrived, and its tokens


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """A replica over a phase. busy: seconds of its steps; kv_peak: tokens of KV memory held at most."""

    kind: ClassVar[str] = "serving-replica"
    workload: str
    phase: str
    replica: str
    steps: int
    busy: float
    start: float
    end: float
    preemptions: int
    kv_peak: int
    kv_tokens: int


@dataclass(frozen=True, slots=True)
class ServingSetupRecord:
    """What a phase's requests are judged by, emulated seconds."""

    kind: ClassVar[str] = "serving-setup"
    workload: str
    phase: str
    routing: str
    slo_ttft: float
    slo_tpot: float
