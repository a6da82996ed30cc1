"""What a switch is asked and reported over its management socket, word by word."""

from __future__ import annotations

import pytest

from topologies.model.inventory import SwitchProcess
from topologies.switches.ovs.management import commands, paths, unixctl

SWITCH = SwitchProcess(name="leaf1", directory="/nowhere", pid=1)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands as they come; each is answered with the actions of a packet that leaves by two tunnels."""
    heard: list[tuple[str, ...]] = []

    def call(switch: SwitchProcess, *words: str) -> str:
        assert switch is SWITCH
        heard.append(words)
        return "Flow: udp\nDatapath actions: tnl_push(src=10.0.0.1,dst=10.255.1.2),clone(dst=10.255.3.2),5\n"

    monkeypatch.setattr(unixctl, "call", call)
    return heard


def test_neighbours_are_kept_as_long_as_can_be_and_then_written(said: list[tuple[str, ...]]) -> None:
    commands.set_neighbours(SWITCH, [("10.255.0.2", "02:ff:00:00:00:02"), ("10.255.0.3", "02:ff:00:00:00:03")])
    assert said == [("tnl/neigh/aging", "3600"), ("tnl/neigh/set", "leaf1", "10.255.0.2", "02:ff:00:00:00:02"),
                    ("tnl/neigh/set", "leaf1", "10.255.0.3", "02:ff:00:00:00:03")]


def test_caches_are_emptied_and_counters_waited_for(said: list[tuple[str, ...]]) -> None:
    commands.flush_caches(SWITCH)
    commands.settle_counters(SWITCH)
    assert said == [("revalidator/purge",), ("revalidator/wait",)]


def test_the_path_of_a_packet_is_asked_with_all_that_its_hash_is_made_of(said: list[tuple[str, ...]]) -> None:
    sent = paths.path_of(SWITCH, paths.Frame(101, "udp", "02:00:00:00:00:01", "02:00:00:00:00:05", "10.9.1.1",
                                             "10.9.2.1", 5001, 7))
    assert said == [("ofproto/trace", "leaf1", "in_port=101,udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:05,"
                     "nw_src=10.9.1.1,nw_dst=10.9.2.1,nw_ttl=64,udp_src=5001,udp_dst=7")]
    assert sent.tunnel_ends == ("10.255.1.2", "10.255.3.2")
    assert sent.shown.startswith("Datapath actions: tnl_push")
