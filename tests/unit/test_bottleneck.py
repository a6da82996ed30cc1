"""The bottleneck link, from counters; the rank that came late; and how the answer tells them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from scenarios.report.causes import bottleneck_sentences, model_sentence, spread_sentences, straggler_sentence
from tests.unit.sampled import sampled
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from traffic.metrics import straggler
from traffic.metrics.bottleneck import metrics
from traffic.runtime.counters import Counters
from traffic.runtime.records import CollectiveRecord, StepRecord
from traffic.workloads.workload import Workload

FABRIC = expand(FabricSpec())
DIRECTIONS = tuple(d for k in FABRIC.links for d in k.directions)
RATE = 10e6
STEPS = [(0.0, 4.0), (6.0, 10.0)]


def samples(waiting: Mapping[str, float], achieved: Mapping[str, float] | None = None, outside: str = "") -> Counters:
    """20 samples a second for 10 s. waiting: share of each step that packets wait; outside: waits between the steps."""
    t = np.arange(0, 10, 0.05)
    sent, backlog = np.zeros((len(t), len(DIRECTIONS)), dtype=np.int64), np.zeros((len(t), len(DIRECTIONS)), np.int64)
    inside = np.array([any(a <= x <= b for a, b in STEPS) for x in t])
    for i, d in enumerate(DIRECTIONS):
        full = inside & (t % 4 < 4 * waiting.get(d, 0.0)) if d != outside else ~inside
        backlog[full, i] = 30_000
        rate = (achieved or {}).get(d, RATE)
        sent[:, i] = np.concatenate([[0], np.cumsum(np.where(full[:-1], rate / 8 * 0.05, rate / 80 * 0.05))])
    return sampled(DIRECTIONS, t, sent, backlog)


def where(found: Counters, fabric: Fabric = FABRIC) -> str:
    reported = {m.tag: m for m in metrics(found, STEPS, fabric)}
    return reported["bottleneck_link"].where if reported else ""


def test_the_link_whose_queue_was_never_empty_is_the_culprit() -> None:
    found = metrics(samples({"leaf1->spine2": 1.0, "h1->leaf1": 0.1}, {"leaf1->spine2": 1e6}), STEPS, FABRIC)
    reported = {m.tag: m for m in found}
    assert reported["bottleneck_link"].where == "leaf1->spine2"
    assert reported["bottleneck_link"].value == 1.0
    assert reported["bottleneck_link_rate"].value == pytest.approx(1e6, rel=0.02)


def test_the_same_numbers_at_another_link_name_the_other_link() -> None:
    assert where(samples({"spine1->leaf2": 0.9, "h1->leaf1": 0.1})) == "spine1->leaf2"
    assert where(samples({"h1->leaf1": 0.9, "spine1->leaf2": 0.1})) == "h1->leaf1"


def test_links_that_wait_alike_are_not_blamed_one_by_one() -> None:
    hosts = {f"{h.name}->{h.leaf}": 0.9 for h in FABRIC.hosts}
    assert where(samples(hosts)) == "hosts to leaves"


def test_links_that_nobody_uses_are_no_peers_to_compare_with() -> None:
    """Four of eight hosts send, all alike: the four that are silent do not make one of them stand out."""
    hosts = {f"{h.name}->{h.leaf}": 0.9 for h in FABRIC.hosts[::2]}
    silent = {f"{h.name}->{h.leaf}": 1e5 for h in FABRIC.hosts[1::2]}
    assert where(samples(hosts, silent)) == "hosts to leaves"


def test_of_links_that_wait_alike_the_one_that_gets_less_through_is_blamed() -> None:
    hosts = {f"{h.name}->{h.leaf}": 0.9 for h in FABRIC.hosts}
    found = metrics(samples(hosts, {"h3->leaf1": 5e6}), STEPS, FABRIC)
    assert {m.tag: m.where for m in found}["bottleneck_link"] == "h3->leaf1"
    assert {m.tag: m.value for m in found}["peer_link_rate"] == pytest.approx(RATE, rel=0.02)


def test_what_waits_outside_of_the_steps_paces_nothing() -> None:
    assert where(samples({}, outside="leaf1->spine1")) == ""
    assert where(samples({"leaf1->spine2": 0.5}, outside="leaf1->spine1")) == "leaf1->spine2"


def test_where_hardly_anything_waits_nothing_paces() -> None:
    assert where(samples({"leaf1->spine2": 0.2})) == ""
    assert metrics(samples({"leaf1->spine2": 1.0}), [(20.0, 30.0)], FABRIC) == []


def _joins(*starts: float) -> CollectiveRecord:
    return CollectiveRecord(
        workload="w", phase="main", iteration=0, op="c", collective="all-reduce", algorithm="ring",
        ranks=tuple(range(len(starts))), bytes=8, start=min(starts), end=10.0, rank_start=starts,
        rank_end=(10.0,) * len(starts))


def test_the_rank_that_joins_late_is_named_with_the_time_that_it_cost() -> None:
    workload = Workload(name="w", hosts=("h1", "h5", "h2"), ops=())
    step = StepRecord(workload="w", phase="main", iteration=0, start=0.0, end=10.0, ranks=())
    (found,) = straggler.metrics([step], [_joins(1.0, 1.0, 3.0), _joins(5.0, 5.0, 8.0)], workload)
    assert found.where == "rank 2 on h2"
    assert found.value == pytest.approx(0.5)
    (other,) = straggler.metrics([step], [_joins(3.0, 1.0, 1.0)], workload)
    assert other.where == "rank 0 on h1"
    assert straggler.metrics([step], [], workload) == []


def _metric(value: float, where: str = "") -> dict[str, object]:
    return {"value": value, "where": where}


def test_the_answer_names_the_link_and_its_peers() -> None:
    found = {"fabric.broken.bottleneck_link": _metric(0.98, "leaf1->spine2"),
             "fabric.broken.bottleneck_link_rate": _metric(1.06e6, "leaf1->spine2"),
             "fabric.broken.peer_link_rate": _metric(10.4e6, "leaves to spines")}
    assert list(bottleneck_sentences(found, ["healthy", "broken"])) == [
        "In phase broken, leaf1->spine2 was the bottleneck link: packets waited for it 98 % of the time, while it "
        "carried 1.06 Mbit/s, and its peer links from leaves to spines 10.4 Mbit/s."]
    found["fabric.broken.bottleneck_link_rate"] = _metric(10.4e6, "leaf1->spine2")
    assert "were as fast, but waited for less" in next(bottleneck_sentences(found, ["broken"]))
    alike = {"fabric.bottleneck_link": _metric(0.9, "hosts to leaves")}
    assert list(bottleneck_sentences(alike, [])) == [
        "The links from hosts to leaves were the bottleneck together: packets waited there up to 90 % of "
        "the time."]


def test_the_answer_names_a_late_rank_only_where_it_mattered() -> None:
    late = straggler_sentence({"straggler_lateness": _metric(0.4, "rank 3 on h4")})
    assert late.startswith("Rank 3 on h4 was the straggler")
    assert "40 %" in late
    assert straggler_sentence({"straggler_lateness": _metric(0.01, "rank 3 on h4")}) == ""


def test_the_spread_over_uplinks_is_reported_where_phases_differ_in_it() -> None:
    differ = {"fabric.jfi": _metric(0.9), "fabric.one.jfi": _metric(0.79), "fabric.many.jfi": _metric(0.98)}
    assert list(spread_sentences(differ, ["one", "many"])) == [
        "Jain's fairness over the links between leaves and spines was 0.79 in phase one, 0.98 in phase many "
        "(1 is even)."]
    assert list(spread_sentences({**differ, "fabric.many.jfi": _metric(0.795)}, ["one", "many"])) == []


def test_the_model_is_held_against_what_was_measured() -> None:
    text = model_sentence("The ring", {"step_time": _metric(2.2)}, {"step_time_on_paths": _metric(2.0)})
    assert text == "The ring took 1.1 times the 2 s for a step that max-min fair shares on its paths predict."
    assert model_sentence("The ring", {"step_time": _metric(2.2)}, {}) == ""
