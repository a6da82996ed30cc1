"""What a lab leaves behind when it is killed outright, and that cleaning takes exactly this."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.run.lab import Lab
from scenarios.run.waits import wait_for
from tests.lab.fabric_lab import Traces, holders
from topologies.access.netns import get_sysctl
from topologies.lab.clean import clean, left_over
from topologies.lab.host_limits import SYSCTLS
from topologies.lab.journal import Journal, Process, all_labs, process_start

pytestmark = [pytest.mark.lab, pytest.mark.alone]

HOLDER = """
import sys
from scenarios.run.lab import lab
from topologies.model.spec import FabricSpec
print("go", flush=True)
with lab(FabricSpec(name="killed", leaves=2, spines=2, hosts_per_leaf=4)) as it:
    it.net.get("h1").cmd("sleep 1000 &")
    print("up", flush=True)
    sys.stdin.read()
"""
MOMENTS = [round(random.Random(7).uniform(0, 1.2), 3) for _ in range(12)]      # noqa: S311 - repeatable on purpose
PING = "ping -c1 -W2"


def _start(until: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == until:
            return process
    raise AssertionError(f"it ended before it said {until}")


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def _of(owner: int) -> Journal | None:
    return next((j for j in all_labs() if j.owner is not None and j.owner.pid == owner), None)


@pytest.fixture
def similar() -> Iterator[str]:
    """A namespace of somebody else that is named as one of ours could be, with a process in it."""
    name = f"af{os.getpid():04x}-h1"
    subprocess.run(["ip", "netns", "add", name], check=True)
    sleeper = subprocess.Popen(["ip", "netns", "exec", name, "sleep", "1000"])
    yield name
    assert Path(f"/run/netns/{name}").exists(), "cleaning left the foreign namespace alone"
    assert sleeper.poll() is None, "and the process in it"
    sleeper.kill()
    sleeper.wait()
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_lab_killed_at_any_moment_is_taken_away_whole(moment: float, small_lab: Lab, similar: str) -> None:
    process = _start("go")
    time.sleep(moment)
    _kill(process)
    journal = _of(process.pid)
    names = journal.namespaces if journal else []
    processes = journal.processes if journal else []
    taken = clean()
    assert journal is None or journal.lab in taken
    assert _of(process.pid) is None
    assert [n for n in names if Path(f"/run/netns/{n}").exists()] == []
    assert [p.what for p in processes if p.alive] == []
    assert journal is None or journal.lab not in holders()
    assert small_lab.inventory.lab in holders()
    assert similar not in names
    assert "1 received" in small_lab.net.get("h1").cmd(PING, small_lab.fabric.host("h5").ip)


def test_a_lab_killed_while_it_runs_is_taken_away_with_what_users_started_in_it(small_lab: Lab) -> None:
    process = _start("up")
    journal = _of(process.pid)
    assert journal is not None
    traces = Traces(tuple(journal.namespaces), tuple(journal.processes), journal.directory)
    inside = [Process(pid, process_start(pid) or 0) for name in traces.namespaces
              for pid in map(int, subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True,
                                                 check=True).stdout.split())]
    assert len(inside) >= 2 * 4 + 2, "the switches, the shell of h1 and its sleep"
    _kill(process)
    assert journal.lab in {j.lab for j in left_over()}
    assert journal.lab in clean()
    assert traces.left() == []
    assert [p.pid for p in inside if p.alive] == []
    assert journal.lab not in clean(), "nothing to do a second time"
    assert get_sysctl("net.core.wmem_default") == str(SYSCTLS["net.core.wmem_default"]), "another lab holds it"


def test_cleaning_leaves_a_lab_alone_whose_owner_lives(small_lab: Lab) -> None:
    process = _start("up")
    try:
        journal = _of(process.pid)
        assert journal is not None
        assert journal.lab not in clean()
        assert all(p.alive for p in journal.processes)
    finally:
        process.communicate("", timeout=30)
    assert _of(process.pid) is None


def test_a_recorded_pid_that_another_process_has_now_is_not_ended() -> None:
    """The record names a process by pid and start time; a stranger has the pid today."""
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        journal = Journal.create("test of recycled pids")
        start = process_start(stranger.pid)
        assert start is not None
        journal.note(process=stranger.pid, start=start - 1, what="gone")
        journal.directory.joinpath("journal.jsonl").write_text(
            journal.directory.joinpath("journal.jsonl").read_text().replace(
                f'"owner": {os.getpid()}', '"owner": 4194305'))
        assert journal.lab in clean()
        assert stranger.poll() is None
        stranger.kill()
    assert not journal.directory.exists()


def test_killed_by_a_signal_that_can_be_reported_it_tidies_by_itself() -> None:
    process = _start("up")
    journal = _of(process.pid)
    assert journal is not None
    traces = Traces(tuple(journal.namespaces), tuple(journal.processes), journal.directory)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    wait_for("the lab to be gone", lambda: not traces.left(), 5.0)


def test_a_program_that_outlives_its_killed_lab_makes_nothing_after_the_cleaning(tmp_path: Path) -> None:
    """The kill comes while `ip` makes the namespaces: it goes on by itself unless it is ended as well."""
    slow = tmp_path / "ip"
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nsleep 1\nexec {shutil.which('ip')} \"$@\"\n")
    slow.chmod(0o755)
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as process:
        wait_for("the lab to call ip", (tmp_path / "called").exists, 20.0)
        process.kill()
    journal = _of(process.pid)
    assert journal is not None
    names = journal.namespaces
    assert len(names) > 10
    assert journal.lab in clean()
    time.sleep(1.5)     # longer than the slow program: what it does must not come after the cleaning
    assert [n for n in names if Path(f"/run/netns/{n}").exists()] == []
