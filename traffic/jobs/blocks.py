"""A model on a layout: for each pipeline stage the blocks of layers that are computed and exchanged as one.

    stage 0: [embedding, layers 0 .. k-1] [layers k .. 2k-1] ...      stage p: ... [layers ..., output head]

Seconds and parameters are real ones of one rank: tensor parallelism divides all of them, expert parallelism the
experts' parameters (each expert gets its even share of the tokens). Recomputation is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from traffic.jobs.gpus import gpu_of, seconds
from traffic.jobs.layout import Layout
from traffic.jobs.models import Model
from traffic.workloads.specs import TrainingJobSpec


@dataclass(frozen=True, slots=True)
class Block:
    """`layers` layers as one rank sees them: forward seconds of a micro-batch and how many parameters it holds.

    `attention` and `ffn` are the two halves of the layers between which tensor parallelism exchanges;
    the head's seconds are in `ffn` of the last block. `experts` parameters are shared by fewer ranks.
    """

    layers: int
    attention: float
    ffn: float
    dense: float
    experts: float


def stages(spec: TrainingJobSpec, fuse: int) -> tuple[tuple[Block, ...], ...]:
    """The blocks of each stage, `fuse` layers each, the last of a stage with what is left."""
    per_stage = Model.of(spec.model).shape.layers // spec.pipeline
    sizes = [min(fuse, per_stage - first) for first in range(0, per_stage, fuse)]
    plain = [[_block(spec, layers) for layers in sizes] for _ in range(spec.pipeline)]
    plain[0][0] = _with(plain[0][0], 0.0, _share(spec, Model.of(spec.model).embedding))
    plain[-1][-1] = _with(plain[-1][-1], *_head(spec))
    return tuple(tuple(blocks) for blocks in plain)


def whole(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The same work as one block."""
    return (Block(
        layers=sum(b.layers for b in blocks), attention=sum(b.attention for b in blocks),
        ffn=sum(b.ffn for b in blocks), dense=sum(b.dense for b in blocks), experts=sum(b.experts for b in blocks)),)


def activation(spec: TrainingJobSpec) -> int:
    """Bytes of a micro-batch between two layers: samples x sequence x hidden x bytes per element."""
    return spec.micro_batch * spec.sequence * Model.of(spec.model).shape.hidden * spec.bytes_per_element


def layout_of(spec: TrainingJobSpec) -> Layout:
    """The parallel groups of a job."""
    return Layout(spec.data, spec.tensor, spec.pipeline, spec.expert)


def _tokens(spec: TrainingJobSpec) -> int:
    return spec.micro_batch * spec.sequence


def _share(spec: TrainingJobSpec, parameters: float) -> float:
    """What one rank holds of `parameters`, stretched where the spec gives another total than the shape has."""
    model = Model.of(spec.model)
    return parameters * model.parameters / model.counted / spec.tensor


def _block(spec: TrainingJobSpec, layers: int) -> Block:
    model, gpu, tokens = Model.of(spec.model), gpu_of(spec.gpu), _tokens(spec)
    return Block(
        layers=layers,
        attention=layers * seconds(model.attention_flops(tokens, spec.sequence) / spec.tensor, gpu),
        ffn=layers * seconds(model.ffn_flops(tokens) / spec.tensor, gpu),
        dense=_share(spec, layers * model.dense),
        experts=_share(spec, layers * model.experts / spec.expert))


def _head(spec: TrainingJobSpec) -> tuple[float, float]:
    """Seconds and parameters of the output head and the last norm."""
    model = Model.of(spec.model)
    return (seconds(model.head_flops(_tokens(spec)) / spec.tensor, gpu_of(spec.gpu)),
            _share(spec, model.embedding + model.shape.hidden))


def _with(block: Block, ffn: float, dense: float) -> Block:
    return Block(block.layers, block.attention, block.ffn + ffn, block.dense + dense, block.experts)
