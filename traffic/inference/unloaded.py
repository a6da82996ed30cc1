"""What a request alone is expected to take where replicas are several hosts: written down before traffic starts.

The median prompt is computed in chunks, the median answer token by token, on an idle network:

    step = stages x seconds of a stage (roofline) + what the workers exchange (parallel.idle_seconds)

Measured under load, steps hold more contexts and stages wait for each other: the distance is the finding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean, median

from topologies.model.scale import Scale
from traffic.inference.gpu import Chunk
from traffic.inference.parallel import Parallel
from traffic.inference.plan import Serving
from traffic.metrics.metric import Metric, with_real
from traffic.metrics.serving.inference import PREFILL, TPOT
from traffic.metrics.serving.spanning import SHARE

_ALONE = "of the median request alone on an idle network: stages x roofline + bytes exchanged at the busiest port"
_PREFILL = replace(PREFILL, formula=f"prefill {_ALONE}")
_TPOT = replace(TPOT, formula=f"mean step of decoding {_ALONE}")
_SHARE = replace(SHARE, formula=f"exchange / steps, prefill and decoding {_ALONE}")


def predict(serving: Serving, scale: Scale) -> dict[str, Metric]:
    """Tag -> prediction, under the keys of the measurements; nothing for replicas of one host. Seconds emulated."""
    parallel = serving.parallel
    if parallel is None:
        return {}
    given, made = (round(median(getattr(r, k) for r in serving.requests)) for k in ("input", "output"))
    prefill = [_step(serving, parallel, chunk) for chunk in _chunks(given, serving.spec.chunk)]
    decode = [_step(serving, parallel, Chunk(1, given + k)) for k in range(made - 1)]
    found = [_PREFILL.of(sum(c + f for c, f in prefill)),
             _SHARE.of(sum(f for _, f in prefill + decode) / sum(c + f for c, f in prefill + decode))]
    if decode:
        found.append(_TPOT.of(fmean(c + f for c, f in decode)))
    return {m.tag: with_real(m, scale) for m in found}


def predictions(workloads: Sequence[Serving], scale: Scale) -> dict[str, Metric]:
    """The same of several workloads: 'chat.tpot'."""
    return {f"{s.name}.{tag}": m for s in workloads for tag, m in predict(s, scale).items()}


def _chunks(prompt: int, size: int) -> Iterator[Chunk]:
    return (Chunk(min(size, prompt - before), before) for before in range(0, prompt, size))


def _step(serving: Serving, parallel: Parallel, chunk: Chunk) -> tuple[float, float]:
    """Emulated seconds of compute and of exchange; the slowest replica's."""
    compute = serving.spec.pipeline * serving.roofline.seconds([chunk]) * serving.time
    return compute, max(parallel.idle_seconds(name, chunk.tokens) for name in parallel.stages)
