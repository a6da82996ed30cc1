"""A few seeds of fault fuzzing (python -m tests.fuzz): after each step every pair is as it should be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz import Fuzz, fuzz_lab, run_seed
from tests.lab.controller_lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with fuzz_lab() as it:
        yield it


@pytest.mark.parametrize("seed", [1, 3])
def test_reachability_is_as_expected_after_every_step(lab: Lab, seed: int) -> None:
    assert "\n".join(run_seed(lab, seed, steps=8)) == ""


def test_a_switch_without_rules_that_should_have_them_is_found(lab: Lab) -> None:
    """The fuzzer can fail."""
    fuzz = Fuzz(lab, 1, lambda _: None)
    assert fuzz.wrong() == []
    lab.ofctl("leaf2", "del-flows")
    try:
        assert any("has not received it" in line for line in fuzz.wrong())
    finally:
        lab.restart()
