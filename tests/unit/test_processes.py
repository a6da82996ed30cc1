"""What processes of ours tell each other, and what they ask of the kernel for themselves."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scenarios.run.child import Child
from topologies.access.events import Done, Event, Failed, Iteration, Progress, Ready, Standing, emit, parse
from topologies.access.process import allow_files, die_with_parent
from topologies.model.errors import HostError, LabError

STANDING: Standing = {"workload": "w", "ranks": (0, 1), "number": 0, "src": "h1", "dst": "h2", "protocol": "tcp",
                      "sport": 10_000, "dport": 7_000}


@pytest.mark.parametrize("event", [
    Ready(), Ready({"sender": 7}), Progress("w", 3, None, 2, 1), Progress("w", 0, 0), Iteration("w", -1, 0.5),
    Failed("here", "this", "that"), Done(), Done([{"stream": "s", "lost": 0}])])
def test_an_event_is_read_as_it_was_written(event: Event, capfd: pytest.CaptureFixture[str]) -> None:
    emit(event)
    (line,) = capfd.readouterr().out.splitlines()
    assert parse(line) == event


def test_connections_that_stand_are_told_whole(capfd: pytest.CaptureFixture[str]) -> None:
    emit(Ready(connections=[STANDING] * 1000))      # more than a pipe holds at once
    told = parse(capfd.readouterr().out)
    assert isinstance(told, Ready)
    assert [{**c, "ranks": tuple(c["ranks"])} for c in told.connections] == [STANDING] * 1000


@pytest.mark.parametrize("line", ["", "Traceback", "[]", "7", '{"event":"applause"}', '{"event":["done"]}',
                                  '{"event":"progress","workload":"w"}'])
def test_a_line_that_is_no_event_is_none(line: str) -> None:
    assert parse(line) is None


def test_what_a_reader_does_not_know_is_passed_over() -> None:
    assert parse('{"event":"done","applause":true}') == Done()


def test_an_event_that_nobody_reads_ends_nothing() -> None:
    program = "from topologies.access.events import Done, emit; emit(Done()); emit(Done())"
    done = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert done.stdout is not None
    done.stdout.close()
    assert done.wait() == 0


def test_a_child_that_ends_without_a_word_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = Child("quiet", "the quiet one", "tests.nowhere", logs=tmp_path)
    with pytest.raises(LabError, match=r"the quiet one: expected 'ready' .*tests") as caught:
        child.ready(30)
    child.end()
    assert caught.value.hint == f"its log is {tmp_path / 'quiet.log'}"
    assert child.watched == {"quiet": child.pid}


def test_a_forked_child_whose_parent_has_ended_meanwhile_ends_at_once() -> None:
    pid = os.fork()
    if pid == 0:
        die_with_parent(signal.SIGKILL, parent=os.getpid())     # which its parent is not
        time.sleep(60)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_the_limit_of_open_files_is_raised_once_and_never_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (1024, 4096)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _what: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _what, wanted: asked.append(wanted))
    allow_files(1000, "sockets", "fewer")
    allow_files(2000, "sockets", "fewer")
    allow_files(5000, "sockets", "fewer")
    assert asked == [(2000, 4096), (5000, 5000)]


def test_more_files_than_the_kernel_allows_are_refused_with_a_way_out() -> None:
    most = int(Path("/proc/sys/fs/nr_open").read_text()) + 1
    with pytest.raises(HostError, match=f"a limit of {most} for sockets; found .*\n.*fewer, or a higher limit"):
        allow_files(most, "sockets", "fewer")
