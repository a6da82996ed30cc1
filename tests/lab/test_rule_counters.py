"""Drop counters with and without a controller, and a run whose controller is killed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from controller.southbound import rule_counters
from scenarios.run.attach import running_labs
from scenarios.run.lab import lab
from scenarios.run.runner import StageListener, run_scenario
from scenarios.run.verify import udp_frame
from scenarios.run.vpcs import apply_intent
from scenarios.spec.scenario import Scenario
from tests.lab.controller_lab import TIMEOUT
from tests.unit.intents import attach, intent, vpc
from topologies.access.netns import inside
from topologies.links.htb import wires
from topologies.model.spec import FabricSpec

pytestmark = pytest.mark.lab

SMALL = FabricSpec(name="rule-counters", leaves=2, spines=2, hosts_per_leaf=2)


def test_switches_tell_by_themselves_what_the_controller_tells_of_them() -> None:
    with lab(SMALL) as it:
        apply_intent(it.inventory, intent(vpc("a", {"x": "10.1.0.0/24"}), attach("h1", "a/x")))
        for link in it.fabric.uplinks("leaf2"):
            wires.set_state(it.inventory, link.name, up=False)
        it.controller.wait_converged(TIMEOUT, down=frozenset(k.name for k in it.fabric.uplinks("leaf2")))
        h2 = it.fabric.host("h2")       # it is in no VPC; leaf2 is cut off, and h1 is nobody to it
        with inside(it.inventory.netns_path("h2")), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("h2-eth0", 0))
            for target in map(it.fabric.host, ("h3", "h1")):
                sender.send(udp_frame(h2.mac, target.mac, h2.ip, target.ip, b"probe"))
        reported = it.policy_drops()
        assert {"no-path:leaf2", "unknown-mac"} <= {rule for rule, n in reported["leaf1"].items() if n}
        assert rule_counters.policy_drops(it.inventory) == reported
        it.process.kill()
        it.process.wait(TIMEOUT)
        assert it.policy_drops() == reported


class Killer(StageListener):
    """Kills the controller of this process's own lab when the phase begins."""

    def stage(self, what: str) -> None:
        if what.startswith("phase"):
            (own,) = (j for j in running_labs() if j.owner and j.owner.pid == os.getpid())
            (controller,) = (p for p in own.processes if p.what == "controller" and p.alive)
            os.kill(controller.pid, signal.SIGKILL)


def test_a_run_goes_on_without_its_controller_and_says_so(tmp_path: Path) -> None:
    result = run_scenario(Scenario.model_validate({
        "name": "no-controller", "question": "Does a run survive its controller?",
        "fabric": SMALL,
        "workloads": {"ring": {"kind": "collective", "size": "200kB", "iterations": 1, "warmup": 0}}}),
        tmp_path, lock=False, listener=Killer())
    assert result.ledger.balances
    assert any("controller ended" in r.text for r in result.verdict.reasons)
