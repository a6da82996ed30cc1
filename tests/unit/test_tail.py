"""The link that held the slowest requests up, from made-up counters; and when nothing is said of links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from scenarios.report.causes import tail_sentence
from tests.unit.records_of import records_of
from tests.unit.sampled import sampled
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import BorderSpec, FabricSpec
from traffic.metrics.registry import compute
from traffic.metrics.serving.tail import directions
from traffic.runtime.counters import Counters

Row = dict[str, Any]
FABRIC = expand(FabricSpec(border=BorderSpec(hosts=1, rate="20mbit")))
DIRECTIONS = tuple(d for k in FABRIC.links for d in k.directions)
SETUP: Row = {"kind": "serving-setup", "workload": "chat", "phase": "main", "routing": "random", "slo_ttft": 0.5,
              "slo_tpot": 0.05, "gateway": "h1"}
TAIL_TAGS = {"tail_link", "tail_wait", "tail_only_path_share", "tail_drops"}


def request(number: int, replica: str = "h2", network: float = 0.1, prefill: float = 0.1, out: float = 0.01,
            **more: Any) -> Row:
    """One a second, from ext1; `network` seconds on the way in."""
    at = float(number)
    made = at + network + prefill
    return {"kind": "serving", "workload": "chat", "phase": "main", "id": number, "status": "ok", "client": "ext1",
            "replica": replica, "scheduled": at, "sent": at, "arrived": at + network, "fetched": None,
            "admitted": at + network, "made": made, "first": made + out, "done": made + out,
            "messages": [[made + out, 1]], "output_tokens": 1, "wanted_tokens": 1, "input_tokens": 10,
            "request_bytes": 10_000, "blocks": 0, "hit_gpu": 0, "hit_host": 0, "hit_store": 0, "hit_tokens": 0,
            "order": -1, "prefill_fabric": 0.0, "kv_end": None, **more}


def samples(waiting: Mapping[str, list[tuple[float, float]]] | None = None,
            drops: Mapping[str, list[float]] | None = None) -> Counters:
    """20 samples a second for 130 s. waiting: direction -> [from, to] with packets waiting; drops: when one is lost."""
    t = np.arange(0, 130, 0.05)
    backlog, lost = (np.zeros((len(t), len(DIRECTIONS)), dtype=np.int64) for _ in range(2))
    for d, spans in (waiting or {}).items():
        for start, end in spans:
            backlog[(t >= start) & (t <= end), DIRECTIONS.index(d)] = 20_000
    for d, times in (drops or {}).items():
        for when in times:
            lost[t >= when, DIRECTIONS.index(d)] += 1
    return sampled(DIRECTIONS, t, backlog=backlog, drops=lost)


def found(rows: list[Row], seen: Counters, fabric: Fabric = FABRIC) -> dict[str, Any]:
    reported = compute(records_of(SETUP, *rows), fabric, [], counters=seen)
    return {tag: m for key, m in reported.items() if (tag := key.removeprefix("chat.")) in TAIL_TAGS}


def slow_on_the_way(network: float = 1.0, **more: Any) -> list[Row]:
    """Every tenth of 100 to h5, on the other leaf, with a long way in; the others to h2."""
    return [request(n, "h5", network, **more) if n % 10 == 9 else request(n) for n in range(100)]


SLOW = [n for n in range(100) if n % 10 == 9]


def test_the_link_with_packets_waiting_while_the_slowest_were_on_their_way_is_named() -> None:
    seen = samples({"leaf2->h5": [(n, n + 0.8) for n in SLOW]}, {"leaf2->h5": [9.2, 9.3, 19.1, 55.0]})
    of = found(slow_on_the_way(), seen)
    assert {m.where for m in of.values()} == {"leaf2->h5"}
    own = 8 * 10_000 * 1514 / 1448 / FABRIC.link("leaf2->h5").rate
    assert of["tail_wait"].value == pytest.approx(0.8 - own, abs=0.03)
    assert of["tail_link"].value == pytest.approx((0.8 - own) / 0.9, abs=0.04), "they took 0.9 s longer, by nine tenths"
    assert of["tail_only_path_share"].value == 1
    assert of["tail_drops"].value == 3, "the one at 55 s met none of them"


def test_a_link_that_was_as_busy_for_all_requests_is_not_what_made_some_slow() -> None:
    seen = samples({"leaf1->h1": [(n, n + 0.09) for n in range(100)], "leaf2->h5": [(n, n + 0.8) for n in SLOW]})
    assert found(slow_on_the_way(), seen)["tail_link"].where == "leaf2->h5"


def test_nothing_is_said_of_links_where_the_replica_was_slow() -> None:
    rows = [request(n, prefill=2.0 if n in SLOW else 0.1) for n in range(100)]
    busy = samples({d: [(n + 0.15, n + 2.0) for n in SLOW] for d in DIRECTIONS}, {"leaf1->h2": [9.5]})
    assert found(rows, busy) == {}, "links were busy, but while the requests were computed"
    assert found(rows, samples()) == {}


def test_where_the_slowest_are_hardly_slower_there_is_no_tail_to_explain() -> None:
    rows = slow_on_the_way(network=0.12)        # of a TTFT of 0.21 s
    assert found(rows, samples({"leaf2->h5": [(float(n), n + 0.2) for n in SLOW]})) == {}


def test_a_prompt_that_is_long_itself_is_no_congestion() -> None:
    rate = FABRIC.link("h1-leaf1").rate
    size = round(0.5 * rate / 8 * 1448 / 1514)
    own = {d: [(float(n), n + 0.5) for n in SLOW] for d in ("h1->leaf1", "leaf2->h5")}
    assert found(slow_on_the_way(network=0.55, request_bytes=size), samples(own)) == {}


def test_one_of_several_spines_is_named_without_being_sure() -> None:
    seen = samples({"spine1->leaf2": [(n, n + 0.9) for n in SLOW]})
    of = found(slow_on_the_way(), seen)
    assert {m.where for m in of.values()} == {"spine1->leaf2"}
    assert of["tail_only_path_share"].value == 0
    one = expand(FabricSpec(spines=1, border=BorderSpec(hosts=1, rate="20mbit")))
    some, every = directions(one, "h1", "h5")
    assert "spine1->leaf2" in some == every
    assert directions(FABRIC, "h1", "h1") == (frozenset(), frozenset())


def test_drops_name_a_link_where_no_queue_was_long() -> None:
    of = found(slow_on_the_way(), samples(drops={"leaf2->h5": [9.1, 29.1], "leaf2->spine1": [39.1]}))
    assert {tag: (m.value, m.where) for tag, m in of.items()} == {
        "tail_only_path_share": (1, "leaf2->h5"), "tail_drops": (2, "leaf2->h5")}


def test_a_slow_fetch_is_put_down_to_the_stores_link() -> None:
    rows = [request(n, "h5", fetched=n + (1.1 if n in SLOW else 0.2)) | {
        "made": n + (1.2 if n in SLOW else 0.3), "first": n + (1.25 if n in SLOW else 0.35)} for n in range(100)]
    moves = [{"kind": "serving-store", "workload": "chat", "phase": "main", "what": "fetch", "request": n,
              "store": "h6", "replica": "h5", "start": n + 0.1, "end": n + (1.1 if n in SLOW else 0.2), "bytes": 10_000}
             for n in range(100)]
    of = found([*rows, *moves], samples({"h6->leaf2": [(n + 0.1, n + 1.05) for n in SLOW]}))
    assert of["tail_link"].where == "h6->leaf2"


def test_of_fewer_than_a_hundred_requests_no_link_is_reported() -> None:
    seen = samples({"leaf2->h5": [(n, n + 0.8) for n in SLOW]})
    assert found(slow_on_the_way()[:99], seen) == {}


def test_the_sentence_tells_what_is_counted_from_what_is_inferred() -> None:
    seen = samples({"leaf2->h5": [(n - 0.01, n + 0.81) for n in SLOW]})      # 0.8 s and half a sample's distance
    tags = {tag: m.as_json() for tag, m in found(slow_on_the_way(), seen).items()}
    assert tail_sentence("Serving", tags) == (
        "Serving: while the slowest tenth was on the network, packets waited at leaf2->h5 for 817 ms on average beyond "
        "what their own bytes need, 91 % of their extra time, and none were dropped there. This is counted; that "
        "it slowed them down is inferred: all of them had no other path.")
    only = {tag: m.as_json() for tag, m in found(slow_on_the_way(), samples(drops={"spine2->leaf2": [9.1]})).items()}
    assert tail_sentence("Serving", only) == (
        "Serving: spine2->leaf2 dropped 1 while the slowest tenth was on the network, and no queue was long. This is "
        "counted; that it slowed them down is inferred: 0 % of them had no other path.")
    assert tail_sentence("Serving", {}) == ""
