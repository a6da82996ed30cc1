"""Which replica gets a request: each policy a pure function of a request and a snapshot of the replicas.

    round_robin       in turn
    random            drawn
    power_of_two      two are drawn, the one with fewer outstanding requests wins (Mitzenmacher 2001)
    least_outstanding the fewest outstanding requests
    consistent_hash   a session keeps its replica; when one goes, only its sessions move (Karger et al. 1997)
    cache_aware       longest prefix, if it is above 0.3 of the prompt, else the fewest outstanding; these as well where
                      loads differ by more than 64 and by a factor of 1.5 (SGLang's router)
    kv_cost           least of prefill blocks + active blocks, as if the prompt went there (NVIDIA Dynamo's KV router,
                      overlap weight 1): blocks that caches are expected to have are no prefill

Of equals one is drawn. What a policy knows of caches and loads is what replicas hold at that moment, and what has been
sent to them: no message carries it, so it is fresher than a real router's. Where no prefix is long enough, SGLang's
router once took the replica with the smallest tree of prompts, that of sgl-model-gateway takes the least loaded one.
Dynamo counts the prompt's own blocks as active too; here no context shares memory with another, so they are the same
everywhere and are left out.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

ABSOLUTE, RELATIVE, THRESHOLD = 64, 1.5, 0.3    # SGLang: balance_abs_threshold, balance_rel_threshold, cache_threshold
OVERLAP_WEIGHT = 1.0                            # Dynamo: kv_overlap_score_weight
VIRTUAL = 100                                   # points of a replica on the hash ring


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """What a policy sees of a replica.

    outstanding     requests sent to it and not over
    prefill_blocks  blocks that it has yet to compute for them, without those that its cache is expected to have
    decode_blocks   blocks of their contexts, from when they are sent
    overlap         leading blocks of this prompt in its cache
    """

    name: str
    outstanding: int = 0
    prefill_blocks: float = 0.0
    decode_blocks: float = 0.0
    overlap: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as a policy sees it: its place in line, draws from [0, 1), its session, its prompt's blocks.

    draws  of `random` and of `power_of_two`     tie  of one among equals
    """

    number: int
    draws: tuple[float, float] = (0.0, 0.0)
    session: str = ""
    blocks: float = 0.0
    tie: float = 0.0


T = TypeVar("T")
Snapshot = Sequence[ReplicaView]        # those that may take the request; at least one
Policy = Callable[[Ask, Snapshot], ReplicaView]


def least(items: Sequence[T], cost: Callable[[T], float], draw: float) -> T:
    """The one that costs least; of equals the one that the draw from [0, 1) says."""
    costs = [cost(item) for item in items]
    lowest = min(costs)
    equals = [item for item, c in zip(items, costs, strict=True) if c == lowest]
    return equals[int(draw * len(equals))]


def round_robin(ask: Ask, replicas: Snapshot) -> ReplicaView:
    """The request's number modulo the replicas."""
    return replicas[ask.number % len(replicas)]


def random(ask: Ask, replicas: Snapshot) -> ReplicaView:
    """By the first draw."""
    return replicas[int(ask.draws[0] * len(replicas))]


def power_of_two(ask: Ask, replicas: Snapshot) -> ReplicaView:
    """The less busy of two different ones that are drawn."""
    first = int(ask.draws[0] * len(replicas))
    others = [r for i, r in enumerate(replicas) if i != first]
    if not others:
        return replicas[first]
    return least_outstanding(ask, (replicas[first], others[int(ask.draws[1] * len(others))]))


def least_outstanding(ask: Ask, replicas: Snapshot) -> ReplicaView:
    """The fewest outstanding requests."""
    return least(replicas, lambda r: r.outstanding, ask.tie)


def consistent_hash(ask: Ask, replicas: Snapshot) -> ReplicaView:
    """The first point on the ring at or after the session's."""
    ring = _ring(tuple(r.name for r in replicas))
    at = bisect.bisect_left(ring, (_point(ask.session), "")) % len(ring)
    name = ring[at][1]
    return next(r for r in replicas if r.name == name)


@cache
def _ring(names: tuple[str, ...]) -> list[tuple[int, str]]:
    return sorted((_point(f"{name}/{k}"), name) for name in names for k in range(VIRTUAL))


def _point(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")


def cache_aware(ask: Ask, replicas: Snapshot) -> ReplicaView:
    """Affinity to the longest prefix as long as loads are balanced; of equal prefixes to the least loaded replica."""
    most, fewest = (f(r.outstanding for r in replicas) for f in (max, min))
    if most - fewest > ABSOLUTE and most > RELATIVE * fewest:
        return least_outstanding(ask, replicas)
    longest = max(r.overlap for r in replicas)
    if ask.blocks and longest / ask.blocks > THRESHOLD:
        return least_outstanding(ask, [r for r in replicas if r.overlap == longest])
    return least_outstanding(ask, replicas)


def kv_cost(ask: Ask, replicas: Snapshot) -> ReplicaView:
    """Least of weight x (blocks to compute there, of this prompt those without its overlap) + blocks held there."""
    def cost(r: ReplicaView) -> float:
        return OVERLAP_WEIGHT * (r.prefill_blocks + max(ask.blocks - r.overlap, 0.0)) + r.decode_blocks

    return least(replicas, cost, ask.tie)


POLICIES: dict[str, Policy] = {f.__name__: f for f in (
    round_robin, random, power_of_two, least_outstanding, consistent_hash, cache_aware, kv_cost)}
