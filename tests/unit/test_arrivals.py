"""Arrival processes: seeded, of the asked rate, as bursty as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.model.errors import SpecError
from traffic.workloads.arrivals import Process, arrivals, interarrivals, variation

CASES: list[tuple[Process, float]] = [
    ("constant", 1.0), ("poisson", 1.0), ("gamma", 0.25), ("gamma", 4.0), ("weibull", 0.6), ("weibull", 2.0)]


@pytest.mark.parametrize(("process", "shape"), CASES)
def test_mean_and_variation_are_those_of_the_process(process: Process, shape: float) -> None:
    gaps = interarrivals(process, rate=8.0, count=200_000, seed=3, shape=shape)
    assert gaps.mean() == pytest.approx(1 / 8.0, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(variation(process, shape), rel=0.03, abs=1e-9)


@pytest.mark.parametrize("process", ["gamma", "weibull"])
def test_shape_1_is_as_bursty_as_poisson_and_a_smaller_shape_burstier(process: Process) -> None:
    assert variation(process, 1.0) == pytest.approx(variation("poisson"))
    assert variation(process, 0.5) > 1.0 > variation(process, 2.0)


def test_gamma_of_shape_a_quarter_has_a_variation_of_two() -> None:
    assert variation("gamma", 0.25) == 2.0


@given(process=st.sampled_from(["constant", "poisson", "gamma", "weibull"]), rate=st.floats(0.01, 1e4),
       count=st.integers(0, 50), seed=st.integers(0, 2**32), shape=st.floats(0.2, 5.0))
def test_a_seed_gives_the_same_ascending_arrivals_again(
        process: Process, rate: float, count: int, seed: int, shape: float) -> None:
    first = arrivals(process, rate, count, seed, shape)
    assert len(first) == count
    assert np.array_equal(first, arrivals(process, rate, count, seed, shape))
    assert (np.diff(first, prepend=0.0) >= 0).all()


def test_another_seed_gives_other_arrivals() -> None:
    assert not np.array_equal(arrivals("poisson", 1.0, 10, seed=1), arrivals("poisson", 1.0, 10, seed=2))


@pytest.mark.parametrize(("rate", "count", "shape", "expected"), [
    (0.0, 1, 1.0, "a rate above zero"), (float("nan"), 1, 1.0, "a rate above zero"),
    (1.0, -1, 1.0, "a count of zero or more"), (1.0, 1, 0.0, "a shape above zero")])
def test_impossible_processes_are_refused(rate: float, count: int, shape: float, expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        interarrivals("gamma", rate, count, seed=1, shape=shape)
