"""Which rank does what: tensor, expert, data and pipeline parallel groups, and the order of micro-batches.

    rank = t + tensor x (d + data x p)      tensor neighbours are neighbours, so `packed` keeps them together
    d    = e + expert x k                   experts are divided among neighbouring data-parallel ranks

The order of Megatron-LM ("tp-ep-dp-pp"). Example: data 2, tensor 2, pipeline 2

    stage 0: 0 1 | 2 3      tensor groups 0 1, 2 3, 4 5, 6 7     data groups 0 2, 1 3, 4 6, 5 7
    stage 1: 4 5 | 6 7      pipelines 0 4, 1 5, 2 6, 3 7
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = tuple[int, ...]
Task = tuple[Literal["forward", "backward"], int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Degrees of parallelism; expert divides data."""

    data: int
    tensor: int
    pipeline: int
    expert: int

    @property
    def ranks(self) -> int:
        return self.data * self.tensor * self.pipeline

    def rank(self, t: int, d: int, p: int) -> int:
        return t + self.tensor * (d + self.data * p)

    def stage(self, p: int) -> Group:
        """All ranks of pipeline stage p."""
        return tuple(range(self.rank(0, 0, p), self.rank(0, 0, p + 1)))

    def tensor_groups(self, p: int) -> tuple[Group, ...]:
        """Ranks that share each layer."""
        return tuple(tuple(self.rank(t, d, p) for t in range(self.tensor)) for d in range(self.data))

    def data_groups(self, p: int) -> tuple[Group, ...]:
        """Ranks with the same dense parameters."""
        return tuple(tuple(self.rank(t, d, p) for d in range(self.data)) for t in range(self.tensor))

    def expert_groups(self, p: int) -> tuple[Group, ...]:
        """Ranks that hold all experts together: the peers of an all-to-all."""
        return tuple(tuple(self.rank(t, first + e, p) for e in range(self.expert))
                     for first in range(0, self.data, self.expert) for t in range(self.tensor))

    def expert_data_groups(self, p: int) -> tuple[Group, ...]:
        """Ranks with the same experts."""
        return tuple(tuple(self.rank(t, d, p) for d in range(e, self.data, self.expert))
                     for e in range(self.expert) for t in range(self.tensor))


def one_forward_one_backward(p: int, stages: int, micro_batches: int) -> tuple[Task, ...]:
    """What stage p does in which order: forwards until the pipeline is full, then one of each, then backwards.

    Source: Narayanan et al., "Efficient large-scale language model training on GPU clusters using
    Megatron-LM" (2021), section 2.2.1; its bubble is (stages - 1) / (micro_batches + stages - 1) of the step.
    """
    ahead = min(stages - p - 1, micro_batches)
    tasks: list[Task] = [("forward", i) for i in range(ahead)]
    for i in range(ahead, micro_batches):
        tasks += [("forward", i), ("backward", i - ahead)]
    return (*tasks, *(("backward", i) for i in range(micro_batches - ahead, micro_batches)))
