"""An emulation that looks right and is wrong: each way to make one must keep the run from being VALID, by name.

TCP hides starvation and wrong wires alike: it slows down and loses nothing that packet accounting would miss.
These runs leave the machine's lock alone, which is a reason of its own and does not count here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.run_process import RunProcess, aifab_run, pause
from topologies.links.htb import wires

pytestmark = [pytest.mark.lab, pytest.mark.alone]

ALLREDUCE = """
name: fooled
question: Does the verdict notice?
fabric: {name: fooled, leaves: 2, spines: 2, hosts_per_leaf: 2, host_rate: 10mbit}
workloads:
  ring: {kind: collective, size: 2MB, iterations: 2, warmup: 0}
"""
HOG = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100000))"
SMALL_BUFFERS = """
from topologies.lab import network
from topologies.lab.host_limits import SYSCTLS
from topologies.access.netns import set_sysctl
build = network.bring_up_fabric
def with_small_buffers(fabric, journal):
    for key in ("net.core.wmem_default", "net.core.rmem_default"):
        set_sysctl(key, 212992)
    try:
        return build(fabric, journal)
    finally:
        for key in ("net.core.wmem_default", "net.core.rmem_default"):
            set_sysctl(key, SYSCTLS[key])
network.bring_up_fabric = with_small_buffers
"""


def _reasons(it: RunProcess) -> list[dict[str, Any]]:
    """The run's reasons, once it has come to its end with a verdict that is not VALID."""
    assert it.end() in {3, 4}, it.text
    found = it.reasons()
    assert found, "nothing but the lock kept it from being VALID"
    return found


def _of(found: list[dict[str, Any]], *words: str) -> list[str]:
    return [r["text"] for r in found if all(w in r["text"] for w in words)]


def test_untouched_nothing_but_a_busy_machine_can_spoil_it(tmp_path: Path) -> None:
    with aifab_run(tmp_path, ALLREDUCE) as it:
        assert it.end() in {0, 3, 4}, it.text
        found = it.reasons()
    assert [r for r in found if r["invariant"] in {"ledger", "no emulator loss"}] == []
    assert not _of(found, "buffer") + _of(found, "nice value") + _of(found, "expected"), found
    invalid = {r["invariant"] for r in found if r["level"] == "INVALID"}
    assert invalid <= {"headroom", "link", "timers"}, "where a lack of CPU shows; nothing else may go wrong by itself"


def test_a_cpu_hog_on_every_core_beside_tcp_is_noticed(tmp_path: Path) -> None:
    with aifab_run(tmp_path, ALLREDUCE) as it:
        it.until("traffic")
        hogs = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(os.cpu_count() or 1)]
        try:
            found = _reasons(it)
        finally:
            for hog in hogs:
                hog.kill()
                hog.wait()
    assert {r["invariant"] for r in found} & {"headroom", "link", "timers"}, found
    assert _of(found, "idle"), found


def test_default_socket_buffers_are_noticed(tmp_path: Path) -> None:
    with aifab_run(tmp_path, ALLREDUCE, patch=SMALL_BUFFERS) as it:
        found = _reasons(it)
    for switch in ("leaf1", "leaf2", "spine1", "spine2"):
        assert _of(found, switch, "send buffer"), found
        assert _of(found, switch, "receive buffer"), found


def test_a_switch_reniced_under_load_is_noticed(tmp_path: Path) -> None:
    with aifab_run(tmp_path, ALLREDUCE) as it:
        it.until("traffic")
        os.setpriority(os.PRIO_PROCESS, it.inventory.switches["leaf1"].pid, 19)
        found = _reasons(it)
    assert _of(found, "leaf1", "nice value"), found


def test_a_wire_at_another_rate_is_noticed(tmp_path: Path) -> None:
    with aifab_run(tmp_path, ALLREDUCE) as it:
        it.until("traffic")
        wires.set_rate(it.inventory, "leaf1-spine2", 15e6)
        found = _reasons(it)
    assert _of(found, "leaf1->spine2", "rate"), found
    assert _of(found, "spine2->leaf1", "rate"), found


def test_a_wire_that_was_slow_only_for_a_while_is_noticed(tmp_path: Path) -> None:
    """Put back before anybody reads the settings: only the bytes that it carried can tell."""
    with aifab_run(tmp_path, ALLREDUCE) as it:
        it.until("traffic")
        wires.set_rate(it.inventory, "h1-leaf1", 5e6)
        pause(2.0)
        wires.set_rate(it.inventory, "h1-leaf1", 10e6)
        found = _reasons(it)
    assert _of([r for r in found if r["invariant"] == "link"], "h1"), found


def test_a_halved_queue_is_noticed(tmp_path: Path) -> None:
    with aifab_run(tmp_path, ALLREDUCE) as it:
        it.until("traffic")
        limit = it.inventory.fabric.link("h2-leaf1").queue
        wires.set_queue(it.inventory, "h2-leaf1", limit // 2)
        found = _reasons(it)
    assert _of(found, "leaf1->h2", "queue"), found
