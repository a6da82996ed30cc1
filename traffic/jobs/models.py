"""Models: how many parameters they have, and what a token costs to compute.

A layer is attention (query, key, value, output) and a gated feed-forward of three matrices, one for each
expert. Norms and the router of a mixture of experts count as parameters; biases are none.

    forward FLOPs of a token and layer = 2 x matrix parameters that it meets + 4 x sequence x heads x head_dim

Source: Chowdhery et al., PaLM (2022), appendix B, of whose 6 N + 12 L H Q T for forward and backward
together a third is forward. Backward is twice the forward.

Presets: Llama 3 8B and 70B as in Grattafiori et al., "The Llama 3 Herd of Models" (2024), table 3, with the
vocabulary of 128,256 of its published configuration; Mixtral 8x7B as in Jiang et al., "Mixtral of
Experts" (2024), table 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from traffic.workloads.specs import ModelSpec

PRESETS = {
    "llama3-8b": ModelSpec(layers=32, hidden=4096, ffn=14336, heads=32, kv_heads=8, vocab=128256),
    "llama3-70b": ModelSpec(layers=80, hidden=8192, ffn=28672, heads=64, kv_heads=8, vocab=128256),
    "mixtral-8x7b": ModelSpec(layers=32, hidden=4096, ffn=14336, heads=32, kv_heads=8, vocab=32000, experts=8,
                              experts_per_token=2),
}
BACKWARD = 2.0      # x forward: gradients of the inputs and of the weights


@dataclass(frozen=True, slots=True)
class Model:
    """A shape with what follows from it. Parameters are counts, FLOPs are of a forward pass."""

    shape: ModelSpec

    @classmethod
    def of(cls, spec: str | ModelSpec) -> Model:
        """A preset by its name, or a description."""
        return cls(PRESETS[spec] if isinstance(spec, str) else spec)

    @property
    def attention(self) -> int:
        """Matrix parameters of a layer's attention."""
        s = self.shape
        dim = s.head_dim or s.hidden // s.heads
        return 2 * s.hidden * dim * (s.heads + s.kv_heads)

    @property
    def expert(self) -> int:
        """Parameters of one feed-forward (of one expert)."""
        return 3 * self.shape.hidden * self.shape.ffn

    @property
    def experts(self) -> int:
        """Parameters of a layer that expert parallelism divides; 0 in a dense model."""
        return self.shape.experts * self.expert if self.shape.experts > 1 else 0

    @property
    def dense(self) -> int:
        """Parameters of a layer that every data-parallel rank holds."""
        s = self.shape
        router = s.hidden * s.experts if s.experts > 1 else self.expert
        return self.attention + router + 2 * s.hidden

    @property
    def embedding(self) -> int:
        """Parameters of the embedding; as many are in the output head."""
        return self.shape.vocab * self.shape.hidden

    @property
    def counted(self) -> int:
        """Parameters by the shape: layers, embedding, output head, last norm."""
        s = self.shape
        return s.layers * (self.dense + self.experts) + 2 * self.embedding + s.hidden

    @property
    def parameters(self) -> int:
        """As described, or by the shape."""
        return self.shape.parameters or self.counted

    def attention_flops(self, tokens: int, sequence: int) -> float:
        """Forward FLOPs of one layer's attention for `tokens` in samples of `sequence`."""
        s = self.shape
        dim = s.head_dim or s.hidden // s.heads
        return float(tokens) * (2 * self.attention + 4 * sequence * s.heads * dim)

    def ffn_flops(self, tokens: int) -> float:
        """Forward FLOPs of one layer's feed-forward for `tokens`, each by its experts."""
        return float(tokens) * 2 * self.expert * self.shape.experts_per_token

    def head_flops(self, tokens: int) -> float:
        """Forward FLOPs of the output head."""
        return float(tokens) * 2 * self.embedding
