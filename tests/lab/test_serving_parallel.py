"""Replicas on several hosts over real sockets: the bytes of each exchange, an idle network's time, and death."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from tests.lab.engine_lab import EngineLab, engine_lab
from tests.lab.serving_lab import ServingRun, serve
from tests.recorded import records as typed_records
from traffic.inference.parallel import pairs_of
from traffic.inference.records import StepRecord
from traffic.inference.unloaded import predict
from traffic.inference.workers import ring_moves
from traffic.metrics.serving.spanning import metrics

pytestmark = pytest.mark.lab
WORKERS = ["h3", "h4", "h5", "h6"]
# 512 B of activations a token; all-reduces of a step: 8 kB a token
TINY = {"layers": 8, "hidden": 256, "ffn": 1024, "heads": 8, "kv_heads": 4, "vocab": 1000}
KEYS: dict[str, Any] = {"model": TINY, "gpu": {"flops": 2e9, "bandwidth": 1e9, "memory": 1e9}, "replicas": WORKERS,
                        "variation": 0, "bytes_per_input_token": 1, "coalesce": 4}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineLab]:
    with engine_lab(tmp_path_factory.mktemp("parallel"), hosts=6, rate="10mbit") as running:
        yield running


def steps_of(run: ServingRun) -> list[dict[str, Any]]:
    assert run.code == 0, run.events[-1]
    return run.of("serving-step")


def between_workers(run: ServingRun) -> Counter[tuple[str, str]]:
    """Bytes of each pair of workers, but for the one that warms its connection."""
    found = Counter({(c["src"], c["dst"]): c["bytes"] - 1 for c in run.of("connection") if c["dst"] != "h1"
                     and c["src"] not in {"h1", "h2"}})
    assert not any(c["reply_bytes"] for c in run.of("connection") if c["src"] in WORKERS)
    return found


@pytest.mark.parametrize(("tensor", "pipeline", "fuse"), [(4, 1, 2), (2, 2, 4), (1, 4, None)])
def test_workers_exchange_the_bytes_of_every_step(lab: EngineLab, tensor: int, pipeline: int, fuse: int | None) -> None:
    run = serve(lab, **KEYS, tensor=tensor, pipeline=pipeline, fuse=fuse, rate=20, requests=10, input_tokens=12,
                output_tokens=5)
    steps, parallel = steps_of(run), run.serving.parallel
    assert parallel is not None
    assert [r["status"] for r in run.requests] == ["ok"] * 10
    assert sum(s["tokens"] for s in steps) == 10 * (12 + 4), "each token of a prompt, and of an answer but the last"
    expected: Counter[tuple[str, str]] = Counter(dict.fromkeys(pairs_of(parallel.stages["h3"]), 0))
    for step in steps:
        for stage in parallel.stages["h3"]:
            for move in ring_moves(tensor, parallel.reduce_size(step["tokens"])) if tensor > 1 else ():
                expected[stage[move.src], stage[move.dst]] += move.size * parallel.exchanges
        for here, there in pairwise(parallel.stages["h3"]):
            expected.update(dict.fromkeys(zip(here, there, strict=True), parallel.hand_size(step["tokens"])))
    found = between_workers(run)
    if pipeline > 1:
        back = parallel.stages["h3"][-1][0], "h3"
        assert found.pop(back) == 4 * 10 * 5, "the id of each token"
        del expected[back]
    assert found == expected
    assert all(s["end"] - s["start"] == pytest.approx(s["compute"] + s["fabric"] + s["waited"], abs=1e-5)
               for s in steps)
    assert {s["batch"] for s in steps} == set(range(pipeline)), "each stage has a batch"


# 131 kB of all-reduces a token, 8 kB of activations: a worker of four sends 136 packets in a row
WIDE = {"layers": 8, "hidden": 4096, "ffn": 64, "heads": 8, "head_dim": 8, "kv_heads": 4, "vocab": 100}


@pytest.mark.parametrize(("tensor", "pipeline", "tokens"), [(4, 1, 2), (2, 2, 2), (1, 4, 20)])
def test_on_an_idle_network_steps_take_what_was_predicted(lab: EngineLab, tensor: int, pipeline: int,
                                                          tokens: int) -> None:
    run = serve(lab, **{**KEYS, "model": WIDE}, tensor=tensor, pipeline=pipeline, process="constant", rate=0.5,
                requests=3, input_tokens=tokens, output_tokens=4 if tensor > 1 else 1)
    steps, reported = steps_of(run), predict(run.serving, lab.fabric.spec.scale.scale)
    prefill = min(r["made"] - r["admitted"] for r in run.requests)      # the others met a busy processor
    assert prefill == pytest.approx(reported["ttft_prefill"].value, rel=0.05, abs=2e-3)
    exchanged = min((s["fabric"], s["idle"]) for s in steps if not s["decoding"])
    assert exchanged[0] == pytest.approx(exchanged[1], rel=0.05, abs=2e-3)
    assert all(r["prefill_fabric"] >= exchanged[0] for r in run.requests)
    if tensor > 1:
        decoding = median(s["end"] - s["start"] for s in steps if s["decoding"])
        assert decoding == pytest.approx(reported["tpot"].value, rel=0.05, abs=2e-3)


def test_two_replicas_share_the_work_and_the_share_of_the_fabric_is_reported(lab: EngineLab) -> None:
    run = serve(lab, **KEYS, tensor=2, routing="round_robin", rate=20, requests=12, input_tokens=60, output_tokens=3)
    steps = steps_of(run)
    assert Counter(r["replica"] for r in run.requests) == {"h3": 6, "h5": 6}
    assert {s["replica"] for s in steps} == {"h3", "h5"}
    of = {m.tag: m.value for m in metrics(list(typed_records(run.path, StepRecord)))}
    assert 0 < of["fabric_share"] < 1
    assert of["communication_slowdown"] > 0.9, "no faster than the wire"


@pytest.mark.parametrize("victim", ["h3", "h4"])
def test_a_replica_dies_with_any_of_its_workers_and_its_requests_go_elsewhere(lab: EngineLab, victim: str) -> None:
    run = serve(lab, **KEYS, tensor=2, routing="round_robin", process="constant", rate=10, requests=12,
                input_tokens=40, output_tokens=6, failures=[[victim, "450ms"]], retries=2)
    steps_of(run)
    assert {r["status"] for r in run.requests} == {"ok"}
    assert {r["output_tokens"] for r in run.requests} == {6}
    assert {r["replica"] for r in run.requests[6:]} == {"h5"}
