"""A training job -> a workload: one iteration of every rank, with the dependencies that real ranks have.

    stage p, micro-batch i, of each block of layers
      forward    attention ─ all-reduce ─ [all-to-all] ─ ffn ─ [all-to-all] ─ all-reduce ─> to stage p+1
      backward   [all-to-all] ─ ffn ─ [all-to-all] ─ all-reduce ─ attention ─ all-reduce ─> to stage p-1
                                                             └─> gradients, beside the work

Tensor parallel all-reduces carry micro_batch x sequence x hidden x bytes, two a layer each way (Shoeybi et
al., Megatron-LM, 2019); they and the all-to-all of experts (tokens x experts_per_token, dispatch and combine;
Lepikhin et al., GShard, 2020) hold up the work. Stages send each tensor rank's whole activation. Not in
it: sequence parallelism, recomputation, the optimizer's own time, the exchange of tied embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator

from topologies.model.errors import SpecError, SpecErrors
from topologies.model.fabric import Fabric
from topologies.model.units import show_size, show_time
from traffic.jobs.blocks import Block, activation, layout_of, stages, whole
from traffic.jobs.emitter import Emitter, Waits
from traffic.jobs.gpus import gpu_of
from traffic.jobs.layout import one_forward_one_backward
from traffic.jobs.models import BACKWARD, Model
from traffic.jobs.state import State
from traffic.workloads.placement import place
from traffic.workloads.specs import TrainingJobSpec
from traffic.workloads.workload import Collective, Op, Workload

MAX_OPS = 20_000        # computes and transfers of an iteration; above it layers are fused
_STEPS = {
    "forward": ("attention", "ar", "aa", "ffn", "aa", "ar"),
    "backward": ("aa", "ffn", "aa", "ar", "attention", "ar"),
}


def training_job(spec: TrainingJobSpec, fabric: Fabric, name: str, seed: int) -> Workload:
    """One iteration of the job, in emulated units. The seed draws random placement, and jitter when the job runs.

    Layers are fused until an iteration has at most MAX_OPS operations, unless the spec says how many to
    fuse; the notes say what was done. Raises SpecErrors, SpecError.
    """
    errors = [SpecError(f"workloads.{name}.{key}", expected, found) for key, expected, found in problems(spec)]
    if errors:
        raise SpecErrors(errors)
    hosts = place(spec.placement, spec.ranks, fabric, seed, fold=spec.fold)
    layers = Model.of(spec.model).shape.layers // spec.pipeline
    fuse = min(spec.fuse or 1, layers)
    while not spec.fuse and fuse < layers and at_least(spec, fuse) > MAX_OPS:
        fuse = min(2 * fuse, layers)        # not built, only to be found too large
    while True:
        ops = _iteration(spec, fabric, f"workloads.{name}", fuse)
        count = sum(map(primitives, ops))
        if count <= MAX_OPS or spec.fuse or fuse == layers:
            break
        fuse = min(2 * fuse, layers)
    if count > MAX_OPS:
        raise SpecError(f"workloads.{name}", f"at most {MAX_OPS} computes and transfers in an iteration",
                        f"{count} with {fuse} layers taken as one",
                        "raise fuse, or lower micro_batches or the number of ranks")
    return Workload(
        name=name, hosts=hosts, ops=tuple(ops), iterations=spec.iterations, warmup=spec.warmup,
        flows_per_pair=spec.flows_per_pair,
        jitter=spec.jitter, seed=seed, notes=_notes(spec, fabric, fuse, count, ops))


def at_least(spec: TrainingJobSpec, fuse: int) -> int:
    """Computes and transfers that an iteration has at least, with `fuse` layers taken as one; nothing is built for it.

    Each rank computes each micro-batch forward and backward, in halves of a block where tensor or expert parallelism
    exchanges between them; stages hand activations on; the gradients of a stage are exchanged once.
    """
    layers = max(Model.of(spec.model).shape.layers // spec.pipeline, 1)
    separate = spec.tensor > 1 or spec.expert > 1
    blocks = -(-layers // max(fuse, 1)) if separate or spec.zero == 3 else 1
    computes = spec.ranks * spec.micro_batches * 2 * blocks * (2 if separate else 1)
    sends = 2 * spec.micro_batches * (spec.pipeline - 1) * spec.data * spec.tensor
    t, d = spec.tensor, spec.data
    reduces = spec.micro_batches * 4 * blocks * d * spec.pipeline * 2 * t * t if t > 1 else 0
    gradients = t * spec.pipeline * d * (d - 1) if d > 1 else 0
    return computes + sends + reduces + gradients


def primitives(op: Op) -> int:
    """Computes and transfers that an operation of a job becomes."""
    if not isinstance(op, Collective):
        return 1
    n = len(op.ranks)
    return 2 * n + n * (n - 1) * (2 if op.kind == "all-reduce" else 1)


def problems(spec: TrainingJobSpec) -> Iterator[tuple[str, str, str]]:
    """(key, expected, found) for everything about the layout that the model or the ranks do not allow."""
    shape = Model.of(spec.model).shape
    divisors = [("pipeline", spec.pipeline, "layers", shape.layers), ("tensor", spec.tensor, "heads", shape.heads),
                ("tensor", spec.tensor, "ffn", shape.ffn), ("expert", spec.expert, "data", spec.data),
                ("expert", spec.expert, "experts", shape.experts)]
    for key, degree, of, total in divisors:
        if total % degree:
            yield key, f"a divisor of {of}, {total}", str(degree)
    if spec.ranks < 2:
        yield "data", "two or more ranks (data x tensor x pipeline)", str(spec.ranks)
    strangers = [r for r, _ in spec.stragglers if not 0 <= r < spec.ranks]
    if strangers:
        yield "stragglers", f"ranks from 0 to {spec.ranks - 1}", ", ".join(map(str, strangers))


def _iteration(spec: TrainingJobSpec, fabric: Fabric, where: str, fuse: int) -> list[Op]:
    emitter = Emitter(where, fabric.spec.scale.scale, dict(spec.stragglers))
    for p, blocks in enumerate(stages(spec, fuse)):
        stage = _Stage(spec, p, blocks, emitter)
        for direction, i in one_forward_one_backward(p, spec.pipeline, spec.micro_batches):
            stage.run(direction, i)
        stage.state.finish()
    return emitter.ops


class _Stage:
    """All ranks of one pipeline stage, which do the same at the same places of the iteration."""

    def __init__(self, spec: TrainingJobSpec, p: int, blocks: tuple[Block, ...], emitter: Emitter) -> None:
        self._spec, self._p, self._blocks, self._emit = spec, p, blocks, emitter
        self._layout = layout_of(spec)
        self._ranks = self._layout.stage(p)
        self.state = State(spec, p, blocks, emitter)

    def run(self, direction: str, i: int) -> None:
        """Forward or backward of micro-batch i, from what comes in to what is passed on."""
        done = direction == "backward" and (i == self._spec.micro_batches - 1 or self._spec.zero == 3)
        waits = self._incoming(direction, i)
        for b, block in self._order(direction, done):
            prefix = f"{direction[0]}{i}/s{self._p}/b{b}"
            gathered = self.state.gather(block)
            waits = {r: (*waits.get(r, ()), *gathered.get(r, ())) for r in self._ranks}
            self._block(direction, prefix, block, waits)
            self.state.used(self._ranks)
            if done:
                self.state.ready(block)
            waits = {}
        to = self._p + (1 if direction == "forward" else -1)
        if 0 <= to < self._layout.pipeline:
            step = len(self._ranks) * (to - self._p)
            self._emit.send(f"{direction}{i}", [(r, r + step) for r in self._ranks], activation(self._spec))

    def _incoming(self, direction: str, i: int) -> Waits:
        """The transfers of the stage before (backward: after) that each rank waits for."""
        source = self._p - (1 if direction == "forward" else -1)
        if not 0 <= source < self._layout.pipeline:
            return {}
        step = len(self._ranks) * (source - self._p)
        return {r: (f"{direction}{i}/r{r + step}",) for r in self._ranks}

    def _order(self, direction: str, done: bool) -> list[tuple[int, Block]]:
        """Blocks with their numbers in the order of the work; one for all where nothing happens between them."""
        beside = done and self._spec.overlap and self.state.exchanged
        separate = self._spec.tensor > 1 or self._spec.expert > 1 or self._spec.zero == 3 or beside
        blocks = list(enumerate(self._blocks if separate else whole(self._blocks)))
        return blocks if direction == "forward" else blocks[::-1]

    def _block(self, direction: str, prefix: str, block: Block, waits: Waits) -> None:
        """Computes of a block and the exchanges that hold it up; it begins when `waits` are over."""
        spec, layout, times = self._spec, self._layout, BACKWARD if direction == "backward" else 1.0
        needed = {"attention": True, "ffn": True, "ar": spec.tensor > 1, "aa": spec.expert > 1}
        steps = [step for step in _STEPS[direction] if needed[step]]
        if len(steps) == 2:     # both halves with nothing between them
            self._emit.compute(f"{prefix}/layers", self._ranks, times * (block.attention + block.ffn), waits)
            return
        if waits and steps[0] == "aa":
            self._emit.compute(f"{prefix}/begin", self._ranks, 0.0, waits)
        size = block.layers * activation(spec)
        for k, step in enumerate(steps):
            name = f"{prefix}/{k}-{step}"
            if step == "ar":
                self._emit.exchange(name, "all-reduce", layout.tensor_groups(self._p), size)
            elif step == "aa":
                routed = size * Model.of(spec.model).shape.experts_per_token / spec.tensor
                self._emit.exchange(name, "all-to-all", layout.expert_groups(self._p), routed)
            else:
                self._emit.compute(name, self._ranks, times * getattr(block, step), waits)
                waits = {}


def _notes(spec: TrainingJobSpec, fabric: Fabric, fuse: int, count: int, ops: list[Op]) -> dict[str, str]:
    """What a report says about the job, in real units."""
    model, gpu = Model.of(spec.model), gpu_of(spec.gpu)
    work = [spec.micro_batches * (1 + BACKWARD) * sum(b.attention + b.ffn for b in blocks)
            for blocks in stages(spec, fuse)]
    taken = "1 layer" if fuse == 1 else f"{fuse} layers"
    return {
        "model": f"{spec.model if isinstance(spec.model, str) else 'described'}, {model.parameters:,} parameters, "
                 f"sequence {spec.sequence}, {spec.micro_batches} x {spec.micro_batch} samples a data-parallel rank",
        "gpu": f"{gpu.flops / 1e12:g} TFLOP/s x {gpu.utilisation:g}; a rank computes {show_time(min(work))} to "
               f"{show_time(max(work))} an iteration",
        "layout": f"data {spec.data} x tensor {spec.tensor} x pipeline {spec.pipeline}, expert {spec.expert}",
        "gradients": _gradients(spec, fabric, ops),
        "fused": f"{taken} taken as one: {len(ops)} operations, {count} computes and transfers",
        "variation": f"jitter {spec.jitter:g}, drawn for each compute of each iteration; stragglers "
                     + (", ".join(f"rank {r} x {f:g}" for r, f in spec.stragglers) or "none"),
    }


def _gradients(spec: TrainingJobSpec, fabric: Fabric, ops: list[Op]) -> str:
    found = [op for op in ops if isinstance(op, Collective) and op.id.startswith(("ar/", "rs/"))]
    if not found:
        return "not exchanged: no rank has a peer with the same parameters"
    largest = fabric.spec.scale.scale.to_real_size(max(op.size for op in found))
    return (f"{spec.gradient_bytes} bytes a gradient, {len(found)} collectives ({found[0].kind}) of up to "
            f"{show_size(largest)}")
