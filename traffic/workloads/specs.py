"""What a user writes about traffic: one frozen model per kind of workload.

Sizes and times follow the scenario's scale; hosts are named as in the fabric. Placement of ranks:
`packed` fills one leaf after the other, `strided` deals ranks out over the leaves in turn, `rail` goes
through the servers of a rail-optimized fabric, `random` draws them from the scenario's seed, a list names
the host of each rank. With more ranks than hosts `fold: true` begins again with the first host; nobody is
folded without being asked.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from topologies.model.fields import Rate, Size, Strict, Time
from traffic.transports.rocev2.wire import OVERHEAD
from traffic.workloads.agent_specs import AgentSpec

Placement = Literal["packed", "strided", "rail", "random"] | tuple[str, ...]
CollectiveKind = Literal["all-reduce", "all-gather", "reduce-scatter", "all-to-all", "broadcast"]


def _address(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise ValueError("an IPv4 address such as 10.0.0.1") from None


Address = Annotated[str, AfterValidator(_address)]


class Classed(Strict):
    """A workload whose packets may be in a class."""

    traffic_class: str | None = Field(None, description="class of the fabric that its packets are in")


class CollectiveSpec(Classed):
    """One collective, repeated. `size` is S of algbw (docs/reference/methods.md: training), in bytes."""

    kind: Literal["collective"]
    op: CollectiveKind = "all-reduce"
    algorithm: Literal["ring", "direct", "tree", "halving-doubling", "hierarchical"] | None = Field(
        None, description="by default direct for all-to-all, else ring; tree is for broadcast, "
                          "halving-doubling and hierarchical are for all-reduce")
    ranks: int | None = Field(None, ge=2, description="default: every workload host")
    placement: Placement = "strided"
    fold: bool = Field(False, description="more ranks than hosts: begin again with the first host")
    size: Size = Field(gt=0)
    splits: tuple[tuple[int, ...], ...] | None = Field(
        None, description="all-to-all-v: bytes from rank i (row) to rank j (column) instead of size")
    iterations: int = Field(3, ge=1)
    warmup: int = Field(1, ge=0)
    compute: Time = Field(0.0, description="compute time of each rank before each collective")
    flows_per_pair: int = Field(1, ge=1, le=64)
    congestion_control: str | None = None


class TrainingTraceSpec(Classed):
    """A training step of a trace replayed: its collectives with their true sizes, splits and gaps."""

    kind: Literal["training-trace"]
    trace: str
    format: Literal["pytorch_et", "chakra", "aicb"] = "pytorch_et"
    trace_iteration: int | None = Field(None, ge=1, description="aicb: which iteration of the file, "
                                        "pytorch_et: which step of the profiles; default the first")
    groups: dict[str, int] = Field({}, description="aicb: sizes of groups that the trace leaves out, {ep_group: 4}")
    ranks: int | None = Field(None, ge=2, description="aicb: fewer ranks than traced; data-parallel groups shrink")
    dimensions: tuple[int, ...] = Field((), description="chakra: sizes of the dimensions of involved_dim, the one "
                                                        "that runs fastest first")
    placement: Placement = "strided"
    fold: bool = Field(False, description="more ranks than hosts: begin again with the first host")
    bytes_factor: float = Field(1.0, gt=0, description="multiplies every size of the trace")
    time_factor: float = Field(1.0, ge=0, description="multiplies every compute gap of the trace")
    iterations: int = Field(1, ge=1)
    warmup: int = Field(0, ge=0)
    flows_per_pair: int = Field(1, ge=1, le=64)
    congestion_control: str | None = None

    @model_validator(mode="after")
    def _of_the_format(self) -> TrainingTraceSpec:
        if self.format != "aicb" and (self.groups or self.ranks):
            raise ValueError("groups and ranks with format: aicb only")
        if self.format == "chakra" and self.trace_iteration:
            raise ValueError("trace_iteration with format: aicb or pytorch_et only: a Chakra trace has no steps")
        if self.dimensions and (self.format != "chakra" or min(self.dimensions) < 1):
            raise ValueError("dimensions of 1 or more, with format: chakra only")
        return self


class ModelSpec(Strict):
    """The shape of a decoder-only transformer with grouped-query attention and gated feed-forward layers."""

    layers: int = Field(ge=1, le=10_000)
    hidden: int = Field(ge=1)
    ffn: int = Field(ge=1, description="width of the feed-forward layer, of one expert")
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    vocab: int = Field(ge=1)
    head_dim: int | None = Field(None, ge=1, description="default: hidden / heads")
    experts: int = Field(1, ge=1, description="experts a layer; 1 is a dense model")
    experts_per_token: int = Field(1, ge=1)
    parameters: int | None = Field(None, ge=1, description="default: counted from the shape")

    @model_validator(mode="after")
    def _fits(self) -> ModelSpec:
        if self.experts_per_token > self.experts:
            raise ValueError("experts_per_token of at most experts")
        if self.head_dim is None and self.hidden % self.heads:
            raise ValueError("a hidden size that heads divides, or head_dim")
        return self


class GpuSpec(Strict):
    """What a GPU computes: its peak in FLOP/s of the precision used, and the share of it that its kernels reach.

    The share is that of the kernels while they run. A job's model FLOPs utilisation (MFU) is lower, because it holds
    exposed communication and pipeline bubbles as well; those follow here from the network and the layout.
    """

    flops: float = Field(gt=0, description="peak FLOP/s, dense")
    utilisation: float = Field(0.6, gt=0, le=1, description="share of the peak that kernels reach while they compute")


class TrainingJobSpec(Classed):
    """A training job from its model, GPU and parallel layout, in real units: one iteration, repeated.

    ranks = data x tensor x pipeline; `expert` ranks of each data-parallel group share the experts.
    zero: 0 all-reduces gradients; 1 and 2 reduce-scatter them and all-gather the parameters after the
    step; 3 (FSDP) gathers the parameters of each unit of layers for forward and for backward.
    """

    kind: Literal["training-job"]
    model: Literal["llama3-8b", "llama3-70b", "mixtral-8x7b"] | ModelSpec
    gpu: Literal["a100", "h100"] | GpuSpec = "h100"
    data: int = Field(1, ge=1)
    tensor: int = Field(1, ge=1)
    pipeline: int = Field(1, ge=1)
    expert: int = Field(1, ge=1, description="divides data")
    zero: Literal[0, 1, 2, 3] = 0
    sequence: int = Field(4096, ge=1, description="tokens of a sample")
    micro_batch: int = Field(1, ge=1, description="samples of a micro-batch")
    micro_batches: int = Field(1, ge=1, description="micro-batches of a data-parallel rank in an iteration")
    bytes_per_element: int = Field(2, ge=1, le=8, description="of parameters and activations")
    gradient_bytes: int = Field(4, ge=1, le=8, description="of a gradient as it is exchanged; 4: FP32")
    bucket: Size = Field(25 * 2**20, gt=0, description="gradients exchanged at once")
    overlap: bool = Field(True, description="exchange gradients and gather parameters beside compute")
    fuse: int | None = Field(None, ge=1, description="layers taken as one; default: as few as the lab can run")
    jitter: float = Field(0.0, ge=0, le=1, description="coefficient of variation of each compute in each iteration")
    stragglers: tuple[tuple[int, float], ...] = Field((), description="[rank, factor of its compute times] each")
    placement: Placement = "packed"
    fold: bool = Field(False, description="more ranks than hosts: begin again with the first host")
    iterations: int = Field(1, ge=1)
    warmup: int = Field(0, ge=0)
    flows_per_pair: int = Field(1, ge=1, le=64)
    congestion_control: str | None = None

    @model_validator(mode="after")
    def _factors(self) -> TrainingJobSpec:
        if any(factor <= 0 for _, factor in self.stragglers):
            raise ValueError("stragglers with factors above zero")
        if len(dict(self.stragglers)) < len(self.stragglers):
            raise ValueError("each rank once in stragglers")
        return self

    @property
    def ranks(self) -> int:
        return self.data * self.tensor * self.pipeline


class RequestsSpec(Classed):
    """Requests of a trace as request/response transfers, open loop: clients never wait for each other."""

    kind: Literal["requests"]
    trace: str
    format: Literal["azure"] = "azure"
    window: tuple[Time, Time] | None = Field(None, description="[from, to) after the trace's first row")
    speedup: float = Field(1.0, gt=0)
    clients: tuple[str, ...] | None = Field(None, description="default: every outside host")
    servers: tuple[str, ...] | None = Field(None, description="default: every workload host")
    bytes_per_input_token: float = Field(4.0, gt=0)
    bytes_per_output_token: float = Field(4.0, gt=0)
    time_per_output_token: Time = Field(0.0, description="server pause for each output token")
    timeout: Time = Field(60.0, gt=0)
    congestion_control: str | None = None


class AcceleratorSpec(Strict):
    """A GPU that serves: its peaks, and the shares of them that inference reaches (assumptions)."""

    flops: float = Field(gt=0, description="peak FLOP/s, dense")
    bandwidth: float = Field(gt=0, description="of its memory, bytes per second")
    memory: float = Field(gt=0, description="bytes")
    mfu: float = Field(0.5, gt=0, le=1, description="share of the peak FLOP/s that a prefill reaches")
    mbu: float = Field(0.7, gt=0, le=1, description="share of the memory bandwidth that decoding reaches")


class StoreSpec(Strict):
    """Stores of KV blocks on hosts of their own: a replica fetches over the fabric what its own tiers lack.

    fetch: always | never (it is computed) | cheaper: where the fetch is predicted to take less time than the prefill.
    """

    hosts: tuple[str, ...] = Field(min_length=1, description="a block belongs to one of them, by its id")
    size: Size = Field(gt=0, description="memory of each store")
    fetch: Literal["always", "never", "cheaper"] = "cheaper"


class ServingSpec(Classed):
    """Inference serving, open loop: clients, a gateway, replicas whose GPU time follows a roofline.

    Requests come from a trace, or are drawn (`rate`, `requests`, tokens), or come in sessions (`turns`), or are
    those of agents that work on tasks (`agent`).
    Times, rates and sizes are real ones and follow the fabric's scale.
    """

    kind: Literal["serving"]
    model: Literal["llama3-8b", "llama3-70b", "mixtral-8x7b"] | ModelSpec = "llama3-8b"
    gpu: Literal["h100", "l40s"] | AcceleratorSpec = "h100"
    gpus: int = Field(1, ge=1, description="GPUs of a worker, inside of one host")
    tensor: int = Field(1, ge=1, description="workers that share each layer, a host each")
    pipeline: int = Field(1, ge=1, description="stages that share the layers, each of `tensor` workers")
    fuse: int | None = Field(None, ge=1, description="layers whose all-reduces are one; default: all of a stage")
    clients: tuple[str, ...] | None = Field(None, description="default: every outside host")
    gateway: str | None = Field(None, description="default: the first workload host")
    replicas: tuple[str, ...] | None = Field(None, description="default: every other workload host")
    decode: tuple[str, ...] | None = Field(None, min_length=1, description="hosts that decode; replicas then prefill")
    kv_transfer: Literal["whole", "layers"] | None = Field(
        None, description="a KV cache goes to its decoder when the prefill is over (the default), or beside it")
    kv_fuse: int | None = Field(None, ge=1, description="layers that travel together; default: 8, or all there are")
    routing: Literal["round_robin", "random", "power_of_two", "least_outstanding", "consistent_hash", "cache_aware",
                     "kv_cost"] = "least_outstanding"
    trace: str | None = None
    format: Literal["azure", "mooncake"] = "azure"
    window: tuple[Time, Time] | None = Field(None, description="[from, to) of the trace")
    speedup: float = Field(1.0, gt=0)
    thinning: float = Field(1.0, gt=0, le=1, description="share of the trace's requests that is kept, drawn")
    rate: float | None = Field(None, gt=0, description="requests (sessions) per second that are drawn")
    process: Literal["constant", "poisson", "gamma", "weibull"] = "poisson"
    shape: float = Field(1.0, ge=0.05, le=1000, description="of gamma and weibull; below 1 is burstier than poisson")
    requests: int = Field(100, ge=1, description="how many requests (sessions) are drawn")
    input_tokens: int = Field(512, ge=1, le=10_000_000, description="median of a prompt, of each turn's new part")
    output_tokens: int = Field(128, ge=1, le=1_000_000, description="median of an answer")
    variation: float = Field(0.5, ge=0, le=2, description="sigma of the log-normal of both; 0: all alike")
    turns: int = Field(1, ge=1, description="requests of a session, each with all that was said before")
    think: Time = Field(1.0, ge=0, description="mean pause of a session, of an agent, before each turn but the first")
    agent: AgentSpec | None = Field(None, description="each request is a task of an agent, a tree of calls")
    bytes_per_input_token: float = Field(4.0, gt=0)
    bytes_per_output_token: float = Field(4.0, gt=0)
    coalesce: int = Field(1, ge=1, description="tokens of a message of the answer's stream")
    batch: int = Field(64, ge=1, description="requests that a replica computes at once")
    chunk: int = Field(2048, ge=1, description="tokens that a replica computes in a step at most")
    kv_memory: Size | None = Field(None, gt=0, description="of a replica; default: what the weights leave of 0.9")
    block: int = Field(512, ge=1, description="tokens of a block of the prefix cache; mooncake: 512")
    gpu_cache: Size = Field(0, ge=0, description="prefix cache in the GPUs' memory, of kv_memory")
    host_cache: Size = Field(0, ge=0, description="prefix cache in the host's memory")
    host_bandwidth: float = Field(50e9, gt=0, description="from the host's memory to the GPU, bytes per second")
    store: StoreSpec | None = Field(None, description="third tier of the prefix cache, over the fabric")
    admission: int | None = Field(None, ge=1, description="requests outstanding at a replica; more are rejected")
    retries: int = Field(0, ge=0, le=10, description="of a request that was rejected or whose replica failed")
    backoff: Time = Field(0.1, gt=0, description="before the first retry after a rejection; doubles each time")
    timeout: Time = Field(60.0, gt=0, description="from when a request was due to its last token")
    slo_ttft: Time = Field(0.5, gt=0)
    slo_tpot: Time = Field(0.05, gt=0)
    failures: tuple[tuple[str, Time], ...] = Field(
        (), description="[replica or tool server, seconds after the start] it dies")
    congestion_control: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ServingSpec:
        if (self.trace is None) == (self.rate is None):
            raise ValueError("one of trace and rate")
        if self.trace is not None and self.turns > 1:
            raise ValueError("turns with rate only")
        if self.agent is not None and (self.trace is not None or self.turns > 1):
            raise ValueError("agent with rate and without turns")
        if self.trace is None and (self.window or self.speedup != 1 or self.thinning != 1):
            raise ValueError("window, speedup and thinning with trace only")
        if self.format == "mooncake" and self.block != 512:
            raise ValueError("block: 512 with format: mooncake")
        if self.kv_transfer is not None and self.decode is None:
            raise ValueError("kv_transfer with decode only: else no KV cache goes from one replica to another")
        if self.kv_fuse is not None and self.kv_transfer != "layers":
            raise ValueError("kv_fuse with kv_transfer: layers only")
        return self

    @property
    def workers(self) -> int:
        """Hosts of a replica."""
        return self.tensor * self.pipeline

    @property
    def lacks(self) -> str:
        """The field that `routing` reads and these requests do not have; '' if there is none."""
        if self.routing == "consistent_hash" and self.trace is not None:
            return "a session id"
        if self.routing in ("cache_aware", "kv_cost") and self.trace is not None and self.format == "azure":
            return "hash_ids"
        return ""


class StreamSpec(Classed):
    """Paced UDP from some hosts to some hosts; `rate` counts whole Ethernet frames, or give `pps`."""

    kind: Literal["udp"]
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1, description="[from, to] each")
    pps: float | None = Field(None, gt=0)
    rate: Rate | None = None
    frame: int = Field(1514, ge=90, le=9014, description="bytes of the Ethernet frame, FCS not counted")
    count: int | None = Field(None, ge=1, description="packets per stream")
    duration: Time | None = None
    flows: int = Field(1, ge=1, le=1024, description="source ports that a stream takes in turn")

    @model_validator(mode="after")
    def _pace_and_end(self) -> StreamSpec:
        if (self.pps is None) == (self.rate is None):
            raise ValueError("one of pps and rate")
        if (self.count is None) == (self.duration is None):
            raise ValueError("one of count and duration")
        return self


class RoceSpec(Classed):
    """RoCEv2 from some hosts to some hosts: `size` bytes over each pair, in SEND messages, at a pace.

    A reliable connection (rc) repeats from the first lost packet on (go-back-N), an unreliable one (uc) never: it
    loses a message whole if a packet of it is lost or out of order.
    """

    kind: Literal["rocev2"]
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1, description="[from, to] each")
    rate: Rate = Field(description="of each pair, whole Ethernet frames")
    size: Size = Field(gt=0, description="payload of each pair, rounded up to whole packets")
    message: Size = Field(64 * 1024, gt=0, description="payload of a message, rounded up to whole packets")
    mtu: Literal[256, 512, 1024, 2048, 4096] = Field(1024, description="payload of a packet, in bytes")
    queue_pairs: int = Field(1, ge=1, le=64, description="of each pair; they share its rate and size")
    service: Literal["rc", "uc"] = "rc"
    spray: bool = Field(False, description="a new UDP source port for every packet, as Ultra Ethernet does")

    @property
    def frame(self) -> int:
        """Bytes of a data packet's Ethernet frame, FCS not counted."""
        return self.mtu + OVERHEAD


class ReplaySpec(Strict):
    """A capture played again: its TCP and UDP packets as UDP of the same sizes and times, between mapped hosts."""

    kind: Literal["replay"]
    trace: str = Field(description="a pcap or pcapng file")
    hosts: dict[Address, str] = Field(min_length=1, description="address in the capture: host")
    speedup: float = Field(1.0, gt=0, description="divides the times between packets")


class BulkSpec(Classed):
    """A long TCP transfer by iperf3, as background or for calibration."""

    kind: Literal["bulk"]
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1, description="[from, to] each")
    duration: Time = Field(5.0, gt=0)
    connections: int = Field(1, ge=1, le=64)
    congestion_control: str | None = None
