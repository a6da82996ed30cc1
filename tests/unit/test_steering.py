"""Which processors may take a flow up, in sysfs's words."""

from __future__ import annotations

import pytest

from topologies.switches.ovs.steering import mask


@pytest.mark.parametrize(("processors", "words"), [
    (1, "00000001"), (2, "00000003"), (32, "ffffffff"), (33, "00000001,ffffffff"), (64, "ffffffff,ffffffff"),
])
def test_the_mask_names_every_processor_in_groups_of_32(processors: int, words: str) -> None:
    assert mask(processors) == words
