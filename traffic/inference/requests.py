"""The requests of a serving workload, in emulated units: of a trace, drawn, or in sessions.

In a session each turn's prompt is all that was said before and a new part; the first turn is due by the
arrival process, a later one a think time after the answer before it has ended. So sessions are open loop,
turns are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from topologies.model.errors import SpecError
from topologies.model.scale import Scale
from traffic.traces import azure, mooncake
from traffic.workloads.arrivals import arrivals
from traffic.workloads.extent import MAX_BLOCKS, MAX_REQUESTS
from traffic.workloads.specs import ServingSpec

SESSION_BLOCKS = 1 << 20        # ids of a session's blocks begin at its number times this


class Request(BaseModel):
    """A request. `at` in emulated seconds after the start, or after the end of request `after`.

    size   bytes of the prompt, emulated     blocks  ids of the prompt's blocks     kept  of the whole context's
    task   of an agent that it belongs to, which then says when it is due
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: int
    at: float
    input: int
    output: int
    size: int
    client: str
    session: str = ""
    after: int = -1
    blocks: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    task: int = -1


def requests_of(spec: ServingSpec, clients: tuple[str, ...], scale: Scale, seed: int,
                where: str = "workloads") -> list[Request]:
    """All requests of a workload, by their ids. Clients take sessions (or requests) round robin.

    Raises TraceError, SpecError for more than can be held.
    """
    rows = list(islice(_rows(spec, seed, where), MAX_REQUESTS + 1))
    if len(rows) > MAX_REQUESTS:
        raise SpecError(f"{where}.trace", f"at most {MAX_REQUESTS:,} requests", "more in the trace",
                        "a window of it, or thinning")
    return [Request(id=i, at=scale.to_emulated_time(at), input=given, output=max(made, 1),
                    size=prompt_bytes(spec, scale, given),
                    client=clients[(i if owner < 0 else owner) % len(clients)],
                    session="" if owner < 0 else f"s{owner}", after=after, blocks=blocks, kept=kept)
            for i, (at, given, made, owner, after, blocks, kept) in enumerate(rows)]


def trace_notes(spec: ServingSpec) -> dict[str, str]:
    """What a report has to say of how the requests of a trace were read. Raises TraceError."""
    if spec.trace is None:
        return {}
    if spec.format == "azure":
        return azure.notes(Path(spec.trace))
    slot = mooncake.slot(Path(spec.trace))
    return {"arrivals": f"stamps are rounded to {slot:g} s in the trace: each batch is spread inside its slot, drawn "
                        "from the seed" if slot else "as stamped"}


def prompt_bytes(spec: ServingSpec, scale: Scale, tokens: int) -> int:
    """Emulated bytes of a prompt with this many tokens, at least 1."""
    return max(round(scale.to_emulated_size(tokens * spec.bytes_per_input_token)), 1)


_Row = tuple[float, int, int, int, int, tuple[int, ...], tuple[int, ...]]


def _rows(spec: ServingSpec, seed: int, where: str) -> Iterator[_Row]:
    """(at, input, output, session or -1, after, blocks, kept), real seconds."""
    if spec.trace is not None:
        return _of_trace(spec, Path(spec.trace), seed)
    return _drawn(spec, seed, where)


def _of_trace(spec: ServingSpec, path: Path, seed: int) -> Iterator[_Row]:
    rng = np.random.default_rng(seed)
    found: list[tuple[float, int, int, tuple[int, ...]]]
    if spec.format == "azure":
        found = [(r.arrival, max(r.input_tokens, 1), r.output_tokens, ()) for r in azure.read(path, spec.window)]
    else:
        found = [(r.arrival, r.input_tokens, r.output_tokens, r.blocks)
                 for r in mooncake.read_spread(path, spec.window, seed)]
    kept = rng.random(len(found)) < spec.thinning if spec.thinning < 1 else np.ones(len(found), bool)
    for (at, given, made, blocks), keep in zip(found, kept, strict=True):
        if keep:
            yield at / spec.speedup, given, made, -1, -1, blocks, blocks


def _drawn(spec: ServingSpec, seed: int, where: str) -> Iterator[_Row]:
    rng = np.random.default_rng([seed, 1])
    starts = arrivals(spec.process, spec.rate or 1.0, spec.requests, seed, spec.shape)

    def tokens(median: int) -> int:
        return max(1, round(float(median * rng.lognormal(0.0, spec.variation))))

    number = blocks = 0
    for session, start in enumerate(starts):
        context = 0
        for turn in range(spec.turns):
            given, made = context + tokens(spec.input_tokens), tokens(spec.output_tokens)
            context = given + made
            blocks += context // spec.block
            if blocks > MAX_BLOCKS:
                raise SpecError(f"{where}.block", f"at most {MAX_BLOCKS:,} blocks of all prompts together",
                                f"more in the first {number + 1:,} requests", "a larger block, or shorter requests")
            ids = [session * SESSION_BLOCKS + k for k in range(context // spec.block)]
            at = float(start) if turn == 0 else float(rng.exponential(spec.think))
            yield (at, given, made, session if spec.turns > 1 or spec.routing == "consistent_hash" else -1,
                   number - 1 if turn else -1, tuple(ids[:given // spec.block]), tuple(ids))
            number += 1
