"""Serving's metrics against values worked out by hand; the keys that tools of vLLM read."""

from __future__ import annotations

from typing import Any

import pytest

from scenarios.report.answer import workload_sentence
from tests.unit.records_of import records_of
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.scale import Scale
from topologies.model.spec import FabricSpec
from traffic.inference.records import ServingRecord, ServingSetupRecord
from traffic.metrics.registry import compute
from traffic.metrics.serving.vllm import bench_serve
from traffic.runtime.reading import Records

Row = dict[str, Any]
SETUP: Row = {"kind": "serving-setup", "workload": "chat", "phase": "main", "routing": "random", "slo_ttft": 0.5,
              "slo_tpot": 0.05}
REPLICAS: list[Row] = [{"kind": "serving-replica", "workload": "chat", "phase": "main", "replica": name, "busy": busy,
                        "preemptions": lost} for name, busy, lost in (("h2", 2.0, 1), ("h3", 1.0, 2))]


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(FabricSpec())


def request(at: float, ttft: float = 0.4, tokens: int = 5, gap: float = 0.02, **more: Any) -> Row:
    """Answered: a tenth of TTFT in, a fifth queued, half computed, the rest out; one token a message."""
    times = [at + ttft + gap * k for k in range(tokens)]
    return {"kind": "serving", "workload": "chat", "phase": "main", "id": 0, "status": "ok", "scheduled": at,
            "sent": at + 0.001, "arrived": at + 0.1 * ttft, "admitted": at + 0.3 * ttft, "made": at + 0.8 * ttft,
            "first": times[0], "done": times[-1], "messages": [[t, 1] for t in times], "output_tokens": tokens,
            "wanted_tokens": tokens,
            "input_tokens": 100, "request_bytes": 20_000, "blocks": 4, "hit_gpu": 1, "hit_host": 1, "hit_tokens": 60,
            "order": 0, "kv_end": None, "prefill_fabric": 0.0, **more}


def lost(at: float, status: str) -> Row:
    return request(at, status=status, first=None, messages=[], output_tokens=0, order=-1, done=at + 1)


def served(rows: list[Row], scale: Scale) -> dict[str, float | int]:
    """What vLLM's `bench serve` would tell of these requests."""
    left = Records(records_of(SETUP, *rows))
    return bench_serve(left[ServingRecord], left[ServingSetupRecord][0], scale)


def found(fabric: Fabric, *requests: Row) -> dict[str, Any]:
    return {k.removeprefix("chat."): m for k, m in compute(records_of(SETUP, *REPLICAS, *requests), fabric, []).items()}


def test_latencies_count_from_when_a_request_was_due(fabric: Fabric) -> None:
    of = found(fabric, request(0), request(1, ttft=0.2), request(2, ttft=0.3, gap=0.04))
    assert of["ttft"].value == pytest.approx(0.3)
    assert of["e2el"].value == pytest.approx(0.46)      # 0.48, 0.28, 0.46
    assert of["tpot"].value == of["itl"].value == pytest.approx(0.02)
    assert of["arrival_lag"].value == pytest.approx(0.001)
    assert "ttft_p90" not in of


def test_the_parts_of_ttft_add_up_to_its_mean(fabric: Fabric) -> None:
    of = found(fabric, request(0), request(1, ttft=0.2))
    parts = [of[f"ttft_{part}"].value for part in ("in", "queue", "prefill", "out")]
    assert parts == pytest.approx([0.03, 0.06, 0.15, 0.06])
    assert sum(parts) == pytest.approx((0.4 + 0.2) / 2)
    assert of["ttft_network_share"].value == pytest.approx(0.3)


def test_prompts_below_ten_packets_have_no_network_share(fabric: Fabric) -> None:
    of = found(fabric, request(0, request_bytes=14_000), request(1, request_bytes=14_000))
    assert "ttft_network_share" not in of
    assert "ttft_in" in of


def test_the_tail_is_put_down_to_the_part_that_grew(fabric: Fabric) -> None:
    slow = [request(n, ttft=0.4) | {"made": n + 3.32, "first": n + 3.4, "messages": [[n + 3.4, 1], [n + 4, 4]],
                                    "done": n + 4.0, "admitted": n + 3.12} for n in range(10)]
    of = found(fabric, *slow, *(request(n) for n in range(90)))
    assert of["ttft_tail"].value == pytest.approx(3.4)
    tails = {part: of[f"tail_{part}"].value for part in ("in", "queue", "prefill", "out")}
    assert tails == pytest.approx({"in": 0, "queue": 1, "prefill": 0, "out": 0}, abs=1e-9)
    assert "ttft_tail" not in found(fabric, *(request(n) for n in range(99)))


def test_a_message_of_several_tokens_shares_its_gap_among_them(fabric: Fabric) -> None:
    of = found(fabric, request(0, messages=[[0.4, 1], [0.8, 4]]))
    assert of["itl"].value == pytest.approx(0.1)


def test_goodput_counts_what_met_every_slo_over_all_the_time(fabric: Fabric) -> None:
    of = found(fabric, request(0), request(1, ttft=0.6), request(2, gap=0.06), request(3, ttft=0.4, tokens=6),
               lost(3.5, "timeout"))
    assert of["slo_attainment"].value == pytest.approx(2 / 5)
    assert of["request_goodput"].value == pytest.approx(2 / 4.5)
    assert of["request_throughput"].value == pytest.approx(4 / 4.5)
    assert of["output_throughput"].value == pytest.approx(21 / 4.5)
    assert of["token_goodput"].value == pytest.approx(11 / 4.5)
    assert of["tokens_missed"].value == 5 + 5 + 5       # too late, too slow, and never come
    assert of["token_slo_attainment"].value == pytest.approx(11 / 26)
    assert of["gpu_busy"].value == pytest.approx(1.5 / 4.5)
    assert of["preemptions"].value == 3


def test_every_request_is_counted_by_how_it_ended(fabric: Fabric) -> None:
    rows = [request(0), *(lost(n, s) for n, s in enumerate(("rejected", "rejected", "timeout", "failed")))]
    of = found(fabric, *rows)
    assert [of[tag].value for tag in ("completed", "rejected", "timed_out", "failed")] == [1, 2, 1, 1]
    assert of["ttft"].samples == 1


def test_nothing_answered_has_no_latency_and_a_goodput_of_zero(fabric: Fabric) -> None:
    of = found(fabric, lost(0, "timeout"), lost(1, "rejected"))
    assert of["request_goodput"].value == of["slo_attainment"].value == 0
    assert not {"ttft", "itl", "e2el", "ttft_in"} & set(of)


def test_the_caches_share_is_of_the_prompts_that_were_looked_up(fabric: Fabric) -> None:
    of = found(fabric, request(0), request(1, hit_gpu=4, hit_host=0, blocks=4), request(2, order=-1))
    assert of["hit_rate"].value == pytest.approx(6 / 8)
    assert of["tokens_saved"].value == 120


def test_kv_transfers_have_a_time_and_a_rate(fabric: Fabric) -> None:
    of = found(fabric, request(0, kv_start=0.3, kv_end=0.5, kv_bytes=200_000), request(1))
    assert of["kv_transfer"].value == pytest.approx(0.2)
    assert of["kv_bandwidth"].value == pytest.approx(8e6)
    short = found(fabric, request(0, kv_start=0.3, kv_end=0.5, kv_bytes=144_000))
    assert short["kv_transfer"].value == pytest.approx(0.2)
    assert "kv_bandwidth" not in short, "of fewer than 100 packets a link's burst would show as rate"
    assert "kv_transfer" not in found(fabric, request(0))


def test_one_token_has_no_time_per_output_token_and_meets_that_slo(fabric: Fabric) -> None:
    of = found(fabric, request(0, tokens=1))
    assert "tpot" not in of
    assert "itl" not in of
    assert of["slo_attainment"].value == 1


def test_results_have_vllms_keys_in_real_milliseconds() -> None:
    rows = [request(0), request(1, ttft=0.2), lost(2, "failed")]
    of = served(rows, Scale(rate=1, size=2))      # two emulated seconds are a real one
    assert of["mean_ttft_ms"] == pytest.approx(149.5)         # from 1 ms after they were due
    assert of["median_e2el_ms"] == pytest.approx(189.5)
    assert of["std_ttft_ms"] == pytest.approx(50)
    assert [of["p99_itl_ms"], of["mean_tpot_ms"]] == pytest.approx([10, 10])
    assert (of["completed"], of["failed"], of["duration"]) == (2, 1, 1.5)
    assert of["request_goodput"] == pytest.approx(2 / 1.5)
    assert (of["total_input_tokens"], of["total_output_tokens"]) == (200, 10)
    nothing = served([lost(0, "failed")], Scale())
    assert nothing["request_goodput"] == 0
    assert "mean_ttft_ms" not in nothing


def test_vllms_itl_is_the_gap_between_messages_however_many_tokens_they_have() -> None:
    """As its client sees chunks of a stream: 0.4 s each, where a token took 0.1 s; TPOT is over the tokens."""
    of = served([request(0, messages=[[0.4, 1], [0.8, 4], [1.2, 4]], output_tokens=9, done=1.2)], Scale())
    assert (of["mean_itl_ms"], of["p99_itl_ms"]) == pytest.approx((400, 400))
    assert of["mean_tpot_ms"] == pytest.approx(100)


def test_vllms_latencies_begin_when_a_request_is_sent_and_its_goodput_with_them() -> None:
    """Due at 0 and sent at 0.3: TTFT is 0.4 s here and 0.7 s in the run's own metrics, which no SLO of 0.5 s allows."""
    late = request(0, ttft=0.7, sent=0.3)
    of = served([late], Scale())
    assert (of["median_ttft_ms"], of["median_e2el_ms"]) == pytest.approx((400, 480))
    assert of["request_goodput"] == pytest.approx(of["request_throughput"])


def test_the_answer_says_what_became_of_the_requests_and_what_ttft_was_made_of(fabric: Fabric) -> None:
    tags = {k: m.as_json() for k, m in found(fabric, request(0), request(1), lost(2, "rejected")).items()}
    assert workload_sentence("Serving", tags, {}) == (
        "Serving: 2 of 3 requests were answered, 1 rejected; half of the first tokens came within 400 ms (on average "
        "network in 10 %, queue 20 %, prefill 50 %, first token out 20 %); the prefix cache had 50 % of the prompts' "
        "blocks; 67 % of the requests met every SLO.")
