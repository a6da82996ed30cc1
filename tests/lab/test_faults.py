"""Whatever breaks in a run: an error that says so, records kept and marked, a clean machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.run.waits import wait_for
from tests.lab.run_process import SCENARIO, TCP, aifab_run, pause
from topologies.lab import host_limits, programs
from topologies.lab.network import running
from topologies.lab.shell import run
from topologies.model.errors import HostError
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec, TcpSpec
from topologies.switches.datapaths import DATAPATHS

pytestmark = [pytest.mark.lab, pytest.mark.alone]
STAGES = ["bringing the fabric up", "calibrating the wires", "phase main", "traffic", "accounting for packets"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_run_is_marked_and_leaves_a_clean_machine(stage: str, number: int, tmp_path: Path) -> None:
    with aifab_run(tmp_path) as it:
        it.until(stage)
        pause(0.05)
        it.signal(number)
        assert it.end() == 130, it.text
        assert it.left() == []
        assert (it.meta["status"], it.meta["error"]) == ("interrupted", "by the user")
        assert "Traceback" not in it.text
        if stage in STAGES[3:]:
            assert any(r["kind"] == "stream" and r["workload"] == "stream" for r in it.records()), it.records()


@pytest.mark.parametrize("scenario", [SCENARIO, TCP], ids=["udp", "tcp"])
def test_a_hosts_interface_that_goes_down_is_named(scenario: str, tmp_path: Path) -> None:
    with aifab_run(tmp_path, scenario) as it:
        it.until("traffic")
        run("ip", "-n", it.inventory.netns["h1"], "link", "set", "h1-eth0", "down")
        assert it.end() == 1, it.text
        assert "host h1: interface h1-eth0: expected up for the whole run; found down" in it.text
        assert "records so far are kept" in it.text
        assert it.meta["status"] == "failed"
        assert "h1-eth0" in it.meta["error"]
        assert it.records()
        assert it.left() == []


def test_a_sampler_that_dies_ends_the_run_with_its_name(tmp_path: Path) -> None:
    with aifab_run(tmp_path) as it:
        it.until("phase main")
        os.kill(it.helper("topologies.proof.sampler"), signal.SIGKILL)
        assert it.end() == 1
        assert "the sampler: expected" in it.text
        assert "exit code -9" in it.text
        assert it.meta["status"] == "failed"
        assert it.left() == []


def test_a_controller_that_dies_stops_no_packet_and_the_run_says_so(tmp_path: Path) -> None:
    """Switches forward by the rules they hold, and tell themselves what their rules dropped."""
    with aifab_run(tmp_path) as it:
        it.until("phase main")
        os.kill(it.helper("controller"), signal.SIGKILL)
        assert it.end() in {3, 4}, it.text
        assert any("controller ended" in r["text"] for r in it.reasons())
        assert "Traceback" not in it.text
        (stream,) = [r for r in it.records() if r["kind"] == "stream" and r["workload"] == "stream"]
        assert stream["received"] == stream["sent"] == 600
        assert it.meta["status"] == "complete"
        assert it.left() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_disk_that_is_full_from_the_start_is_reported_before_a_lab_is_made(small_disk: Path, tmp_path: Path) -> None:
    _fill(small_disk)
    with aifab_run(tmp_path, runs=small_disk / "runs") as it:
        assert it.end() == 1
        assert str(small_disk) in it.text
        assert "No space left on device" in it.text
        assert it.traces is None
        assert it.left() == []


def test_a_disk_that_fills_up_during_a_run_ends_it_with_what_it_has(small_disk: Path, tmp_path: Path) -> None:
    with aifab_run(tmp_path, runs=small_disk / "runs") as it:
        it.until("traffic")
        _fill(small_disk)
        assert it.end() == 1, it.text
        assert "No space left on device" in it.text
        assert "Traceback" not in it.text
        assert it.left() == []
        assert it.meta["status"] in {"failed", "running"}, "as much as a full disk lets it say"
        assert (it.directory / "inventory.json").exists()


def test_without_root_a_run_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    with aifab_run(tmp_path, prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]) as it:
        assert it.end() == 1
        assert "expected root" in it.text
        assert "found user id 65534" in it.text
        assert "run it with sudo" in it.text
        assert it.left() == []


def test_a_missing_program_is_reported_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in host_limits.programs(DATAPATHS["ovs"]):
        path = programs.find_program(program)
        if program != "ovs-vswitchd" and path is not None:
            (tmp_path / program).symlink_to(path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_SBIN", str(tmp_path))
    with pytest.raises(HostError) as caught, running(FabricSpec(leaves=1, spines=1, hosts_per_leaf=1)):
        pass
    assert caught.value.expected == "the programs ovs-vswitchd"
    assert caught.value.found == "not installed"
    assert "apt-get install openvswitch-switch" in caught.value.hint


@pytest.mark.parametrize(("spec", "where", "hint"), [
    (FabricSpec(name="far", delay="5ms"), "fabric far, link h1-leaf1: delay", "lab VM"),
    (FabricSpec(name="kern", datapath="ovs-kernel"), "fabric kern, datapath: ovs-kernel", "datapath: ovs"),
    (FabricSpec(name="cc", tcp=TcpSpec(congestion_control="nosuch")), "fabric cc: tcp.congestion_control",
     "tcp_nosuch")])
def test_what_the_kernel_lacks_is_named_with_the_way_round(
        spec: FabricSpec, where: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_limits, "has_module", lambda name: False)
    with pytest.raises(HostError) as caught, running(expand(spec)):
        pass
    assert caught.value.where == where
    assert hint in caught.value.hint
    if "delay" in where:
        assert "sch_netem" in caught.value.expected


def test_a_second_measuring_run_is_refused_by_the_pid_of_the_first(tmp_path: Path) -> None:
    """On a state directory of its own: the machine's may be held by a run beside these tests."""
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys\nfrom topologies.lab.host_limits import measuring_lock\n"
         "with measuring_lock():\n    print('held', flush=True)\n    sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"AIFAB_STATE": str(tmp_path / "s")})
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        with aifab_run(tmp_path, arguments=(), prefix=["env", f"AIFAB_STATE={tmp_path / 's'}"]) as it:
            assert it.end() == 1
            assert f"expected no other measuring run; found one by process {holder.pid}" in it.text
            assert "--no-lock" in it.text
            assert not it.runs.exists(), "nothing was begun"
    finally:
        holder.communicate("")


def test_a_switch_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    """vswitchd is there and fails: the error says what it said, and the half lab goes."""
    shutil.copy("/bin/false", tmp_path / "ovs-vswitchd")
    with aifab_run(tmp_path, prefix=["env", f"PATH={tmp_path}:{os.environ['PATH']}"]) as it:
        assert it.end() == 1
        assert "ovs-vswitchd" in it.text
        assert "Traceback" not in it.text
        assert it.meta["status"] == "failed"
        wait_for("a clean machine", lambda: not it.left(), 2.0)
