"""How evenly the bytes were spread over equal-cost links, from leaves to spines and from spines to leaves.

    x = bytes / capacity of one direction of a link         of a leaf: up to its spines, and down from them

    JFI (Jain) = (sum x)^2 / (N sum x^2)    1 is even, 1/N is all on one link
    MMR        = max x / mean x             1 is even, N is all on one link

Flows of different leaves that meet on the way down to one leaf share nothing on the way up, so both ways count. Half of
the bytes on a link of half the rate is as even as can be.

Sources: Jain, Chiu, Hawe, "A quantitative measure of fairness" (DEC-TR-301, 1984);
draft-calabria-bmwg-ai-fabric-terminology for both as fabric metrics; docs/reference/methods.md: spread over equal-cost
links, for x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topologies.model.fabric import Fabric
from traffic.metrics.metric import Definition, Metric

ACKS = 0.1      # of the busiest way's utilisation: one with less carried ACKs, and is no choice that somebody made
_X = "x bytes / capacity of each ECMP link, leaf to spine and spine to leaf"
JFI = Definition("jfi", "", "Jain's fairness over ECMP links", f"(sum x)^2 / (N sum x^2), {_X}",
                 "Jain, Chiu, Hawe 1984")
MMR = Definition("mmr", "", "busiest ECMP link / mean", f"max x / mean x, {_X}",
                 "draft-calabria-bmwg-ai-fabric-terminology")


def jain(values: Sequence[float]) -> float | None:
    """Jain's fairness index of non-negative values; None where all are zero or there are none."""
    top = max(values, default=0.0)
    if top <= 0:
        return None
    shares = [v / top for v in values]      # squares of byte counts as they are would lose their last digits
    return sum(shares) ** 2 / (len(shares) * sum(s * s for s in shares))


def max_to_mean(values: Sequence[float]) -> float | None:
    """The largest value over the mean; None where all are zero or there are none."""
    total = sum(values)
    return max(values) * len(values) / total if total > 0 else None


def metrics(link_bytes: Mapping[str, float], fabric: Fabric) -> dict[str, list[Metric]]:
    """JFI and MMR over the ECMP links, from bytes by direction ('leaf1->spine1').

    Keys are leaves, each with its links up and down, and 'fabric' for all of them. A leaf with one uplink has no choice
    and is left out, as is the way up or down of a leaf that carried little but ACKs.
    """
    ways = {(leaf.name, up): x for leaf in fabric.leaves for up in (True, False)
            if len(x := utilisations(link_bytes, fabric, leaf.name, up=up)) > 1}
    busiest = max((sum(x) for x in ways.values()), default=0.0)
    used = {way: x for way, x in ways.items() if sum(x) > 0 and sum(x) >= ACKS * busiest}
    pooled: dict[str, list[float]] = {"fabric": [v for x in used.values() for v in x]}
    for (leaf, _), x in used.items():
        pooled.setdefault(leaf, []).extend(x)
    return {where: _of(x) for where, x in pooled.items() if x}


def utilisations(link_bytes: Mapping[str, float], fabric: Fabric, leaf: str, *, up: bool) -> list[float]:
    """Bytes / capacity (s x 8) of each of a leaf's uplinks, in one direction."""
    names = [(leaf, k.far(leaf).node) if up else (k.far(leaf).node, leaf) for k in fabric.uplinks(leaf)]
    return [link_bytes.get(f"{a}->{b}", 0.0) / fabric.link(f"{a}->{b}").rate for a, b in names]


def _of(links: Sequence[float]) -> list[Metric]:
    fairness, ratio = jain(links), max_to_mean(links)
    return [d.of(v, len(links)) for d, v in ((JFI, fairness), (MMR, ratio)) if v is not None]
