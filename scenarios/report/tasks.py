"""What agents' tasks were made of, in sentences: the parts of the critical path, and which part made a difference."""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.report.measured import Tags, value_of
from scenarios.report.text import number, percent, plural, quantity
from traffic.metrics.serving.inference import HITS
from traffic.metrics.serving.tasks import DONE, ERRORS, FAILED, PARTS, TIME, TIMED_OUT

WORDS = {"external": "external services", "think": "pauses"}
ALIKE = 0.01        # of the mean task time; a smaller difference is not reported


def parts_of(tags: Tags) -> dict[str, float]:
    """Part -> mean seconds on the critical path; {} where no task was answered."""
    return {part: seconds for part, of in PARTS.items() if (seconds := value_of(tags, of)) is not None}


def tasks_text(tags: Tags) -> str:
    """What became of the tasks, how long half of them took, and what of: the largest part first."""
    counts = {words: n for outcome, words in ((DONE, ""), (FAILED, "failed"), (TIMED_OUT, "timed out"))
              if (n := value_of(tags, outcome)) is not None}
    done, total = counts.get("", 0.0), sum(counts.values())
    text = f"{'all' if done == total else number(done) + ' of'} {plural(total, 'task')} were answered"
    text += "".join(f", {number(n)} {words}" for words, n in counts.items() if words and n)
    if (time := value_of(tags, TIME)) is not None:
        text += f"; half of them took at most {quantity(time, 's')}"
    parts = parts_of(tags)
    if whole := sum(parts.values()):
        shares = sorted(((seconds / whole, part) for part, seconds in parts.items() if seconds), reverse=True)
        text += f"; on the critical path {', '.join(f'{WORDS.get(p, p)} {percent(s)}' for s, p in shares)}"
    if lost := value_of(tags, ERRORS):
        text += f"; {number(lost)} {'try' if lost == 1 else 'tries'} of tool calls failed"
    if (hits := value_of(tags, HITS)) is not None:
        text += f"; the prefix cache had {percent(hits)} of the prompts' blocks"
    return text


def difference_sentence(groups: Mapping[str, Tags]) -> str:
    """Between the workload whose tasks took least on average and the one whose took most: how much, and which part.

    '' where fewer than two have tasks or they took equally long.
    """
    parts = {name: found for name, tags in groups.items() if (found := parts_of(tags))}
    if len(parts) < 2:
        return ""
    ranked = sorted(parts, key=lambda name: sum(parts[name].values()))
    low, high = parts[ranked[0]], parts[ranked[-1]]
    more = sum(high.values()) - sum(low.values())
    if more < ALIKE * sum(low.values()):
        return ""
    most = max(low, key=lambda p: high[p] - low[p])
    return (f"On average a task of {ranked[-1]} took {quantity(more, 's')} longer than one of {ranked[0]}, "
            f"{percent((high[most] - low[most]) / more)} of that in {WORDS.get(most, most)}.")
