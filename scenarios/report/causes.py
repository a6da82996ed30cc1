"""Why it took as long as it did, in sentences: the bottleneck link, the rank that came late, the model.

Computed like all of the answer: nothing here knows what a scenario hoped for, or what its events did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scenarios.report.measured import Json, Tags, metric_of
from scenarios.report.text import number, percent, quantity
from traffic.metrics import bottleneck, fairness, interference, steps, straggler
from traffic.metrics.on_paths import INTERFERENCE_ON_PATHS, STEP_ON_PATHS
from traffic.metrics.serving import tail

UNEVEN = 0.02       # difference of fairness between phases from which on it is reported
TELLING = 0.05      # share of the steps from which on a late rank is reported


def bottleneck_sentences(metrics: Tags, phases: Sequence[str]) -> Iterator[str]:
    """Which link was the bottleneck of each phase, by what its counters say; nothing where none did."""
    for prefix, where in [("fabric", ""), *((f"fabric.{p}", f"In phase {p}, ") for p in phases)]:
        link, rate, peers = (metrics.get(f"{prefix}.{definition.tag}")
                             for definition in (bottleneck.BOTTLENECK, bottleneck.RATE, bottleneck.PEERS))
        if link is not None:
            text = _bottleneck(link, rate, peers)
            yield where + text if where else text[0].upper() + text[1:]


def _bottleneck(link: Json, rate: Json | None, peers: Json | None) -> str:
    place, share = link["where"], percent(link["value"])
    got = f"carried {quantity(rate['value'], 'bit/s')}" if rate else ""
    if "->" not in place:
        return (f"the links from {place} were the bottleneck together: packets waited there up to {share} "
                f"of the time{', and the slowest ' + got if got else ''}.")
    text = (f"{place} was the bottleneck link: packets waited for it {share} of the time"
            f"{', while it ' + got if got else ''}")
    if peers and rate:
        others = f"its peer links from {peers['where']}"
        text += f", and {others} {quantity(peers['value'], 'bit/s')}" \
            if rate["value"] < bottleneck.SLOWER * peers["value"] else f"; {others} were as fast, but waited for less"
    return f"{text}."


def spread_sentences(metrics: Tags, phases: Sequence[str]) -> Iterator[str]:
    """How evenly the links between leaves and spines were used in each phase, where that differed."""
    found = {p: metrics[key]["value"] for p in phases if (key := f"fabric.{p}.{fairness.JFI.tag}") in metrics}
    if found and max(found.values()) - min(found.values()) >= UNEVEN:
        each = ", ".join(f"{number(value)} in phase {p}" for p, value in found.items())
        yield f"Jain's fairness over the links between leaves and spines was {each} (1 is even)."


def straggler_sentence(tags: Tags) -> str:
    """The rank that the others waited for; '' where nobody waited long."""
    late = metric_of(tags, straggler.STRAGGLER)
    if late is None or late["value"] < TELLING:
        return ""
    return f"{late['where'][0].upper()}{late['where'][1:]} was the straggler: the median rank waited " \
           f"{percent(late['value'])} of the step for it."


def tail_sentence(subject: str, tags: Tags) -> str:
    """Which link slowed the slowest requests down: what was counted, what follows; '' where none stood out."""
    drops, only = metric_of(tags, tail.DROPS), metric_of(tags, tail.ONLY_PATH)
    if drops is None or only is None:
        return ""
    lost = number(drops["value"]) if drops["value"] else "none"
    link, wait = metric_of(tags, tail.LINK), metric_of(tags, tail.WAIT)
    if link is None or wait is None:
        seen = f"{drops['where']} dropped {lost} while the slowest tenth was on the network, and no queue was long"
    else:
        seen = (f"while the slowest tenth was on the network, packets waited at {drops['where']} for "
                f"{quantity(wait['value'], 's')} on average beyond what their own bytes need, "
                f"{percent(link['value'])} of their extra time, and {lost} were dropped there")
    way = "all of them" if only["value"] == 1 else percent(only["value"]) + " of them"
    return f"{subject}: {seen}. This is counted; that it slowed them down is inferred: {way} had no other path."


def model_sentence(subject: str, tags: Tags, predicted: Tags) -> str:
    """Measured against fair shares on the observed paths; '' where the model was not computed."""
    parts = []
    for definition, of, words in ((STEP_ON_PATHS, steps.STEP_TIME, "the {} for a step"),
                                  (INTERFERENCE_ON_PATHS, interference.INTERFERENCE, "the interference factor of {}")):
        model, found = metric_of(predicted, definition), metric_of(tags, of)
        if model and found and model["value"]:
            shown = words.format(quantity(model["value"], definition.unit))
            parts.append(f"{number(found['value'] / model['value'])} times {shown}")
    return f"{subject} took {' and had '.join(parts)} that max-min fair shares on its paths predict." if parts else ""
