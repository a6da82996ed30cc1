"""The answer follows from the numbers: inverted numbers give the inverted sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scenarios.report.answer import compared, queue_sentence, sentences, workload_sentence
from scenarios.report.data import load
from scenarios.report.series import Load
from scenarios.report.sharing import sharing_sentences
from tests.unit import run_factory
from traffic.metrics import interference

LOADS = [Load("leaf1->h3", 10e6, 60e3, 0.93, 0.99, 0, 1e4), Load("h1->leaf1", 10e6, 60e3, 0.4, 0.6, 0, 1e3)]


def _tags(**values: float) -> dict[str, Any]:
    return {tag: {"value": value, "unit": "bit/s" if tag == "busbw" else "s", "title": tag, "tag": tag}
            for tag, value in values.items()}


def test_a_ring_is_reported_by_its_bus_bandwidth_and_the_ring_limit() -> None:
    assert workload_sentence("The ring all-reduce", _tags(busbw=9.207e6, busbw_of_limit=0.98), {}) == \
        "The ring all-reduce reached 9.21 Mbit/s of bus bandwidth, 98 % of the ring limit."


def test_a_ring_far_below_its_limit_reached_only_that() -> None:
    assert "reached only 4.1 Mbit/s" in workload_sentence("The ring", _tags(busbw=4.1e6, busbw_of_limit=0.436), {})


def test_without_a_ring_limit_the_prediction_stands_in() -> None:
    text = workload_sentence("It", _tags(busbw=8e6), _tags(busbw=1e7))
    assert text == "It reached only 8 Mbit/s of bus bandwidth, 80 % of the predicted 10 Mbit/s."


def test_steps_are_reported_against_their_prediction() -> None:
    assert workload_sentence("The step", _tags(step_time=3.0), _tags(step_time=2.0)) == \
        "The step took 3 s a step, 1.5 times the predicted 2 s."


@pytest.mark.parametrize(("timeouts", "begin"), [(0, "R: all 397 requests were"), (3, "R: 397 of 400 requests were")])
def test_requests_without_an_answer_are_reported(timeouts: int, begin: str) -> None:
    text = workload_sentence("R", _tags(completed=397, timed_out=timeouts, failed=0, e2el=0.235), {})
    assert text.startswith(begin)
    assert text.endswith("answered, half of them within 235 ms.")


@pytest.mark.parametrize(("ppm", "reported"), [
    (0, "lost no packet"), (64_000, "lost 6.4 % of their packets"), (42, "lost 0.0042 % of their packets")])
def test_streams_are_reported_by_their_loss(ppm: float, reported: str) -> None:
    assert reported in workload_sentence("The UDP streams", _tags(loss=ppm, latency=0.002, latency_max=0.012), {})


def test_inverted_metrics_give_the_inverted_comparison() -> None:
    forth = compared({"alone": _tags(busbw=9e6), "shared": _tags(busbw=3e6)})
    back = compared({"alone": _tags(busbw=3e6), "shared": _tags(busbw=9e6)})
    assert forth == ["By busbw, alone did best and shared worst, a factor of 3."]
    assert back == ["By busbw, shared did best and alone worst, a factor of 3."]


def test_the_shorter_time_is_the_better_one() -> None:
    assert compared({"a": _tags(jct=4.0), "b": _tags(jct=2.0)}) == ["By jct, b did best and a worst, a factor of 2."]


def test_equal_numbers_make_no_winner() -> None:
    assert compared({"a": _tags(jct=2.0), "b": _tags(jct=2.001)}) == ["a, b do not differ in jct."]


@pytest.mark.parametrize(("tag", "factor", "cost"), [
    ("interference", 1.8, "took 1.8 times as long"), ("interference", 1.001, "took as long"),
    ("interference", 0.9, "took 0.9 times as long"),
    ("ttft_interference", 2.6, "took 2.6 times as long to its first tokens (median)"),
    ("ttft_interference", 1.0, "took as long to its first tokens (median)"),
    ("e2el_interference", 1.12, "took 1.12 times as long to be answered (median)")])
def test_what_sharing_costs_is_a_factor_of_the_time_alone(tag: str, factor: float, cost: str) -> None:
    assert sharing_sentences({"alone": [("It", _tags(jct=1.0))], "beside": [("It", _tags(**{tag: factor}))]}) == [
        f"It in phase beside {cost} as it did alone."]


def test_what_two_workloads_cost_each_other_is_one_sentence_with_both_sides() -> None:
    found = sharing_sentences({"together": [("The training step (dlrm)", _tags(interference=1.02)),
                                            ("The requests (chat)", _tags(e2el_interference=1.12))]})
    assert found == ["Side by side in phase together, the training step (dlrm) took 1.02 times as long and the "
                     "requests (chat) took 1.12 times as long to be answered (median) as alone."]


def test_serving_beside_others_is_held_against_serving_alone_by_its_median_first_token() -> None:
    found = interference.metrics("ttft", {"alone": 0.08, "beside": 0.2}, {"alone": True, "beside": False})
    assert {phase: (m.tag, m.value) for phase, m in found.items()} == {
        "beside": ("ttft_interference", pytest.approx(2.5))}


def test_the_busiest_queue_is_named_when_none_dropped() -> None:
    assert queue_sentence(run_factory.ledger(), LOADS) == \
        "No queue dropped a packet; the busiest link was leaf1->h3 (93 % of its rate on average)."


def test_the_queue_that_dropped_most_is_named() -> None:
    text = queue_sentence(run_factory.ledger(900, {"leaf1->h3": 20, "leaf2->h4": 80}), LOADS)
    assert text == ("2 queues dropped 100 packets, 10 % of all that hosts sent, probes included; "
                    "most of them, 80, at leaf2->h4.")


def test_losses_that_were_not_counted_are_not_reported_as_none() -> None:
    assert "not counted" in queue_sentence(None, LOADS)
    assert "not counted" in queue_sentence(None, [])


def test_a_run_without_metrics_leaves_the_question_open(tmp_path: Path) -> None:
    assert sentences(load(run_factory.make(tmp_path)))[0] == "No metric was measured, so the question stays open."


def test_a_whole_run_is_answered_from_its_own_numbers(tmp_path: Path) -> None:
    good = " ".join(sentences(load(run_factory.ring(tmp_path))))
    bad = " ".join(sentences(load(run_factory.ring(tmp_path, queues={"leaf1->h3": 655}, busbw=3.1e6))))
    assert "reached 9.21 Mbit/s of bus bandwidth, 98 % of the ring limit" in good
    assert "No queue dropped a packet" in good
    assert "reached only 3.1 Mbit/s of bus bandwidth, 33 % of the ring limit" in bad
    assert "One queue, leaf1->h3, dropped 655 packets" in bad


def test_phases_of_one_workload_are_reported_and_compared_apart(tmp_path: Path) -> None:
    spec = run_factory.scenario().model_dump(mode="json")
    spec["phases"] = [{"name": "alone", "run": ["ring"]}, {"name": "beside", "run": ["ring"]}]
    metrics = run_factory.metrics(9e6, "ring.alone") | run_factory.metrics(4.5e6, "ring.beside")
    metrics["ring.beside.step_time"]["value"] = 3 * metrics["ring.alone.step_time"]["value"]
    run = run_factory.make(tmp_path, type(run_factory.scenario()).model_validate(spec), metrics=metrics)
    found = sentences(load(run))
    assert found[0] == "By step time, ring.alone did best and ring.beside worst, a factor of 3."
    assert found[1].startswith("The ring all-reduce in phase alone reached 9 Mbit/s")


def test_what_neither_network_nor_fault_lost_is_reported(tmp_path: Path) -> None:
    ledger = run_factory.ledger(policy={"leaf1 unknown-destination": 4}, unexplained={"leaf2": 17})
    text = " ".join(sentences(load(run_factory.make(tmp_path, ledger=ledger))))
    assert "4 packets dropped by policy (leaf1 unknown-destination 4)." in text
    assert "17 packets without an explanation: packet accounting does not balance (leaf2 17)." in text


def test_what_sharing_cost_leads_the_answer(tmp_path: Path) -> None:
    spec = run_factory.scenario().model_dump(mode="json")
    spec["phases"] = [{"name": "alone", "run": ["ring"]}, {"name": "beside", "run": ["ring"]}]
    metrics = run_factory.metrics(9e6, "ring.alone") | run_factory.metrics(4.5e6, "ring.beside")
    metrics["ring.beside.interference"] = {"value": 1.9, "unit": "", "tag": "interference", "title": "interference"}
    run = run_factory.make(tmp_path, type(run_factory.scenario()).model_validate(spec), metrics=metrics)
    assert sentences(load(run))[0] == "The ring all-reduce in phase beside took 1.9 times as long as it did alone."
