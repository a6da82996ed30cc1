"""The ends of processes, and who is at the other end of a unix socket."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from controller.southbound import processes
from topologies.switches.ovs.management.process import is_switch

TIMEOUT = 5.0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until its standard input ends."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    yield process
    process.kill()
    process.communicate(timeout=TIMEOUT)


def end_of(pid: int) -> threading.Event:
    ended = threading.Event()
    processes.when_ended(pid, ended.set)
    return ended


def test_an_end_is_reported_when_it_comes_even_if_nobody_has_asked_for_the_exit_status(
        child: subprocess.Popen[bytes]) -> None:
    ended = end_of(child.pid)
    assert not ended.wait(0.05)
    child.kill()
    assert ended.wait(TIMEOUT)
    assert child.returncode is None


def test_an_end_before_the_question_is_reported_too(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait(TIMEOUT)
    assert end_of(child.pid).wait(TIMEOUT)


def test_a_process_with_another_name_is_no_switch(child: subprocess.Popen[bytes]) -> None:
    assert not is_switch(child.pid)
    assert not is_switch(2**22 + 1), "more than the kernel's largest pid"


def test_the_other_end_of_a_unix_socket_has_a_pid() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert processes.peer(one) == os.getpid()
