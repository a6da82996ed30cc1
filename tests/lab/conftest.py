"""A small lab that all tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scenarios.run.lab import Lab, lab
from tests.lab.fabric_lab import SMALL


@pytest.fixture(scope="module")
def small_lab() -> Iterator[Lab]:
    """Two leaves, two spines, h1 to h8 at 10 Mbit/s, queues of 40 packets. Leave it as you found it."""
    with lab(SMALL) as it:
        yield it
