"""Records of what labs made, and global settings that labs count each other for, on a directory of our own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from topologies.lab import host_limits, journal
from topologies.lab.clean import end_processes, left_over
from topologies.lab.host_limits import hold_settings, measuring_lock, release_settings
from topologies.lab.journal import Journal, Process, own_mark, process_start, programs_of
from topologies.model.errors import HostError

KEY = "net.core.wmem_default"
OTHER = "net.core.rmem_default"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(journal, "BASE", tmp_path)
    return tmp_path


@pytest.fixture
def kernel(base: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings of a machine that is not this one."""
    values = {KEY: "212992", OTHER: "212992"}

    def put(key: str, value: str | int) -> None:
        values[key] = str(value)
    monkeypatch.setattr(host_limits, "MODULE_PARAMETERS", {})
    monkeypatch.setattr(host_limits, "SYSCTLS", {KEY: 67108864, OTHER: 8388608})
    monkeypatch.setattr(host_limits, "get_sysctl", values.__getitem__)
    monkeypatch.setattr(host_limits, "set_sysctl", put)
    return values


def test_what_was_noted_is_read_back(base: Path) -> None:
    made = Journal.create("fabric x")
    made.note_all([{"netns": "afx-h1"}, {"netns": "afx-h2"}])
    made.note_process(os.getpid(), "this test")
    again = Journal(made.directory)
    assert again.namespaces == ["afx-h1", "afx-h2"]
    assert again.owner == Process(os.getpid(), process_start(os.getpid()) or 0, "fabric x")
    assert [p.what for p in again.processes] == ["this test"]
    assert again.processes[0].alive


def test_a_line_cut_by_a_kill_is_left_out_and_the_rest_holds(base: Path) -> None:
    made = Journal.create("fabric x")
    made.note(netns="afx-h1")
    path = made.directory / "journal.jsonl"
    path.write_text(path.read_text() + '{"netns": "afx-')
    assert made.namespaces == ["afx-h1"]


def test_two_labs_have_ids_of_their_own(base: Path) -> None:
    assert len({Journal.create("x").lab for _ in range(50)}) == 50


def test_a_state_directory_that_cannot_be_made_asks_for_root(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "file").touch()
    monkeypatch.setattr(journal, "BASE", base / "file")
    with pytest.raises(HostError) as caught:
        Journal.create("x")
    assert caught.value.where == str(base / "file")
    assert "sudo" in caught.value.hint


def test_a_state_directory_that_others_can_fill_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its journals name is ended and removed."""
    state = base / "state"
    monkeypatch.setattr(journal, "BASE", state)
    Journal.create("x")
    state.chmod(0o777)
    for use in (lambda: Journal.create("x"), lambda: list(journal.all_labs())):
        with pytest.raises(HostError, match="expected a directory that only its owner can write"):
            use()
    state.chmod(0o755)
    state.rename(base / "away")
    state.symlink_to(base / "away")
    with pytest.raises(HostError, match="mode l"):
        list(journal.all_labs())


def test_only_labs_of_dead_owners_are_left_over(base: Path) -> None:
    mine, dead = Journal.create("mine"), Journal.create("dead")
    path = dead.directory / "journal.jsonl"
    path.write_text(path.read_text().replace(f'"owner": {os.getpid()}', '"owner": 4194305'))
    assert [j.lab for j in left_over()] == [dead.lab]
    assert mine.owner is not None
    assert mine.owner.alive


def test_a_pid_with_another_start_time_is_another_process() -> None:
    start = process_start(os.getpid())
    assert start is not None
    assert Process(os.getpid(), start).alive
    assert not Process(os.getpid(), start - 1).alive


def test_ending_processes_ends_these_and_no_others() -> None:
    stubborn = subprocess.Popen(["sh", "-c", "trap '' TERM; echo set; while :; do sleep 0.05; done"],
                                stdout=subprocess.PIPE)
    with stubborn, subprocess.Popen(["sleep", "100"]) as other:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        end_processes([Process(stubborn.pid, process_start(stubborn.pid) or 0),
                       Process(other.pid, (process_start(other.pid) or 0) - 1)], wait=0.1)
        assert stubborn.wait(5) == -9
        assert other.poll() is None
        other.kill()


def test_programs_carry_the_mark_of_who_ran_them() -> None:
    me = Process(os.getpid(), process_start(os.getpid()) or 0)
    with subprocess.Popen(["sleep", "100"], env=os.environ | own_mark()) as marked, \
            subprocess.Popen(["sleep", "100"]) as unmarked:
        found = {p.pid for p in programs_of(me)}
        earlier = {p.pid for p in programs_of(Process(me.pid, me.start - 1))}
        marked.kill()
        unmarked.kill()
    assert marked.pid in found
    assert unmarked.pid not in found
    assert marked.pid not in earlier


def test_the_first_lab_sets_and_the_last_restores(kernel: dict[str, str]) -> None:
    before = dict(kernel)
    wanted = {KEY: "67108864", OTHER: "8388608"}
    hold_settings("aaaa")
    hold_settings("bbbb")
    assert kernel == wanted
    release_settings("aaaa")
    assert kernel == wanted
    release_settings("aaaa")
    assert kernel == wanted, "twice by one lab is once"
    release_settings("bbbb")
    assert kernel == before
    hold_settings("cccc")
    assert kernel == wanted, "and from the start again"


def test_a_setting_that_somebody_changed_meanwhile_is_theirs(kernel: dict[str, str]) -> None:
    hold_settings("aaaa")
    kernel[KEY] = "1000000"
    release_settings("aaaa")
    assert kernel == {KEY: "1000000", OTHER: "212992"}


def test_a_kill_between_two_settings_loses_no_old_value(
        kernel: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(kernel)
    real = host_limits.set_sysctl

    def killed(key: str, value: str | int) -> None:
        real(key, value)
        raise SystemExit
    monkeypatch.setattr(host_limits, "set_sysctl", killed)
    with pytest.raises(SystemExit):
        hold_settings("aaaa")
    assert kernel != before
    monkeypatch.setattr(host_limits, "set_sysctl", real)
    release_settings("aaaa")
    assert kernel == before


def test_the_measuring_lock_is_held_by_one_and_names_it(base: Path) -> None:
    with measuring_lock():
        with pytest.raises(HostError) as caught, measuring_lock():
            pass
        assert caught.value.found == f"one by process {os.getpid()}"
        assert "--no-lock" in caught.value.hint
    with measuring_lock():
        pass


def test_a_module_parameter_is_held_and_given_back_like_a_sysctl(kernel: dict[str, str], tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    parameter = tmp_path / "htb_hysteresis"
    parameter.write_text("0\n")
    monkeypatch.setattr(host_limits, "MODULE_PARAMETERS", {str(parameter): 1, str(tmp_path / "absent"): 1})
    monkeypatch.setattr(host_limits, "find_program", lambda _name: "true")
    host_limits.hold_settings("one")
    host_limits.hold_settings("two")
    host_limits.release_settings("one")
    assert parameter.read_text() == "1"
    host_limits.release_settings("two")
    assert parameter.read_text().strip() == "0"
