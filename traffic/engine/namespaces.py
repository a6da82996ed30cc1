"""Entering a host's namespace, and what the process of the engine asks of the kernel for itself."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from topologies.model.errors import HostError, LabError

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _setns(fd: int) -> None:
    if _libc().setns(fd, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise HostError("network namespaces", "the right to enter a host's namespace", os.strerror(code), "run as root")


@contextmanager
def inside(path: str) -> Iterator[None]:
    """This thread is in the network namespace `path` (/run/netns/NAME) until the block ends.

    Keep the block short and without await: everything on this thread is in there.
    """
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(path, "the network namespace of a host of a running lab", os.strerror(error.errno or 0),
                       "is the lab still up?") from None
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(there)
        try:
            yield
        finally:
            _setns(here)
    finally:
        os.close(there)
        os.close(here)


def allow_descriptors(count: int) -> None:
    """Raise this process' limit of open files to at least `count`. Raises HostError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (OSError, ValueError) as error:
        raise HostError("open files", f"a limit of {count} for the connections of this run", f"{soft} ({error})",
                        "raise it with ulimit -n, or run fewer ranks or flows_per_pair") from None


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when the thread that started it ends."""
    _libc().prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def run_beside_switches() -> None:
    """Give this process the priority of the switches, where that is allowed.

    It stands for the hosts, which have processors of their own; behind the switches it would wait for
    them (docs/decisions/015-switches-run-first.md).
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
