"""The time of one step of a batch on a replica's GPUs, by roofline.

    FLOPs of a step    sum over prefill chunks and decoded tokens of the model's forward FLOPs (traffic/jobs/models.py)
    bytes of a step    weights, once for the whole batch, + the KV cache of every context that it attends to
    seconds            max(FLOPs / (GPUs x peak x MFU), bytes / (GPUs x bandwidth x MBU))

So a long prompt costs compute and a decoded token costs memory bandwidth, and batching pays because
weights are read once. KV bytes of a token = 2 x layers x kv_heads x head_dim x bytes of an element.
Not modelled: kernel launches, sampling, the exchange between the GPUs of one replica.

Roofline: Williams, Waterman, Patterson, CACM 52(4), 2009. MFU 0.5 and MBU 0.7, the shares of the peaks
that are reached, are assumptions, not measurements; a spec may state others.

Presets: NVIDIA H100 Tensor Core GPU data sheet, SXM (989.5 TFLOPS dense BF16, 3.35 TB/s, 80 GB); NVIDIA
L40S data sheet (362.05 TFLOPS dense BF16, 864 GB/s, 48 GB).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from traffic.jobs.models import Model
from traffic.specs import AcceleratorSpec, ModelSpec

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

    def flops(self, chunks: Sequence[Chunk]) -> float:
        """Forward FLOPs of a step; attention is causal: the i-th token of a chunk sees `before` + i."""
        layers = self.model.shape.layers
        return sum(layers * (self.model.attention_flops(c.tokens, c.before + (c.tokens + 1) // 2)
                             + self.model.ffn_flops(c.tokens)) + self.model.head_flops(1) for c in chunks)

    def bytes_read(self, chunks: Sequence[Chunk]) -> float:
        """Weights (of a mixture: as much as this many tokens can touch), and the KV of all contexts."""
        shape, tokens = self.model.shape, sum(c.tokens for c in chunks)
        touched = min(1.0, tokens * shape.experts_per_token / shape.experts)
        spared = shape.layers * self.model.experts * (1 - touched) + self.model.embedding
        kv = sum(c.before + c.tokens for c in chunks) * self.kv_bytes_per_token
        return max(self.model.parameters - spared, 0.0) * self.element + kv

    def seconds(self, chunks: Sequence[Chunk]) -> float:
        """Of one step that computes all of `chunks`; 0 for none."""
        if not chunks:
            return 0.0
        gpu = self.gpu
        return max(self.flops(chunks) / (self.gpus * gpu.flops * gpu.mfu),
                   self.bytes_read(chunks) / (self.gpus * gpu.bandwidth * gpu.mbu))

    def prefill_seconds(self, tokens: int) -> float:
        """Of a whole prompt in one step."""
        return self.seconds([Chunk(tokens, 0)])
