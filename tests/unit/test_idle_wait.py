"""When a study goes on after the machine has spoilt a run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from scenarios.study import idle_wait


@pytest.mark.parametrize(("looks", "found", "pauses"), [
    ((0.0, 0.01), True, 1), ((0.2, 0.0, 0.1, 0.0, 0.0), True, 4), ((0.0, 0.2) * 30, False, 18)])
def test_it_waits_for_two_calm_looks_in_a_row_and_not_for_ever(
        looks: Sequence[float], found: bool, pauses: int) -> None:
    slept: list[float] = []
    left = iter(looks)
    assert idle_wait.wait_until_idle(lambda: next(left), slept.append) is found
    assert slept == [idle_wait.PAUSE] * pauses


def test_a_look_at_the_machine_is_a_share() -> None:
    assert 0 <= idle_wait.stolen() <= 1
