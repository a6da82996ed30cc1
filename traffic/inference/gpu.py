"""The time of one step of a batch on a replica's GPUs: kernels run one after the other, each by its roofline.

    seconds of a step   sum over its kernels of max(FLOPs / (GPUs x peak x MFU), bytes / (GPUs x bandwidth x MBU))

    kernels             FLOPs                                       bytes
    projections, dense feed-forward
                        2 x parameters for each token               their weights, once for the whole batch
    experts             2 x parameters of experts_per_token         weights of the experts that the tokens touch
    attention, prefill  4 x context x heads x head_dim, causal      the KV cache of what each chunk attends to
    attention, decode   the same for one token of each context      the KV cache of every context
    output head         2 x parameters for each context             its weights

So a long prompt costs compute, a decoded token costs memory bandwidth, batching pays because weights are read once,
and beside a prefill, whose matrices are bound by compute, the reading of the decoding contexts' KV caches is not
hidden: it is added. Prefill and decode are two attention kernels, as FlashInfer has them. With T tokens of which each
takes k of E experts, drawn evenly, E x (1 - (1 - k / E)^T) experts are touched. KV bytes of a token = 2 x layers x
kv_heads x head_dim x bytes of an element. Not modelled: kernel launches, sampling, activations read and written, the
exchange between the GPUs of one replica.

Roofline: Williams, Waterman, Patterson, CACM 52(4), 2009. MFU 0.5 and MBU 0.7, the shares of the peaks
that are reached, are assumptions, not measurements; a spec may state others.

Presets: NVIDIA H100 Tensor Core GPU data sheet, SXM (989.5 TFLOPS dense BF16, 3.35 TB/s, 80 GB); NVIDIA
L40S data sheet (362.05 TFLOPS dense BF16, 864 GB/s, 48 GB).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from traffic.jobs.models import Model
from traffic.workloads.specs import AcceleratorSpec, ModelSpec

PRESETS = {
    "h100": AcceleratorSpec(flops=989.5e12, bandwidth=3.35e12, memory=80e9),
    "l40s": AcceleratorSpec(flops=362.05e12, bandwidth=864e9, memory=48e9),
}
USABLE = 0.9        # share of a GPU's memory that serving takes: vLLM's gpu_memory_utilization


def accelerator_of(spec: str | AcceleratorSpec) -> AcceleratorSpec:
    """A preset by its name, or a description."""
    return PRESETS[spec] if isinstance(spec, str) else spec


class Chunk(NamedTuple):
    """`tokens` of a prompt, computed in one step after `before` tokens of the same context; 1 to decode."""

    tokens: int
    before: int


class Kernel(NamedTuple):
    """What runs at a time: forward FLOPs and bytes read, of all layers together."""

    name: str
    flops: float
    bytes: float


@dataclass(frozen=True)
class Roofline:
    """A model on a replica's GPUs. Times in real seconds, sizes in real bytes."""

    model: Model
    gpu: AcceleratorSpec
    gpus: int = 1
    element: int = 2

    @classmethod
    def of(cls, model: str | ModelSpec, gpu: str | AcceleratorSpec, gpus: int = 1, element: int = 2) -> Roofline:
        """By the names of presets, or by descriptions."""
        return cls(Model.of(model), accelerator_of(gpu), gpus, element)

    @property
    def kv_bytes_per_token(self) -> int:
        """2 x layers x kv_heads x head_dim x bytes of an element."""
        s = self.model.shape
        return 2 * s.layers * s.kv_heads * (s.head_dim or s.hidden // s.heads) * self.element

    @property
    def weight_bytes(self) -> int:
        """All parameters, as they lie in memory."""
        return self.model.parameters * self.element

    @property
    def kv_capacity(self) -> int:
        """Bytes left for KV caches: usable memory less the weights; negative if the model does not fit."""
        return int(self.gpus * self.gpu.memory * USABLE) - self.weight_bytes

    def kernels(self, chunks: Sequence[Chunk]) -> Iterator[Kernel]:
        """What a step runs, in their order."""
        model, shape = self.model, self.model.shape
        layers, tokens = shape.layers, sum(c.tokens for c in chunks)
        feed_forward = layers * model.ffn_flops(tokens)
        mixed = bool(model.experts)
        weights = max(model.parameters - 2 * model.embedding - layers * model.experts, 0)
        yield Kernel("linear", layers * model.attention_flops(tokens, 0) + (0.0 if mixed else feed_forward),
                     weights * self.element)
        if mixed:
            yield Kernel("experts", feed_forward, layers * self.touched(tokens) * model.expert * self.element)
        yield self._attention("prefill attention", [c for c in chunks if c.tokens > 1])
        yield self._attention("decode attention", [c for c in chunks if c.tokens == 1])
        yield Kernel("head", model.head_flops(len(chunks)), model.embedding * self.element)

    def _attention(self, name: str, chunks: Sequence[Chunk]) -> Kernel:
        """Causal: the i-th token of a chunk sees `before` + i."""
        layers, projections = self.model.shape.layers, self.model.attention_flops
        flops = sum(projections(c.tokens, c.before + (c.tokens + 1) // 2) - projections(c.tokens, 0) for c in chunks)
        return Kernel(name, layers * flops, sum(c.before + c.tokens for c in chunks) * self.kv_bytes_per_token)

    def touched(self, tokens: int) -> float:
        """Experts of a layer, in the mean, that so many tokens meet: E x (1 - (1 - k / E)^T)."""
        experts = self.model.shape.experts
        return experts * (1 - (1 - self.model.shape.experts_per_token / experts) ** tokens)

    def flops(self, chunks: Sequence[Chunk]) -> float:
        """Forward FLOPs of a step."""
        return sum(k.flops for k in self.kernels(chunks))

    def bytes_read(self, chunks: Sequence[Chunk]) -> float:
        """Weights, and the KV of all contexts."""
        return sum(k.bytes for k in self.kernels(chunks))

    def seconds(self, chunks: Sequence[Chunk]) -> float:
        """Of one step that computes all of `chunks`; 0 for none."""
        if not chunks:
            return 0.0
        flops, bandwidth = self.gpu.flops * self.gpu.mfu, self.gpu.bandwidth * self.gpu.mbu
        return sum(max(k.flops / flops, k.bytes / bandwidth) for k in self.kernels(chunks)) / self.gpus

    def prefill_seconds(self, tokens: int) -> float:
        """Of a whole prompt in one step."""
        return self.seconds([Chunk(tokens, 0)])
