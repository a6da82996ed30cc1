"""The answer in a few sentences, computed: other measurements give other sentences.

Pure functions of metrics, predictions, ledger and loads. Nothing here knows what a scenario hoped for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scenarios.report import tenants
from scenarios.report.causes import (
    bottleneck_sentences,
    model_sentence,
    spread_sentences,
    straggler_sentence,
    tail_sentence,
)
from scenarios.report.data import RunData
from scenarios.report.measured import Json, Tags, number_of, value_of
from scenarios.report.series import Load
from scenarios.report.sharing import ALIKE, sharing_sentences
from scenarios.report.tasks import difference_sentence, tasks_text
from scenarios.report.text import number, percent, plural, quantity
from traffic.metrics import collective, packets, roce, steps
from traffic.metrics.metric import Definition
from traffic.metrics.serving import inference, requests, spanning, tasks
from traffic.workloads.kinds.registry import kind_of

Order = Sequence[tuple[Definition, bool]]       # metrics, most telling first; whether more of it is better
SHORT_OF_LIMIT = 0.9            # of the ring limit (docs/reference/methods.md: training); below it, "only"
# what workloads are compared by, the first that two of them share
COMPARED = ((collective.BUSBW, True), (steps.STEP_TIME, False), (steps.JCT, False), (tasks.TIME, False),
            (inference.TTFT, False), (requests.E2EL, False), (roce.GOODPUT, True), (packets.LOSS, False))
GOODPUT = ((inference.GOODPUT, True),)      # serving workloads are compared by it as well
SPREAD = ((inference.TPOT, False),)         # and those whose replicas are several hosts by this
LOST = ((inference.REJECTED, "rejected"), (inference.TIMED_OUT, "timed out"), (inference.FAILED, "failed"))
PART_WORDS = ((inference.IN, "network in"), (inference.FETCH, "KV fetch"), (inference.QUEUE, "queue"),
              (inference.PREFILL, "prefill"), (inference.OUT, "first token out"))
TAIL_WORDS = ((inference.TAIL_IN, "the network in"), (inference.TAIL_FETCH, "the KV fetch"),
              (inference.TAIL_QUEUE, "the queue"), (inference.TAIL_PREFILL, "prefill"),
              (inference.TAIL_OUT, "the way out"))

MEANING = {         # of a verdict
    "VALID": "the emulator kept up and every packet is accounted for",
    "SUSPECT": "the emulator, not the network, may have shaped these numbers",
    "INVALID": "the emulator did not keep up or packets are unaccounted for",
    None: "the run ended before a verdict could be given",
}


def banner(data: RunData) -> list[str]:
    """Why the numbers of this run must not be used; nothing if they may be."""
    lines = []
    if data.meta.status == "running":
        lines.append("This run has no recorded end: it is still going, or it was killed. "
                     "The results below are partial.")
    elif data.meta.status != "complete":
        why = f": {data.meta.error}" if data.meta.error else ""
        lines.append(f"This run {'was interrupted' if data.meta.status == 'interrupted' else 'failed'}{why}. "
                     "The results below are partial.")
    if data.level != "VALID":
        lines.append(f"{data.level or 'No verdict'}: {MEANING.get(data.level, '')}.")
    return lines


def sentences(data: RunData) -> list[str]:
    """What was found, one sentence a finding, most important first; says so if nothing was measured."""
    groups = grouped(data)
    same = len({name.split(".")[0] for name in groups}) == 1    # phases of one workload: what it felt is its time
    order = sorted(COMPARED, key=lambda c: c[0] is not steps.STEP_TIME) if same else COMPARED
    all_tags = {name: tags for name, (_, tags, _) in groups.items()}
    found = sharing_sentences({p.name: [(_subject(data, name), all_tags[key]) for name in p.run
                                        if (key := f"{name}.{p.name}") in all_tags] for p in data.scenario.phases})
    found += [s] if (s := difference_sentence(all_tags)) else []
    # a workload that ran alone in one phase and beside others in another has been compared with itself by now
    between = {} if found and of_one_workload(all_tags, order) else all_tags
    found += [*compared(between, order), *compared(all_tags, GOODPUT), *sentences_of_spread(all_tags)]
    for subject, tags, predicted in groups.values():
        found += [s for s in (workload_sentence(subject, tags, predicted), model_sentence(subject, tags, predicted),
                              straggler_sentence(tags), tail_sentence(subject, tags)) if s]
    if not found:
        found.append("No metric was measured, so the question stays open.")
    phases = [p.name for p in data.scenario.phases]
    found += [*spread_sentences(data.metrics, phases), *bottleneck_sentences(data.metrics, phases)]
    return [*tenants.sentences(data), *found, *loss_sentences(data.ledger, data.loads)]


def grouped(data: RunData) -> dict[str, tuple[str, Tags, Tags]]:
    """Words for it, metrics and predictions of every workload, or of each of its phases: 'ring', 'ring.alone'."""
    found: dict[str, tuple[str, Tags, Tags]] = {}
    for name in data.scenario.workloads:
        predicted = of_group(data.predictions, name)
        of_phases = {f"{name}.{p.name}": f" in phase {p.name}" for p in data.scenario.phases}
        several = any(of_group(data.metrics, prefix) for prefix in of_phases)   # the plain name is the first of them
        for prefix, where in (of_phases if several else {name: ""}).items():
            tags = of_group(data.metrics, prefix)
            if tags:
                found[prefix] = _subject(data, name) + where, tags, predicted | of_group(data.predictions, prefix)
    return found


def of_group(metrics: Mapping[str, Json], prefix: str) -> dict[str, Json]:
    """Metrics 'ring.busbw' of the prefix 'ring' by their tags; those of a longer prefix are not among them."""
    return {rest: m for key, m in metrics.items()
            if key.startswith(f"{prefix}.") and "." not in (rest := key.removeprefix(f"{prefix}."))}


def workload_sentence(subject: str, tags: Tags, predicted: Tags) -> str:
    """How one workload did, by the first of its headline metrics; '' if it has no metric with a value."""
    if (busbw := value_of(tags, collective.BUSBW)) is not None:
        return f"{subject} {_bandwidth(busbw, tags, predicted)}."
    if inference.REJECTED.tag in tags or requests.COMPLETED.tag in tags:
        return f"{subject}: {_answered(tags, predicted)}."
    for definition, words in ((steps.STEP_TIME, "a step"), (steps.JCT, "to complete")):
        if (seconds := value_of(tags, definition)) is not None:
            return f"{subject} took {quantity(seconds, 's')} {words}{_times_predicted(seconds, predicted, definition)}."
    if (loss := value_of(tags, packets.LOSS)) is not None:
        return f"{subject} {_packets(loss, tags)}."
    shown = next((m for m in tags.values() if number_of(m) is not None), None)
    if shown is None:
        return ""
    value = quantity(shown["value"], str(shown.get("unit") or ""))
    return f"{subject}: {shown.get('title') or shown.get('tag')} {value}."


def _bandwidth(busbw: float, tags: Tags, predicted: Tags) -> str:
    """Against the ring limit where the metrics have it, else against the prediction."""
    share, limit = value_of(tags, collective.SHARE), value_of(predicted, collective.BUSBW)
    words = "of the ring limit"
    if share is None and limit:
        share, words = busbw / limit, f"of the predicted {quantity(limit, 'bit/s')}"
    only = "only " if share is not None and share < SHORT_OF_LIMIT else ""
    against = f", {percent(share)} {words}" if share is not None else ""
    return f"reached {only}{quantity(busbw, 'bit/s')} of bus bandwidth{against}"


def _answered(tags: Tags, predicted: Tags) -> str:
    if tasks.DONE.tag in tags:
        return tasks_text(tags)
    return _serving(tags, predicted) if inference.REJECTED.tag in tags else _requests(tags, predicted)


def _requests(tags: Tags, predicted: Tags) -> str:
    answered = value_of(tags, requests.COMPLETED) or 0
    lost = (value_of(tags, requests.TIMED_OUT) or 0) + (value_of(tags, requests.FAILED) or 0)
    text = f"{'all' if not lost else number(answered) + ' of'} {plural(answered + lost, 'request')} were answered"
    e2el = value_of(tags, requests.E2EL)
    if e2el is not None:
        text += f", half of them within {quantity(e2el, 's')}{_times_predicted(e2el, predicted, requests.E2EL)}"
    return text


def _serving(tags: Tags, predicted: Tags) -> str:
    """What became of the requests, TTFT and what it was made of, and the SLOs."""
    completed = value_of(tags, inference.COMPLETED) or 0
    lost = {words: n for definition, words in LOST if (n := value_of(tags, definition) or 0)}
    total = completed + sum(lost.values())
    text = f"{'all' if not lost else number(completed) + ' of'} {plural(total, 'request')} were answered"
    text += "".join(f", {number(n)} {words}" for words, n in lost.items())
    if (ttft := value_of(tags, inference.TTFT)) is not None:
        text += f"; half of the first tokens came within {quantity(ttft, 's')}"
        parts = _parts_of_ttft(tags)
        if parts and sum(parts.values()):
            text += f" (on average {', '.join(f'{w} {percent(v / sum(parts.values()))}' for w, v in parts.items())})"
    tail = {words: v for definition, words in TAIL_WORDS if (v := value_of(tags, definition)) is not None}
    if tail and (slow := value_of(tags, inference.TAIL)) is not None:
        worst = max(tail, key=lambda words: tail[words])
        text += f"; the slowest tenth took {quantity(slow, 's')}, {percent(tail[worst])} of the excess in {worst}"
    text += _exchange(tags)
    if (hits := value_of(tags, inference.HITS)) is not None:
        text += f"; the prefix cache had {percent(hits)} of the prompts' blocks"
    text += _kv(tags, predicted)
    if (met := value_of(tags, inference.MET)) is not None:
        text += f"; {percent(met)} of the requests met every SLO"
    return text


def _kv(tags: Tags, predicted: Tags) -> str:
    """What a KV cache that goes to a decoder adds to the gap after the first token; '' where none goes."""
    wait = value_of(tags, inference.KV_WAIT)
    if wait is None:
        return ""
    return (f"; half of the KV caches reached their decoder within {quantity(wait, 's')} after the first token"
            f"{_times_predicted(wait, predicted, inference.KV_WAIT)}")


def _parts_of_ttft(tags: Tags) -> dict[str, float]:
    """Words -> seconds; of prefill, what workers exchange is distinguished."""
    parts = {words: v for definition, words in PART_WORDS if (v := value_of(tags, definition)) is not None}
    exchange = value_of(tags, inference.EXCHANGE)
    if exchange is None or "prefill" not in parts:
        return parts
    return {**parts, "prefill": parts["prefill"] - exchange, "exchange between workers": exchange}


def _exchange(tags: Tags) -> str:
    """What the workers of replicas on several hosts exchange."""
    share, slowdown = value_of(tags, spanning.SHARE), value_of(tags, spanning.SLOWDOWN)
    if share is None:
        return ""
    against = f", {number(slowdown)} times what an idle network takes" if slowdown is not None else ""
    return f"; of a replica's steps the fabric took {percent(share)}{against}"


def sentences_of_spread(groups: Mapping[str, Tags]) -> list[str]:
    """Of workloads whose replicas are several hosts: which of them makes tokens fastest."""
    return compared({name: tags for name, tags in groups.items() if spanning.STEP.tag in tags}, SPREAD)


def _times_predicted(value: float, predicted: Tags, definition: Definition) -> str:
    expected = value_of(predicted, definition)
    return f", {number(value / expected)} times the predicted {quantity(expected, 's')}" if expected else ""


def _packets(loss: float, tags: Tags) -> str:
    text = f"lost {percent(loss / 1e6)} of their packets" if loss else "lost no packet"
    goodput, again = value_of(tags, roce.GOODPUT), value_of(tags, roce.RETRANSMITTED)
    if goodput is not None:
        text = f"delivered {quantity(goodput, 'bit/s')} of payload and {text}"
    if again:
        text += f", so {percent(again)} of what they sent was retransmitted"
    if again is None and (useless := value_of(tags, roce.DISCARDED)):        # unreliable: nothing is sent again
        text += f", so {percent(useless)} of what arrived belonged to incomplete or reordered messages"
    median, longest = value_of(tags, packets.LATENCY), value_of(tags, packets.LATENCY_MAX)
    if median is None:
        return text
    text += f"; half of those that arrived took at most {quantity(median, 's')}"
    return text + (f", all at most {quantity(longest, 's')}" if longest is not None else "")


def of_one_workload(groups: Mapping[str, Tags], order: Order = COMPARED) -> bool:
    """Whether `compared` would hold one workload's phases against each other, and nothing else."""
    for definition, _ in order:
        names = [name for name, tags in groups.items() if value_of(tags, definition)]
        if len(names) > 1:
            return len({name.split(".")[0] for name in names}) == 1
    return False


def compared(groups: Mapping[str, Tags], order: Order = COMPARED) -> list[str]:
    """For the first headline that several workloads share: which did best and which worst, and by how much."""
    for definition, more_is_better in order:
        tag = definition.tag
        values = {name: v for name, tags in groups.items() if (v := value_of(tags, definition)) is not None and v > 0}
        if len(values) < 2 or len({groups[name][tag].get("title") for name in values}) > 1:
            continue    # of another title it is another metric, as the bus bandwidth of an uneven all-to-all is
        ranked = sorted(values, key=lambda name: values[name], reverse=more_is_better)
        low, high = sorted((values[ranked[0]], values[ranked[-1]]))
        title = groups[ranked[0]][tag].get("title") or tag
        if high / low < ALIKE:
            return [f"{', '.join(ranked)} do not differ in {title}."]
        return [f"By {title}, {ranked[0]} did best and {ranked[-1]} worst, a factor of {number(high / low)}."]
    return []


def loss_sentences(ledger: Json | None, loads: Sequence[Load]) -> list[str]:
    """Where packets were lost, and which link was the busiest."""
    found = [queue_sentence(ledger, loads)]
    if ledger:
        found += [_lost(ledger, "link_losses", "lost on links as their spec says"),
                  _lost(ledger, "policy_drops", "dropped by policy"),
                  _lost(ledger, "fault_losses", "lost in declared faults"),
                  _lost(ledger, "emulator_drops", "lost by the emulator itself"),
                  _lost(ledger, "unexplained", "without an explanation: packet accounting does not balance")]
    return [s for s in found if s]


def queue_sentence(ledger: Json | None, loads: Sequence[Load]) -> str:
    """Drops by queue if there were any, else the busiest queue, which dropped none. Unknown is not none."""
    busiest = f"{loads[0].direction} ({percent(loads[0].mean)} of its rate on average)" if loads else ""
    if ledger is None:
        return f"The busiest link was {busiest}; losses were not counted." if busiest else "Losses were not counted."
    drops = _named(ledger, "queue_drops")
    if not drops:
        return f"No queue dropped a packet; the busiest link was {busiest}." if busiest \
            else "No queue dropped a packet."
    total, worst = sum(drops.values()), max(drops, key=lambda q: drops[q])
    share = f", {percent(total / ledger['sent'])} of all that hosts sent, probes included" if ledger.get("sent") else ""
    if len(drops) == 1:
        return f"One queue, {worst}, dropped {plural(total, 'packet')}{share}; no other queue dropped any."
    return (f"{len(drops)} queues dropped {plural(total, 'packet')}{share}; "
            f"most of them, {number(drops[worst])}, at {worst}.")


def _named(ledger: Json, cause: str) -> dict[str, int]:
    return {place: n for place, n in (ledger.get(cause) or {}).items() if n}


def _lost(ledger: Json, cause: str, words: str) -> str:
    """'4 packets dropped by policy (leaf1 unknown-destination 4).' At most three places are named."""
    places = _named(ledger, cause)
    if not places:
        return ""
    worst = sorted(places, key=lambda p: -abs(places[p]))
    listed = ", ".join(f"{p} {number(places[p])}" for p in worst[:3]) + (", ..." if len(worst) > 3 else "")
    return f"{plural(sum(places.values()), 'packet')} {words} ({listed})."


def _subject(data: RunData, name: str) -> str:
    """'The ring all-reduce', with its name where there are several workloads."""
    spec = data.scenario.workloads[name]
    what = kind_of(spec).subject(spec)
    return what if len(data.scenario.workloads) == 1 else f"{what} ({name})"
