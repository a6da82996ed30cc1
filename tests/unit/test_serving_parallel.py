"""Replicas on several hosts, without a network: who is in which, the bytes of a step, what an idle network takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.report.answer import sentences_of_spread, workload_sentence
from tests.unit.records_of import records_of
from tests.unit.serving_mistakes import refusal
from tests.unit.test_serving_metrics import SETUP, request
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec, ScaleSpec
from traffic.inference.gpu import Chunk, Roofline
from traffic.inference.parallel import Parallel, pairs_of
from traffic.inference.plan import Serving, serving_of
from traffic.inference.unloaded import predict
from traffic.inference.workers import ring_moves
from traffic.metrics.registry import compute
from traffic.workloads.specs import ServingSpec

HOSTS = [f"h{n}" for n in range(1, 9)]
BORDER = {"leaves": 2, "spines": 2, "hosts_per_leaf": 4, "border": {"hosts": 2, "rate": "10mbit"}}


def fabric(**keys: Any) -> Fabric:
    return expand(FabricSpec.model_validate({**BORDER, "host_rate": "10mbit", **keys}))


def plan(on: Fabric | None = None, **keys: Any) -> Serving:
    spec = ServingSpec.model_validate({
        "kind": "serving", "model": "llama3-70b", "gateway": "ext1", "clients": ["ext2"], "replicas": HOSTS, "rate": 5,
        "requests": 10, **keys})
    return serving_of(spec, on or fabric(), "chat", 1)


def spread(**keys: Any) -> Parallel:
    found = plan(**keys).parallel
    assert found is not None
    return found


def test_consecutive_hosts_are_a_replica_stage_by_stage() -> None:
    serving = plan(tensor=2, pipeline=2)
    assert serving.parallel is not None
    assert serving.parallel.stages == {"h1": (("h1", "h2"), ("h3", "h4")), "h5": (("h5", "h6"), ("h7", "h8"))}
    assert serving.replicas == ("h1", "h5")
    assert serving.workers == {"h1": ("h1", "h2", "h3", "h4"), "h5": ("h5", "h6", "h7", "h8")}
    assert set(serving.hosts) == {*HOSTS, "ext1", "ext2"}
    assert pairs_of(serving.parallel.stages["h1"]) == [
        ("h1", "h2"), ("h2", "h1"), ("h3", "h4"), ("h4", "h3"), ("h1", "h3"), ("h2", "h4"), ("h3", "h1")]


def test_replicas_of_one_host_have_no_workers() -> None:
    serving = plan(model="llama3-8b")
    assert serving.parallel is None
    assert predict(serving, fabric().spec.scale.scale) == {}
    assert serving.notes == {}


def test_a_layer_has_two_all_reduces_of_its_tokens_activations() -> None:
    each = spread(tensor=4, fuse=1)
    assert each.exchanges == 80
    assert each.reduce_size(16) == 2 * 16 * 8192 * 2        # fused, the two of a layer are one
    whole = spread(tensor=4)
    assert whole.exchanges == 1
    assert whole.reduce_size(16) == 80 * each.reduce_size(16)
    assert spread(tensor=4, fuse=20).exchanges == 4
    two = spread(tensor=2, pipeline=2, fuse=8)
    assert (two.exchanges, two.reduce_size(3)) == (5, 2 * 8 * 3 * 8192 * 2)


def test_stages_hand_over_the_activations_of_each_token() -> None:
    parallel = spread(pipeline=4)
    assert parallel.exchanges == 0
    assert parallel.hand_size(100) == 100 * 8192 * 2
    assert parallel.back_size(3) == 12
    assert parallel.part_size(100) == parallel.hand_size(100)
    assert spread(tensor=4).train_size(16) == 6 * spread(tensor=4).part_size(16)
    assert spread(tensor=4).part_size(16) == 80 * 2 * 16 * 8192 * 2 // 4


@given(st.integers(2, 8), st.integers(8, 100_000))
def test_a_ring_sends_to_its_right_neighbour_what_an_all_reduce_takes(workers: int, size: int) -> None:
    moves = ring_moves(workers, size)
    assert all(m.dst == (m.src + 1) % workers for m in moves)
    assert all(m.size > 0 for m in moves), "an empty one would never arrive"
    assert sum(m.size for m in moves) == 2 * (workers - 1) * size


@given(st.sampled_from([(4, 1), (2, 2), (1, 4), (8, 1)]), st.integers(1, 3000))
def test_what_moves_is_that_of_all_rings_and_hand_overs(shape: tuple[int, int], tokens: int) -> None:
    tensor, pipeline = shape
    parallel = spread(tensor=tensor, pipeline=pipeline)
    sent: Counter[tuple[str, str]] = Counter()
    for stage in parallel.stages["h1"]:
        for move in ring_moves(tensor, parallel.reduce_size(tokens)) if tensor > 1 else ():
            sent[stage[move.src], stage[move.dst]] += move.size * parallel.exchanges
    hands = tensor * (pipeline - 1) * parallel.hand_size(tokens)
    assert parallel.moved(tokens) == pytest.approx(sum(sent.values()) + hands)


def test_compute_and_memory_are_shared_by_all_workers() -> None:
    one, four = Roofline.of("llama3-70b", "h100", 1), plan(tensor=2, pipeline=2).roofline
    assert four.seconds([Chunk(1, 500)]) == pytest.approx(one.seconds([Chunk(1, 500)]) / 4), "of a stage"
    assert four.kv_capacity == 4 * 72_000_000_000 - one.weight_bytes


def test_scale_applies_to_what_workers_exchange() -> None:
    on = fabric(host_rate="100gbit", border={"hosts": 2, "rate": "100gbit"}, scale=ScaleSpec(rate=1e-4, size=1e-3))
    scaled = plan(on, tensor=4).parallel
    assert scaled is not None
    assert scaled.reduce == pytest.approx(spread(tensor=4).reduce / 1000)
    assert scaled.idle_seconds("h1", 100) == pytest.approx(
        spread(tensor=4).idle_seconds("h1", 100) / 1000, rel=1e-4), "10 Mbit/s either way"


def test_an_idle_ring_takes_what_its_busiest_port_takes() -> None:
    parallel = spread(tensor=4)
    out = 2 * 3 / 4 * parallel.reduce_size(64)              # and as much comes in, whose ACKs go out
    wire = out * (1514 + 66 / 2) / 1448
    assert parallel.idle_seconds("h1", 64) == pytest.approx(8 * wire / 10e6)
    four_to_one = fabric(oversubscription=4)
    across = plan(four_to_one, tensor=4, replicas=["h1", "h5", "h2", "h6", "h3", "h7", "h4", "h8"]).parallel
    inside = plan(four_to_one, tensor=4).parallel
    assert across is not None
    assert inside is not None
    ratio = across.idle_seconds("h1", 64) / inside.idle_seconds("h1", 64)
    assert ratio == pytest.approx(2, rel=0.05), "two hosts a leaf send through the uplinks of one"


def test_an_idle_pipeline_takes_the_activations_once_a_boundary() -> None:
    parallel = spread(pipeline=4)
    wire = 64 * 8192 * 2 * 1514 / 1448
    assert parallel.idle_seconds("h1", 64) == pytest.approx(3 * 8 * wire / 10e6)


def test_a_report_says_what_was_fused() -> None:
    assert plan(tensor=2, pipeline=2, fuse=8).notes == {
        "all-reduces": "the 160 of a step are sent as 10 with the same bytes: rates are right, the latency of 150 is "
                       "left out"}
    assert plan(pipeline=4).notes == {}


def test_a_request_alone_is_predicted_from_its_chunks_and_its_tokens() -> None:
    serving = plan(tensor=4, variation=0, input_tokens=1000, output_tokens=3, chunk=600)
    parallel, roofline = serving.parallel, serving.roofline
    assert parallel is not None
    exchange = {n: parallel.idle_seconds("h1", n) for n in (600, 400, 1)}
    prefill = roofline.seconds([Chunk(600, 0)]) + roofline.seconds([Chunk(400, 600)]) + exchange[600] + exchange[400]
    decode = [roofline.seconds([Chunk(1, n)]) + exchange[1] for n in (1000, 1001)]
    reported = predict(serving, fabric().spec.scale.scale)
    assert reported["ttft_prefill"].value == pytest.approx(prefill)
    assert reported["tpot"].value == pytest.approx(sum(decode) / 2)
    fabrics = exchange[600] + exchange[400] + 2 * exchange[1]
    assert reported["fabric_share"].value == pytest.approx(fabrics / (prefill + sum(decode)))


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "text"), [
    ("tensor: 3", "workloads.chat.tensor: expected a divisor of the model's 32 heads and 8 kv_heads; found 3"),
    ("tensor: 16", "workloads.chat.tensor: expected a divisor of the model's 32 heads and 8 kv_heads; found 16"),
    ("pipeline: 3", "workloads.chat.pipeline: expected a divisor of the model's 32 layers; found 3"),
    ("tensor: 2, fuse: 5", "workloads.chat.fuse: expected a divisor of the 32 layers of a stage; found 5"),
    ("tensor: 2, pipeline: 2, fuse: 32", "workloads.chat.fuse: expected a divisor of the 16 layers of a stage"),
    ("fuse: 4", "workloads.chat.fuse: expected tensor of 2 or more, whose all-reduces are fused; found 4 without"),
    ("tensor: 4", "workloads.chat.replicas: expected hosts by 4, tensor x pipeline of each replica; found 7"),
    ("tensor: 8, replicas: [h2, h3]", "expected hosts by 8, tensor x pipeline of each replica; found 2"),
    ("tensor: 2, replicas: [h2, h2]", "workloads.chat.replicas.1: expected each host once; found h2 again"),
    ("tensor: 2, replicas: [h2, h3], decode: [h4]",
     "workloads.chat.decode: expected replicas of one host each, without tensor and pipeline; found 2 hosts each"),
    ("tensor: 2, replicas: [h2, h3], agent: {hosts: [h4], tools: {web: {hosts: [h5]}}}",
     "workloads.chat.agent: expected replicas of one host each, without tensor and pipeline; found 2 hosts each"),
    ("pipeline: 2, replicas: [h2, h3], batch: 1", "workloads.chat.batch: expected 2 or more, one for each stage"),
    ("pipeline: 2, replicas: [h2, h3], gpu_cache: 1GB",
     "workloads.chat.gpu_cache: expected no prefix cache with pipeline; found pipeline: 2"),
    ("tensor: 2, replicas: [h2, h3], failures: [[h4, 1s]]", "expected a replica: h2, h3; found h4"),
])
def test_what_cannot_be_spread_is_reported_with_its_place(tmp_path: Path, keys: str, text: str) -> None:
    assert text in refusal(tmp_path, f"rate: 5, {keys}")


def test_a_context_has_to_fit_one_batch_of_a_pipeline() -> None:
    plan(pipeline=4, tensor=2, kv_memory="1GB", variation=0, input_tokens=700, output_tokens=60)
    with pytest.raises(Exception, match="at most 762 tokens, what one batch of a replica's KV memory holds"):
        plan(pipeline=4, tensor=2, kv_memory="1GB", variation=0, input_tokens=700, output_tokens=70)


# --- metrics --------------------------------------------------------------------------------------

Row = dict[str, Any]


def step(start: float, compute: float, exchanged: float, **more: Any) -> Row:
    waited = more.get("waited", 0.0)
    return {"kind": "serving-step", "workload": "chat", "phase": "main", "replica": "h1", "batch": 0, "tokens": 20,
            "decoding": 4, "start": start, "end": start + compute + exchanged + waited, "compute": compute,
            "fabric": exchanged, "waited": waited, "idle": 0.2, "part": 20_000, "train": 150_000, **more}


def found(*rows: Row) -> dict[str, float]:
    return {k.removeprefix("chat."): m.value for k, m in compute(records_of(*rows), fabric(), []).items()}


def test_the_fabrics_share_and_what_an_idle_network_would_take() -> None:
    of = found(step(0, 0.6, 0.4), step(1, 0.8, 0.2), step(2, 0.5, 0.3, decoding=0))
    assert of["replica_step"] == pytest.approx(1.0)
    assert of["fabric_share"] == pytest.approx(0.9 / 2.8)
    assert of["communication_slowdown"] == pytest.approx(0.9 / 0.6)
    assert of["itl_fabric"] == pytest.approx(0.3)
    assert "stage_wait" not in of


def test_a_pipeline_tells_how_long_steps_wait_for_a_stage() -> None:
    of = found(step(0, 0.6, 0.2, batch=1, waited=0.2), step(1, 0.6, 0.4))
    assert of["stage_wait"] == pytest.approx(0.1)
    assert of["fabric_share"] == pytest.approx(0.3)


def test_messages_below_ten_packets_have_no_share() -> None:
    assert not {"fabric_share", "itl_fabric"} & set(found(step(0, 0.6, 0.4, part=14_000)))
    of = found(step(0, 0.6, 0.4, part=14_000), step(1, 0.6, 0.4, decoding=0), step(2, 0.6, 0.4, decoding=0))
    assert "fabric_share" in of
    assert "itl_fabric" not in of


def test_what_workers_exchange_in_a_prefill_is_the_networks_part_of_ttft() -> None:
    rows = [request(0, prefill_fabric=0.1), request(1, prefill_fabric=0.1)]     # of a TTFT of 0.4, a prefill of 0.2
    of = {k.removeprefix("chat."): m.as_json() for k, m in compute(records_of(SETUP, *rows), fabric(), []).items()}
    assert of["ttft_exchange"]["value"] == pytest.approx(0.1)
    assert of["ttft_network_share"]["value"] == pytest.approx((0.04 + 0.1 + 0.08) / 0.4)
    assert ("on average network in 10 %, queue 20 %, prefill 25 %, first token out 20 %, exchange between workers 25 %"
            in workload_sentence("Serving", of, {}))


def test_what_an_idle_links_burst_would_shorten_is_not_compared() -> None:
    assert "communication_slowdown" not in found(step(0, 0.6, 0.4, train=144_000))


def test_the_answer_says_what_the_fabric_takes_and_who_loses_least_by_it() -> None:
    tags: dict[str, Row] = {
        "completed": {"value": 4}, "rejected": {"value": 0}, "fabric_share": {"value": 0.25},
        "communication_slowdown": {"value": 1.5},
        "replica_step": {"value": 1}, "tpot": {"value": 0.2, "title": "time per output token (median)"}}
    assert workload_sentence("Serving", tags, {}) == (
        "Serving: all 4 requests were answered; of a replica's steps the fabric took 25 %, 1.5 times what an idle "
        "network takes.")
    other: dict[str, Row] = {**tags, "tpot": {"value": 0.3, "title": "time per output token (median)"}}
    assert sentences_of_spread({"inside": tags, "across": other}) == [
        "By time per output token (median), inside did best and across worst, a factor of 1.5."]
    assert sentences_of_spread({"inside": tags, "alone": {"tpot": {"value": 9}}}) == []
