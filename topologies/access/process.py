"""What a process of ours asks of the kernel for itself: to end with its parent, and to hold many files open."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal

from topologies.model.errors import HostError

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(by: signal.Signals = signal.SIGTERM, parent: int = 0) -> None:
    """Have the kernel send this process `by` when the thread that started it ends.

    parent: its pid, for a process that was forked; if it has ended by now, the signal comes at once.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, int(by), 0, 0, 0)
    if parent and os.getppid() != parent:
        os.kill(os.getpid(), by)


def allow_files(count: int, what: str, hint: str) -> None:
    """Raise this process's limit of open files to at least `count`. Raises HostError: what they are for, what helps."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    most = hard if hard == resource.RLIM_INFINITY else max(hard, count)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))
    except (OSError, ValueError):
        raise HostError("open files", f"a limit of {count} for {what}", f"a hard limit of {hard}",
                        f"{hint}, or a higher limit: ulimit -Hn") from None


def allow_most_files() -> None:
    """Raise the limit as far as anybody may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
