"""A KV cache on its way to its decoder: in which parts, when, and how long after the first token it is whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.report.answer import workload_sentence
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.scale import Scale
from traffic.inference.gpu import Chunk
from traffic.inference.kv.shipping import Shipment, Transfer, computed, parts_of, predictions, wait
from traffic.inference.plan import Serving, serving_of
from traffic.workloads.specs import ServingSpec


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return expand(load_fabric("border"))


def plan(fabric: Fabric, **keys: Any) -> Serving:
    spec = {"kind": "serving", "rate": 5, "requests": 3, "variation": 0, "input_tokens": 4096, "replicas": ["h2"],
            "decode": ["h3"], **keys}
    return serving_of(ServingSpec.model_validate(spec), fabric, "chat", 1)


# --- parts ----------------------------------------------------------------------------------------


def test_layers_travel_in_groups_and_the_last_one_may_be_smaller(fabric: Fabric) -> None:
    assert plan(fabric).layer_shares == plan(fabric, kv_transfer="whole").layer_shares == ()
    assert plan(fabric, kv_transfer="layers").layer_shares == (0.25, 0.5, 0.75, 1.0)
    assert plan(fabric, kv_transfer="layers", kv_fuse=12).layer_shares == (12 / 32, 24 / 32, 1.0)


def test_of_a_chunk_as_much_exists_as_its_layers_have_computed() -> None:
    assert computed(0, 1000, 1000, 0.25) == 0.25
    assert computed(2048, 4096, 4096, 0.5) == 0.75
    assert computed(2048, 4096, 4096, 1.0) == 1.0


def test_the_parts_of_a_prompt_in_two_chunks(fabric: Fabric) -> None:
    serving = plan(fabric, kv_transfer="layers", kv_fuse=16)
    first, second = (serving.roofline.seconds([Chunk(2048, before)]) for before in (0, 2048))
    size = 4096 * 131_072
    assert list(parts_of(serving, 4096)) == [
        pytest.approx(part) for part in [(first / 2, size / 4), (first, size / 4), (first + second / 2, size / 4),
                                         (first + second, size / 4)]]
    (whole,) = parts_of(plan(fabric), 4096)
    assert whole == pytest.approx((first + second, size))


@given(prompt=st.integers(1, 9000), chunk=st.integers(100, 4096), fuse=st.integers(1, 32))
def test_the_parts_are_the_whole_cache_in_the_order_of_time(prompt: int, chunk: int, fuse: int) -> None:
    serving = plan(expand(load_fabric("border")), kv_transfer="layers", kv_fuse=fuse, chunk=chunk, input_tokens=prompt)
    parts = list(parts_of(serving, prompt))
    assert sum(size for _, size in parts) == pytest.approx(prompt * serving.kv_bytes)
    assert parts == sorted(parts, key=lambda part: part[0])
    assert all(size > 0 for _, size in parts)


class Wire:
    """Instead of a lease: what was asked to be sent, and a way to say that it has arrived."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Any]] = []
        self.opened = self.released = 0

    def open(self) -> Any:
        self.opened += 1
        return self

    def ask(self, size: int, over: Any) -> None:
        self.sent.append((size, over))

    def release(self) -> None:
        self.released += 1


@given(st.lists(st.floats(0, 1), max_size=8), st.integers(1, 10_000))
def test_a_shipment_sends_every_byte_once_and_is_over_with_the_last(shares: list[float], size: int) -> None:
    wire, over, transfer = Wire(), list[str](), Transfer("h3", size)
    shipment = Shipment(transfer, wire.open, lambda: over.append("over"))
    for share in [*shares, 1.0, 1.0]:
        shipment.send(share)
    assert sum(count for count, _ in wire.sent) == size
    assert transfer.parts == len(wire.sent)
    assert wire.opened == 1
    for n, (_, arrived) in enumerate(wire.sent, 1):
        assert not over
        assert transfer.end is None
        arrived()
        assert bool(over) == (n == len(wire.sent))
    assert (over, wire.released) == (["over"], 1)
    assert transfer.end is not None


# --- how long after the first token ---------------------------------------------------------------


def test_what_remains_after_the_first_token_is_the_last_part_if_the_wire_keeps_up() -> None:
    """Four parts of 1 Mbit at 10 Mbit/s take 0.1 s each; they are computed every 0.2 s, or every 0.05 s."""
    assert wait([(0.8, 500_000)], 10e6, 0.8) == pytest.approx(0.4)
    assert wait([(t, 125_000) for t in (0.2, 0.4, 0.6, 0.8)], 10e6, 0.8) == pytest.approx(0.1)
    assert wait([(t, 125_000) for t in (0.05, 0.1, 0.15, 0.2)], 10e6, 0.2) == pytest.approx(0.25)


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=6), st.floats(1e4, 1e7))
def test_layers_never_wait_longer_than_the_whole_nor_less_than_their_last(steps: list[float], rate: float) -> None:
    times = [sum(steps[:n + 1]) for n in range(len(steps))]
    layers = wait([(t, 1000) for t in times], rate, times[-1])
    assert 8000 / rate <= layers * (1 + 1e-9) <= wait([(times[-1], 1000 * len(times))], rate, times[-1]) * (1 + 2e-9)


def test_the_wait_is_predicted_for_the_median_prompt_on_the_slowest_access_link(fabric: Fabric) -> None:
    rate = fabric.access_link("h2").rate * 1448 / 1514
    whole = predictions(plan(fabric), Scale())["kv_wait"].value
    assert whole == pytest.approx(8 * 4096 * 131_072 / rate)
    layers = predictions(plan(fabric, kv_transfer="layers"), Scale())["kv_wait"].value
    prefill = sum(plan(fabric).roofline.seconds([Chunk(2048, before)]) for before in (0, 2048))
    assert layers == pytest.approx(whole - prefill, rel=0.02), "a wire far slower than the GPU: all but the prefill"
    assert predictions(plan(fabric, decode=None), Scale()) == {}


def test_the_answer_tells_the_wait_beside_what_was_predicted() -> None:
    tags: dict[str, dict[str, float]] = {"completed": {"value": 3}, "rejected": {"value": 0}, "kv_wait": {"value": 0.2}}
    assert workload_sentence("Serving", tags, {"kv_wait": {"value": 0.1}}) == (
        "Serving: all 3 requests were answered; half of the KV caches reached their decoder within 200 ms after "
        "the first token, 2 times the predicted 100 ms.")


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "text"), [
    ({"decode": None, "kv_transfer": "whole"}, "kv_transfer with decode only: else no KV cache goes from one"),
    ({"decode": None, "kv_transfer": "layers"}, "kv_transfer with decode only: else no KV cache goes from one"),
    ({"kv_fuse": 4}, "kv_fuse with kv_transfer: layers only"),
    ({"kv_transfer": "whole", "kv_fuse": 4}, "kv_fuse with kv_transfer: layers only"),
])
def test_layers_without_a_decoder_and_groups_without_layers_are_refused(fabric: Fabric, keys: dict[str, Any],
                                                                         text: str) -> None:
    with pytest.raises(ValueError, match=text):
        plan(fabric, **keys)


def test_more_layers_together_than_there_are_is_refused(fabric: Fabric) -> None:
    with pytest.raises(LabError, match=r"workloads.chat.kv_fuse: expected at most 32, the model's layers; found 33"):
        plan(fabric, kv_transfer="layers", kv_fuse=33)
