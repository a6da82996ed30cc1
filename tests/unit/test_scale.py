"""Real ratios of bytes to rate keep their meaning; what is too small to mean anything is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.model.expansion import expand
from topologies.model.scale import Scale, below_scale
from topologies.model.spec import FabricSpec

FACTORS = st.floats(min_value=1e-6, max_value=1.0)


@given(FACTORS, FACTORS, st.floats(min_value=1.0, max_value=1e12), st.floats(min_value=1.0, max_value=1e12))
def test_a_transfer_takes_its_scaled_time(rate: float, size: float, byte: float, bits: float) -> None:
    scale = Scale(rate, size)
    emulated = scale.to_emulated_size(byte) * 8 / scale.to_emulated_rate(bits)
    assert emulated == pytest.approx(scale.to_emulated_time(byte * 8 / bits))


@given(FACTORS, FACTORS, st.floats(min_value=1e-3, max_value=1e12))
def test_to_emulated_and_back_is_where_one_began(rate: float, size: float, value: float) -> None:
    scale = Scale(rate, size)
    assert scale.to_real_rate(scale.to_emulated_rate(value)) == pytest.approx(value)
    assert scale.to_real_size(scale.to_emulated_size(value)) == pytest.approx(value)
    assert scale.to_real_time(scale.to_emulated_time(value)) == pytest.approx(value)


def test_a_fabric_in_real_units_expands_to_emulated_ones() -> None:
    spec = FabricSpec.model_validate({
        "host_rate": "400gbit", "uplink_rate": "800gbit", "delay": "1us", "queue": "1MB",
        "links": {"leaf1-spine1": {"rate": "100gbit"}}, "scale": {"rate": "1/40000", "size": "1/20"}})
    fabric = expand(spec)
    access = fabric.access_link("h1")
    assert access.rate == pytest.approx(10e6)
    assert access.queue == 50_000
    assert access.delay == pytest.approx(1e-6 * 2000)     # s/r
    assert fabric.link("leaf2-spine1").rate == pytest.approx(20e6)
    assert fabric.link("leaf1-spine1").rate == pytest.approx(2.5e6)


def test_a_queue_in_packets_is_not_scaled_and_none_is_smaller_than_two_frames() -> None:
    scale = {"rate": 0.001, "size": 0.001}
    packets = expand(FabricSpec.model_validate({"queue": "40packets", "scale": scale}))
    assert packets.access_link("h1").queue == 40 * 1514
    small = expand(FabricSpec.model_validate({"queue": "60kB", "scale": scale}))
    assert small.access_link("h1").queue == 2 * 1514


def test_transfers_of_few_packets_are_below_scale() -> None:
    assert "10 are needed" in below_scale(9 * 1448, 10e6, 1e-6, 1448)
    assert below_scale(10 * 1448, 10e6, 1e-6, 1448) == ""


def test_transfers_shorter_than_five_idle_rtts_are_below_scale() -> None:
    serialisation = 100_000 * 8 / 10e6
    assert "5 idle RTTs" in below_scale(100_000, 10e6, serialisation / 4.9, 1448)
    assert below_scale(100_000, 10e6, serialisation / 5.1, 1448) == ""
