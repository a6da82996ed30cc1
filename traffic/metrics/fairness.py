"""How evenly ECMP spread the bytes over its links.

    JFI (Jain) = (sum x)^2 / (N sum x^2)    1 is even, 1/N is all on one link
    MMR        = max x / mean x             1 is even, N is all on one link

Sources: Jain, Chiu, Hawe, "A quantitative measure of fairness" (DEC-TR-301, 1984);
draft-calabria-bmwg-ai-fabric-terminology for both as fabric metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topologies.fabric import Fabric
from traffic.metrics.metric import Definition, Metric

JFI = Definition("jfi", "", "Jain's fairness over ECMP links", "(sum x)^2 / (N sum x^2), x bytes on each uplink",
                 "Jain, Chiu, Hawe 1984")
MMR = Definition("mmr", "", "busiest ECMP link / mean", "max x / mean x, x bytes on each uplink",
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
    """JFI and MMR over each leaf's uplinks, from bytes by direction ('leaf1->spine1').

    Keys are leaves, and 'fabric' for the leaf that sent most into the fabric: the others may have
    sent little but ACKs. Leaves with one uplink have no choice and are left out.
    """
    sent = {leaf.name: [float(link_bytes.get(f"{leaf.name}->{k.far(leaf.name).node}", 0.0))
                        for k in fabric.uplinks(leaf.name)] for leaf in fabric.leaves}
    used = {leaf: x for leaf, x in sent.items() if len(x) > 1 and sum(x) > 0}
    if not used:
        return {}
    busiest = max(used, key=lambda leaf: sum(used[leaf]))
    return {where: _of(x) for where, x in {"fabric": used[busiest], **used}.items()}


def _of(links: Sequence[float]) -> list[Metric]:
    fairness, ratio = jain(links), max_to_mean(links)
    return [d.of(v, len(links)) for d, v in ((JFI, fairness), (MMR, ratio)) if v is not None]
