"""Which environment each rank of a real program gets, and how its end is reported."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from scenarios.run.ranks import spread
from topologies.model.expansion import expand
from topologies.model.inventory import Inventory
from topologies.model.load import load_fabric
from topologies.model.spec import FabricSpec
from traffic.runtime.launch import LONGEST_LINE, Rank, _failures, _Stream, ranks_on


@pytest.fixture
def inventory() -> Inventory:
    fabric = expand(FabricSpec(name="two", leaves=2, spines=1, hosts_per_leaf=1, probes=False))
    return Inventory(lab="x", directory="/nowhere", fabric=fabric, netns={"h1": "x-h1", "h2": "x-h2"}, wiring="x-w",
                     wires={}, switches={}, datapath="ovs", controller_socket="", api_socket="")


def test_ranks_find_each_other_and_their_interface_in_the_environment(inventory: Inventory) -> None:
    first, second = ranks_on(inventory, ["h2", "h1"], port=4000)
    assert (first.netns, second.netns) == ("/run/netns/x-h2", "/run/netns/x-h1")
    assert first.environment == {
        "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
        "MASTER_ADDR": inventory.fabric.host("h2").ip, "MASTER_PORT": "4000", "GLOO_SOCKET_IFNAME": "h2-eth0",
        "NCCL_SOCKET_IFNAME": "h2-eth0", "TP_SOCKET_IFNAME": "h2-eth0"}
    assert second.environment["RANK"] == "1"
    assert second.environment["MASTER_ADDR"] == first.environment["MASTER_ADDR"]
    assert second.environment["GLOO_SOCKET_IFNAME"] == "h1-eth0"


def test_ranks_of_one_host_are_counted_apart(inventory: Inventory) -> None:
    ranks = ranks_on(inventory, ["h1", "h2", "h1"])
    assert [r.environment["LOCAL_RANK"] for r in ranks] == ["0", "0", "1"]
    assert [r.environment["LOCAL_WORLD_SIZE"] for r in ranks] == ["2", "1", "2"]


def test_ends_that_are_no_good_are_reported_with_rank_host_and_signal() -> None:
    ranks = [Rank(n, f"h{n + 1}", "", {}) for n in range(4)]
    assert list(_failures(zip(ranks, (0, None, 3, -9), strict=True))) == [
        "rank 2 on h3 ended with exit code 3", "rank 3 on h4 was killed by SIGKILL"]


@pytest.fixture
def pipe() -> Iterator[tuple[_Stream, int]]:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as file:
        yield _Stream(0, "stdout", file), write


def test_lines_come_whole_and_the_last_one_needs_no_end(pipe: tuple[_Stream, int]) -> None:
    stream, write = pipe
    os.write(write, b"one\ntw")
    assert stream.lines() == ["one"]
    os.write(write, b"o\nthree")
    assert stream.lines() == ["two"]
    os.close(write)
    assert stream.lines() == ["three"]
    assert stream.lines() is None


def test_a_line_without_end_is_reported_in_pieces(pipe: tuple[_Stream, int]) -> None:
    stream, write = pipe
    reported = 0
    for _ in range(17):
        os.write(write, b"x" * 4096)
        reported += sum(len(line) for line in stream.lines() or ())
    assert reported >= LONGEST_LINE
    os.close(write)


def test_what_uplinks_carried_is_reported_for_each_leaf_that_sent() -> None:
    fabric = expand(load_fabric("small"))
    before = {d: 1000 for k in fabric.links if k.kind == "fabric" for d in k.directions}
    after = before | {"leaf1->spine1": 3_001_000, "leaf1->spine2": 1_001_000, "spine1->leaf2": 3_001_000}
    assert spread(fabric, before, after) == ["  leaf1 sent to spine1 3 MB, spine2 1 MB; Jain's index 0.800"]
    assert spread(fabric, before, before) == []
