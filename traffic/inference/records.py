"""What serving writes down: a line a request, a line a replica, and what the metrics have to know.

All times in emulated seconds since the run's t0, sizes in emulated bytes; fields: docs/reference/records.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(slots=True, kw_only=True)
class ServingRecord:
    """A request from when it was due to its end. Stamps that were never reached are None.

    scheduled  due           sent     first byte given to the client's kernel     arrived  prompt whole at the replica
    admitted   in its batch  made     its first token is computed                 first    at the client
    computed   its last token is     done     last token, or the error, at the client; or when it was given up
    """

    kind: ClassVar[str] = "serving"
    workload: str
    phase: str
    id: int
    session: str
    client: str
    replica: str = ""
    task: int = -1          # of an agent that it belongs to
    status: str = ""        # ok | rejected | timeout | failed | cancelled
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
    computed: float | None = None
    done: float | None = None
    blocks: int = 0             # of the prompt
    hit_gpu: int = 0            # of them found in each tier
    hit_host: int = 0
    hit_store: int = 0
    hit_tokens: int = 0         # that were not computed
    order: int = -1             # number of its look-up among the events of its replica's cache (with stores: of all)
    kept: int = -1              # number of the event that put its whole context there
    looked: int = -1            # number of its look into the stores
    fetched: float | None = None    # what it was to have from the stores is there, or will not come; None: no stores
    preempted: int = 0
    decoder: str = ""           # the replica that decoded, where another one prefilled
    kv_bytes: int = 0           # of the KV cache that went from one to the other
    kv_parts: int = 0           # that it went in
    kv_start: float | None = None
    kv_end: float | None = None
    prefill_fabric: float = 0.0     # seconds of its prefill that the replica's workers exchanged
    messages: tuple[tuple[float, int], ...] = ()    # when each message of the answer arrived, and its tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRecord:
    """A tool call of an agent's task, at its end. Stamps and server are those of the last try.

    sent  the try began      arrived  the call whole at the server      made  the server was done
    """

    kind: ClassVar[str] = "tool"
    workload: str
    phase: str
    task: int
    id: int
    tool: str
    place: str              # tool | external
    agent: str
    server: str
    status: str             # ok | timeout | failed | cancelled
    tries: int
    request_bytes: int
    response_bytes: int
    service: float          # s, as drawn
    scheduled: float
    sent: float | None
    arrived: float | None
    made: float | None
    done: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task of an agent, at its end, with the tree of its calls as it was drawn.

    asked   the user's prompt at the agent      answered  the last call over, at the agent
    begun   calls that were due before its end  calls     (id, kind, after, pause) of all: model calls have a `serving`
            record with their id, the others a `tool` record
    """

    kind: ClassVar[str] = "task"
    workload: str
    phase: str
    id: int
    user: str
    agent: str
    status: str             # ok | timeout | failed
    reason: str
    request_bytes: int
    response_bytes: int
    scheduled: float
    asked: float | None
    answered: float | None
    done: float | None
    begun: int
    calls: tuple[tuple[int, str, tuple[int, ...], float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRecord:
    """Blocks on their way between a replica and a store. end: None if they did not come whole.

    order   number of the look that asked for them, or of the offer     landed  of the event that put them there, or -1
    """

    kind: ClassVar[str] = "serving-store"
    workload: str
    phase: str
    what: str       # fetch | write
    request: int
    replica: str
    store: str
    blocks: int
    bytes: int
    order: int
    landed: int
    start: float
    end: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A step of a replica on several hosts, from its start to its end at the first stage.

    batch     number of the batch: a pipeline has several     tokens, decoding  of the step; of them decode
    compute, fabric, waited   seconds of its time that a stage computed, that workers exchanged, that it waited for
    a stage           idle    seconds that the exchange takes on an idle network
    part      bytes of a message      train     bytes that a worker sends in a row: all messages of an all-reduce
    """

    kind: ClassVar[str] = "serving-step"
    workload: str
    phase: str
    replica: str
    batch: int
    tokens: int
    decoding: int
    start: float
    end: float
    compute: float
    fabric: float
    waited: float
    idle: float
    part: int
    train: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSetupRecord:
    """What a phase's requests are judged by, emulated seconds."""

    kind: ClassVar[str] = "serving-setup"
    workload: str
    phase: str
    routing: str
    slo_ttft: float
    slo_tpot: float
    gateway: str
