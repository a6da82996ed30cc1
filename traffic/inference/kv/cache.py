"""Which blocks of a prompt a replica has computed before: LRU by bytes, in tiers.

A prompt is a row of blocks; a block's id stands for its content and all that comes before it, so a hit is
a prefix: the longest row of leading blocks that some tier has. Each tier forgets what was used longest ago
when its bytes are used up. Every block that is computed or found enters every tier (write-through), so a
tier of more bytes holds what a smaller one has forgotten. The tier beyond the network is in store.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

STORE = "store"     # the tier of blocks that a replica does not hold itself (store.py)


class Tier:
    """Blocks of one size, at most `capacity` bytes of them; None for no bound."""

    def __init__(self, name: str, capacity: float | None, block_bytes: float) -> None:
        self.name, self.block_bytes = name, block_bytes
        self.blocks = None if capacity is None else int(capacity // block_bytes)
        self._held: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, block: int) -> bool:
        return block in self._held

    def use(self, blocks: Iterable[int]) -> None:
        """Take blocks in, or note that they were used again; in their order, the last is the youngest."""
        held = self._held
        for block in blocks:
            if block in held:
                held.move_to_end(block)
            else:
                held[block] = None
        while self.blocks is not None and len(held) > self.blocks:
            held.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Hit:
    """Leading blocks of a prompt that were found, by the tier that is nearest: {'gpu': 3, 'host': 1}."""

    blocks: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.blocks.values())


class Hierarchy:
    """A replica's tiers, the nearest first."""

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self.tiers = tuple(tiers)

    def match(self, blocks: Sequence[int], brought: Set[int] = frozenset()) -> Hit:
        """What a prompt would find, also among blocks that were brought from a store. Changes nothing."""
        found = dict.fromkeys((*(t.name for t in self.tiers), *((STORE,) if brought else ())), 0)
        for tier in self._nearest(blocks, brought):
            found[tier] += 1
        return Hit(found)

    def _nearest(self, blocks: Sequence[int], brought: Set[int]) -> Iterator[str]:
        for block in blocks:
            tier = next((t.name for t in self.tiers if block in t), STORE if block in brought else None)
            if tier is None:
                return
            yield tier

    def __contains__(self, block: int) -> bool:
        return any(block in t for t in self.tiers)

    def insert(self, blocks: Sequence[int]) -> None:
        """A prompt's or a whole context's blocks are computed: every tier holds them now.

        From the last to the first: a prefix is worth more than what follows it and is forgotten later.
        """
        for tier in self.tiers:
            tier.use(reversed(blocks))

    def lookup(self, blocks: Sequence[int], brought: Set[int] = frozenset()) -> Hit:
        """What a prompt finds; its blocks are held from now on."""
        hit = self.match(blocks, brought)
        self.insert(blocks)
        return hit


def reuse(prompts: Iterable[Sequence[int]], cache: Hierarchy) -> tuple[int, int]:
    """(blocks found, blocks in all) when prompts come one after the other to one cache."""
    found = total = 0
    for blocks in prompts:
        found += cache.lookup(blocks).total
        total += len(blocks)
    return found, total
