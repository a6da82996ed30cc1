"""The commands around a running lab, as a user types them: up, exec, capture, and the end by a signal."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scenarios.run.waits import wait_for
from topologies.lab import journal

pytestmark = pytest.mark.lab
AIFAB = (sys.executable, "-m", "scenarios.cli")


@dataclass
class Up:
    """A running `aifab up`."""

    process: subprocess.Popen[str]
    lab: str

    @property
    def directory(self) -> Path:
        return journal.BASE / "labs" / self.lab

    def command(self, *words: str) -> list[str]:
        """A command of aifab that is about this lab."""
        return [*AIFAB, words[0], "--lab", self.lab, *words[1:]]

    def hosts(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command("exec", *words), capture_output=True, text=True, timeout=60, check=False)

    def netns(self) -> list[str]:
        inventory = json.loads((self.directory / "inventory.json").read_text())
        return [*inventory["netns"].values(), inventory["wiring"]]

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """One leaf, one spine, two hosts."""
    said = tmp_path / "up.txt"
    small = ("--set", "leaves=1", "--set", "spines=1", "--set", "hosts_per_leaf=2")
    with said.open("w") as file:
        process = subprocess.Popen([*AIFAB, "up", "small", *small], stdout=file, stderr=file, text=True,
                                   env={"PYTHONUNBUFFERED": "1", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    try:
        found = wait_for("aifab up", lambda: re.search(r"lab (\w+) is up", said.read_text()), 60)
        yield Up(process, found[1])
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_takes_its_lab_down_at_a_signal_and_leaves_nothing(up: Up, number: int) -> None:
    names = up.netns()
    assert len(names) == len({*names}) == 6      # two hosts, a probe, a leaf, a spine, the wires
    assert all(Path(f"/run/netns/{name}").exists() for name in names)
    assert up.end(number) == 0
    assert [name for name in names if Path(f"/run/netns/{name}").exists()] == []
    assert not up.directory.exists()


def test_exec_runs_on_the_host_and_hands_its_exit_code_on(up: Up) -> None:
    pinged = up.hosts("h1", "--", "ping", "-c1", "-W2", "10.9.1.2")
    assert pinged.returncode == 0, pinged.stderr
    assert "1 received" in pinged.stdout
    assert up.hosts("h1", "--", "sh", "-c", "exit 7").returncode == 7
    stranger = up.hosts("h9", "--", "true")
    assert stranger.returncode == 2
    assert "h9" in stranger.stderr
    assert "Traceback" not in stranger.stderr


def test_a_direction_is_captured_and_its_opposite_is_not_in_the_file(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "h1.pcap"
    with subprocess.Popen(up.command("capture", "leaf1->h1", "-w", str(file), "-c", "3"), stderr=subprocess.PIPE,
                          text=True) as tcpdump:
        assert tcpdump.stderr is not None
        assert "listening on" in tcpdump.stderr.readline()
        assert up.hosts("h1", "--", "ping", "-c3", "-i0.1", "-W2", "10.9.1.2").returncode == 0
        assert tcpdump.wait(30) == 0
    text = subprocess.run(["tcpdump", "-n", "-r", str(file)], capture_output=True, text=True, check=True).stdout
    assert len(text.splitlines()) == 3
    assert "10.9.1.1 > " not in text     # what h1 sent
    assert "10.9.1.2 > 10.9.1.1: ICMP echo reply" in text
