"""Receive packet steering, set in namespaces that a test made for itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from topologies.model.errors import HostError
from topologies.switches.ovs.steering import keep_flows_together, mask

pytestmark = [pytest.mark.lab,
              pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor takes up every frame as it is")]


@pytest.fixture
def namespaces() -> Iterator[list[str]]:
    names = [f"afsteer{os.getpid()}{end}" for end in "ab"]
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", names[0], "link", "add", "x", "type", "veth", "peer", "name", "y",
                        "netns", names[1]], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def setting(netns: str, device: str) -> int:
    said = subprocess.run(["ip", "netns", "exec", netns, "cat", f"/sys/class/net/{device}/queues/rx-0/rps_cpus"],
                          capture_output=True, text=True, check=True)
    return int(said.stdout.replace(",", ""), 16)


def test_every_device_of_the_namespaces_gives_a_flow_to_one_of_all_processors(namespaces: list[str]) -> None:
    assert [setting(n, d) for n, d in zip(namespaces, "xy", strict=True)] == [0, 0]
    keep_flows_together(namespaces)
    everywhere = int(mask(os.cpu_count() or 1).replace(",", ""), 16)
    assert [setting(n, d) for n, d in zip(namespaces, "xy", strict=True)] == [everywhere] * 2


def test_the_machines_own_mounts_stay_as_they_were(namespaces: list[str]) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    keep_flows_together(namespaces)
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_namespace_that_is_gone_is_named(namespaces: list[str]) -> None:
    with pytest.raises(HostError, match="/run/netns/afgone: expected a network namespace"):
        keep_flows_together([*namespaces, "afgone"])
