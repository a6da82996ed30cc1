"""Parameters and gradients of one pipeline stage: who exchanges them, when, in which pieces.

    zero 0       backward ──> bucket ──> bucket ──> ...           all-reduce, one after the other
    zero 1, 2    backward ──> bucket ──> ...  ──> all-gather ...  reduce-scatter, then the new parameters
    zero 3       gather unit k+1 beside the work on unit k; reduce-scatter each unit after its backward

Gradients travel with `gradient_bytes` each, four by default: Llama 3 accumulates and reduce-scatters them in FP32 ("The
Llama 3 Herd of Models", 2024, 3.3.2), as Megatron-LM does when it trains in BF16. Parameters travel as they are used.

Sources: Li et al., "PyTorch Distributed: experiences on accelerating data parallel training" (2020),
buckets; Rajbhandari et al., "ZeRO" (2020); Zhao et al., "PyTorch FSDP" (2023), units, and at most two of
them gathered ahead of the work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from traffic.jobs.blocks import Block, layout_of
from traffic.jobs.emitter import Emitter, Waits
from traffic.jobs.layout import Group
from traffic.workloads.specs import TrainingJobSpec
from traffic.workloads.workload import CollectiveName

MAX_BUCKETS = 64        # of a stage: with smaller ones most operations would be too small to mean anything
AHEAD = 2               # units gathered and not yet worked on
_KINDS: dict[str, CollectiveName] = {"ar": "all-reduce", "rs": "reduce-scatter", "ag": "all-gather"}


@dataclass(slots=True)
class _Shared:
    """Parameters that `groups` share, `total` of them on each rank; of how many the gradients were exchanged so far.

    sizes: emulated bytes of the parameters whose gradients each exchange carried, where they are gathered afterwards.
    """

    kind: str       # dense or experts
    groups: Sequence[Group]
    total: float
    pending: float = 0.0
    sent: float = 0.0
    sizes: list[int] = field(default_factory=list)
    chain: dict[str, str] = field(default_factory=dict)     # collective -> the last one of it


def bucket(spec: TrainingJobSpec, total: float) -> float:
    """Gradients exchanged at once, of `total`: in as many equal parts as the spec's bucket size needs."""
    return total / min(MAX_BUCKETS, math.ceil(total * spec.gradient_bytes / spec.bucket))


class State:
    """One stage's parameters in an iteration. Names carry the stage: "rs/s0/dense/3"."""

    def __init__(self, spec: TrainingJobSpec, p: int, blocks: Sequence[Block], emitter: Emitter) -> None:
        self._spec, self._p, self._emit = spec, p, emitter
        layout = layout_of(spec)
        shared = [_Shared("dense", layout.data_groups(p), sum(b.dense for b in blocks)),
                  _Shared("experts", layout.expert_data_groups(p), sum(b.experts for b in blocks))]
        self._shared = [s for s in shared if s.total and len(s.groups[0]) > 1]
        self._used: list[Waits] = []        # zero 3: the last computes on each gathered unit
        self._count = 0

    @property
    def exchanged(self) -> bool:
        """Whether the ranks of the stage have peers with the same parameters."""
        return bool(self._shared)

    def gather(self, block: Block) -> Waits:
        """zero 3: the parameters of a unit, and what each rank has to wait for before it works on it."""
        if self._spec.zero < 3:
            return {}
        last = len(self._used) - (AHEAD if self._spec.overlap else 1)
        free = self._used[last] if last >= 0 else {}
        waits: dict[int, tuple[str, ...]] = {}
        for s in self._shared:
            size = self._emit.sized(f"gather of {s.kind}", getattr(block, s.kind) * self._spec.bytes_per_element)
            for rank, part in self._collect(s, "ag", size, free).items():
                waits[rank] = (*waits.get(rank, ()), *part)
        return waits

    def used(self, ranks: Group) -> None:
        """The work on the unit gathered last is planned; its memory is free after it."""
        self._used.append(self._emit.lasts([ranks]))

    def ready(self, block: Block) -> None:
        """The gradients of a block are complete after the last computes."""
        for s in self._shared:
            s.pending += getattr(block, s.kind)
            if self._spec.zero == 3:
                self._send(s, s.pending)
            elif self._spec.overlap:
                self._buckets(s)

    def finish(self) -> None:
        """The rest of the gradients; with zero 1 and 2 the new parameters come back."""
        for s in self._shared:
            if self._spec.zero < 3:
                self._buckets(s)
        if self._spec.zero in (1, 2):
            for s in self._shared:
                first = s.chain["rs"]
                for size in s.sizes:
                    self._collect(s, "ag", size, {}, first)

    def _buckets(self, s: _Shared) -> None:
        """Send what fills buckets. They are equal parts of the total, so the last gradients fill the last one."""
        size = bucket(self._spec, s.total)
        while s.pending > size * (1 - 1e-9):
            self._send(s, size)

    def _send(self, s: _Shared, size: float) -> None:
        each, held = self._spec.gradient_bytes, self._spec.bytes_per_element
        scaled = self._emit.sized(f"gradients of {s.kind}", size * each, s.sent * each)
        if self._spec.zero in (1, 2):
            s.sizes.append(self._emit.sized(f"parameters of {s.kind}", size * held, s.sent * held))
        s.sent, s.pending = s.sent + size, s.pending - size
        self._collect(s, "ar" if self._spec.zero == 0 else "rs", scaled, self._emit.lasts(s.groups))

    def _collect(self, s: _Shared, what: str, size: int, waits: Waits, first: str = "") -> Waits:
        """The next collective of its kind, after the one before it, as on one stream of a GPU."""
        self._count += 1
        name = f"{what}/s{self._p}/{s.kind}/{self._count}"
        parts = self._emit.beside(name, _KINDS[what], s.groups, size, waits, s.chain.get(what, first))
        s.chain[what] = name
        return parts
