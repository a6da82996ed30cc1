"""The third tier of the prefix cache: stores of KV blocks on hosts of their own, LRU by bytes. Pure: no clock, no I/O.

    prompt whole at a replica ── look: which blocks do my tiers lack that a store has? ── fetch them, or compute them
    request over at a replica ── offer: which of its blocks does no store have? ── write them; held once they landed

Block b belongs to store number b modulo the stores, so the blocks of one prompt come from all of them at once. A
look touches every block of the prompt that a store holds. A store whose bytes are used up forgets what was used
longest ago; of one context the end goes first, for a prefix is worth more. A store that died holds nothing and is
offered nothing; its blocks have no other home and are computed.

The policy `cheaper` fetches where that is predicted to take less time than computing the same tokens:

    fetch    = max over the links of 8 x bytes over it / its payload rate, of the stores' access links and the replica's
    compute  = prefill time of the prompt without the blocks of the stores - that with them

on an idle wire and an idle GPU: it knows of no queue. Source: compute-or-load as in CacheGen (Liu et al., SIGCOMM
2024) and Mooncake (Qin et al., FAST 2025), reported here for one request alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from traffic.inference.gpu import Chunk, Roofline
from traffic.inference.kv.cache import Hierarchy, Tier


class Stores:
    """What the stores of one workload hold, and what is on its way to them."""

    def __init__(self, names: Sequence[str], size: float, block_bytes: float) -> None:
        self._names = tuple(names)
        self._tiers = {name: Tier(name, size, block_bytes) for name in names}
        self._coming: set[int] = set()

    def of(self, block: int) -> str:
        """The store that a block belongs to."""
        return self._names[block % len(self._names)]

    def shares(self, blocks: Iterable[int]) -> dict[str, tuple[int, ...]]:
        """Store -> which of these blocks belong to it, in their order."""
        found: dict[str, list[int]] = {}
        for block in blocks:
            found.setdefault(self.of(block), []).append(block)
        return {name: tuple(mine) for name, mine in found.items()}

    def __contains__(self, block: int) -> bool:
        tier = self._tiers.get(self.of(block))
        return tier is not None and block in tier

    def missing(self, blocks: Sequence[int], own: Hierarchy) -> list[int]:
        """Blocks of a prompt that a replica lacks and a store has, up to the first that nobody has. Changes nothing."""
        found = []
        for block in blocks:
            if block in own:
                continue
            if block not in self:
                break
            found.append(block)
        return found

    def touch(self, blocks: Sequence[int]) -> None:
        """They are in use: those that are held are the youngest now, the first of all the very youngest."""
        self._use([b for b in blocks if b in self])

    def _use(self, blocks: Sequence[int]) -> None:
        for name, mine in self.shares(blocks).items():
            self._tiers[name].use(reversed(mine))

    def offer(self, blocks: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Store -> what is to be written to it: neither held nor on its way. It is on its way from now on."""
        sent = self.shares(b for b in blocks if self.of(b) in self._tiers and b not in self and b not in self._coming)
        self._coming.update(b for mine in sent.values() for b in mine)
        return sent

    def landed(self, sent: Sequence[int], context: Sequence[int]) -> None:
        """A write is whole. `context`: all blocks of the request, whose prefix must not be forgotten before its end."""
        arrived = {b for b in sent if self.of(b) in self._tiers}
        self._coming.difference_update(sent)
        self._use([b for b in context if b in self or b in arrived])

    def lost(self, sent: Iterable[int]) -> None:
        """A write broke off."""
        self._coming.difference_update(sent)

    def die(self, name: str) -> None:
        """A store is gone with all that it held."""
        self._tiers.pop(name, None)


@dataclass(frozen=True)
class Terms:
    """By what a replica decides whether to fetch.

    block, wire   tokens of a block, its emulated bytes     rates  host -> payload bit/s of its access link
    time          emulated seconds of a real one
    """

    fetch: str
    roofline: Roofline
    block: int
    wire: int
    rates: Mapping[str, float]
    time: float


def chosen(terms: Terms, stores: Stores, own: Hierarchy, blocks: Sequence[int], prompt: int, to: str) -> list[int]:
    """A look: blocks that replica `to`, with its own tiers, fetches for a prompt of so many tokens."""
    if terms.fetch == "never":
        return []
    missing = stores.missing(blocks, own)
    stores.touch(blocks)
    if terms.fetch == "always" or not missing:
        return missing
    without, reached = (own.match(blocks, brought).total * terms.block for brought in (frozenset(), frozenset(missing)))
    sizes = {name: len(mine) * terms.wire for name, mine in stores.shares(missing).items()}
    saved = saved_seconds(terms.roofline, prompt, without, reached) * terms.time
    return missing if fetch_seconds(sizes, to, terms.rates) < saved else []


def fetch_seconds(sizes: Mapping[str, int], to: str, rates: Mapping[str, float]) -> float:
    """Of a fetch on idle wires. sizes: store -> bytes; rates: host -> payload bit/s of its access link."""
    shares = [8 * size / rates[name] for name, size in sizes.items()]
    return max([*shares, 8 * sum(sizes.values()) / rates[to]], default=0.0)


def saved_seconds(roofline: Roofline, prompt: int, without: int, tokens: int) -> float:
    """Prefill time that a fetch saves, real seconds: `tokens` of a prompt are there with it, `without` else.

    The last token of a prompt is computed in any case.
    """
    def prefill(there: int) -> float:
        there = min(there, prompt - 1)
        return roofline.seconds([Chunk(prompt - there, there)])

    return prefill(without) - prefill(tokens)
