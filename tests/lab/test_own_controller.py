"""aifab up --controller: a user's os-ken application on either datapath."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios.run.own_controller import lab_of_application
from topologies.lab.clean import left_over
from topologies.model.errors import LabError, RunError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

pytestmark = pytest.mark.lab
EXAMPLES = Path(__file__).parents[2] / "scenarios" / "examples" / "controllers"


def fabric(datapath: str) -> Fabric:
    return expand(FabricSpec.model_validate({"name": "own", "leaves": 2, "spines": 2, "hosts_per_leaf": 2,
                                             "probes": False, "datapath": datapath}))


def ping(netns: str, address: str) -> bool:
    return subprocess.run(["nsenter", f"--net={netns}", "ping", "-c", "3", "-i", "0.2", "-W", "1", address],
                          capture_output=True, check=False).returncode == 0


def keep_looking(look: Callable[[], None], seconds: float = 10) -> None:
    for _ in range(round(seconds / 0.1)):
        look()
        time.sleep(0.1)


@pytest.mark.parametrize("datapath", ["ovs", "engine"])
@pytest.mark.parametrize("name", ["learning_switch", "ecmp", "firewall"])
def test_the_examples_carry_packets_between_leaves(name: str, datapath: str) -> None:
    wanted = fabric(datapath)
    with lab_of_application(wanted, EXAMPLES / f"{name}.py") as (net, look):
        netns = net.inventory.netns_path
        assert ping(netns("h1"), wanted.host("h2").ip)
        assert ping(netns("h1"), wanted.host("h4").ip)
        assert ping(netns("h3"), wanted.host("h2").ip)
        look()


@pytest.mark.parametrize(("text", "said"), [
    ("def f(:\n", r"app\.py:1"), ("import no_such_module\n", "ModuleNotFoundError"), ("x = 1\n", "OSKenApp"),
    ("from os_ken.base.app_manager import OSKenApp\nclass A(OSKenApp):\n    OFP_VERSIONS = (4,)\n", "OpenFlow 1.5")])
def test_a_file_that_is_no_application_is_refused_before_anything_is_made(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "app.py").write_text(text)
    with pytest.raises(LabError, match=said), lab_of_application(fabric("ovs"), tmp_path / "app.py"):
        pass


def test_an_application_that_ends_is_named_and_leaves_a_clean_machine(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("import os, threading\nfrom os_ken.base.app_manager import OSKenApp\n"
                   "class A(OSKenApp):\n    def start(self):\n        super().start()\n"
                   "        threading.Timer(3, lambda: os._exit(7)).start()\n")
    with lab_of_application(fabric("ovs"), app) as (net, look):
        lab = net.inventory.lab
        with pytest.raises(RunError, match="exit code 7"):
            keep_looking(look)
    assert lab not in {journal.lab for journal in left_over()}
