"""How hosts' devices are set up for the engine."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec
from topologies.switches.engine import attach


def fabric(rate: str) -> Fabric:
    return expand(FabricSpec.model_validate({"name": "a", "leaves": 2, "spines": 1, "hosts_per_leaf": 2,
                                             "host_rate": rate, "datapath": "engine"}))


@pytest.mark.parametrize(("rate", "how", "disciplines"), [("20mbit", "calm", {"htb", "bfifo"}),
                                                          ("200mbit", "fast", {"noqueue"})])
def test_devices_send_one_frame_at_a_time_and_have_the_discipline_of_their_attachment(
        rate: str, how: str, disciplines: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, list[str]] = {}

    def note(lines: Iterable[str], netns: str = "") -> None:
        asked.setdefault(netns, []).extend(lines)

    monkeypatch.setattr(attach, "ip_batch", note)
    monkeypatch.setattr(attach, "tc_batch", note)
    made = fabric(rate)
    assert attach.attachment(made) == how
    attach.shape(made, {node.name: node.name for node in made.nodes})
    ends = [end for _, end in attach.host_ends(made)]
    assert set(asked) == {end.node for end in ends}
    for end in ends:
        words = asked[end.node]
        assert f"link set dev {end.interface} gso_max_segs 1" in words      # or TCP never learns of a full ring
        assert disciplines <= set(" ".join(words).split())
