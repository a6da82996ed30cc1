"""The engine's pipeline and Open vSwitch's userspace datapath on the same rules and frames: the same ports, the same
bytes, the same counters of rules, groups and buckets.

Not compared: the outer UDP source port, which is each switch's own hash, and what depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.examples import examples
from tests.fabricd.drawn_rules import NEIGHBOURS, PORTS, VTEP_MAC, VTEPS, Group, Rule, packets, rule_sets
from tests.fabricd.driver import pipelines
from tests.fabricd.frames import IPV4, UDP, VXLAN_PORT
from tests.lab.dummy_ovs import DummyOvs, dummy_ovs

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def ovs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DummyOvs]:
    with dummy_ovs(tmp_path_factory.mktemp("ovs")) as switch:
        yield switch


def comparable(out: tuple[int, bytes]) -> tuple[int, bytes]:
    """Without the source port of a VXLAN packet, and the identification of its IPv4 header."""
    port, frame = out
    if int.from_bytes(frame[12:14], "big") == IPV4 and frame[23:24] == bytes([UDP]) \
            and int.from_bytes(frame[36:38], "big") == VXLAN_PORT:
        frame = frame[:18] + b"id" + frame[20:34] + b"of" + frame[36:]
    return port, frame


@examples(300)
@given(drawn=rule_sets(), frames=st.lists(st.tuples(st.sampled_from(PORTS), packets()), min_size=1, max_size=12),
       decoded=st.booleans())
def test_both_do_the_same(ovs: DummyOvs, drawn: tuple[list[Rule], list[Group]], frames: list[tuple[int, bytes]],
                          decoded: bool) -> None:
    rules, groups = drawn
    ovs.set_rules([r.ovs() for r in rules], [g.ovs() for g in groups])
    with pipelines() as engine:
        engine.switch("s", *PORTS)
        engine.do(*(f"vtep s {address} {VTEP_MAC}" for address in VTEPS),
                  *(f"neighbour s {address} {mac}" for address, mac in NEIGHBOURS.items()),
                  *(g.words("s") for g in groups), *(r.words("s") for r in rules))
        for port, frame in frames:
            ours = [(o.port, o.frame) for o in engine.frame("s", port, frame, decoded).out]
            assume(not engine.counts("s")["looping"])   # two encapsulations, or eight passes: no fabric has them
            assert sorted(map(comparable, ours)) == sorted(map(comparable, ovs.send(port, frame))), frame.hex()
        theirs, their_groups = ovs.counters()
        assert engine.rules("s") == theirs
        assert {n: (packets_, octets, list(buckets.values())) for n, (packets_, octets, buckets)
                in engine.groups("s").items()} == their_groups or any(g.type == "select" for g in groups)
