"""Files that a user names, read whole: regular ones of a bounded size only.

A pipe would block, a device may never end (/dev/zero) or do something when it is opened, and a file of /proc lies about
its size. So a name is looked at before it is opened, and no more is read than is allowed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from topologies.model.errors import SpecError

MAX_TRACE = 100_000_000     # bytes of a file that is read whole; in memory it takes some three times as much
_KINDS = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISCHR, "a device"),
          (stat.S_ISBLK, "a device"), (stat.S_ISSOCK, "a socket"))


def not_regular(mode: int) -> str:
    """What a file of this st_mode is instead of a regular one; '' for a regular one."""
    if stat.S_ISREG(mode):
        return ""
    return next((what for test, what in _KINDS if test(mode)), "no regular file")


@contextmanager
def opened(path: Path, what: str, *, name: str = "", error: type[SpecError] = SpecError) -> Iterator[BinaryIO]:
    """A regular file, open for reading. what: as errors call it, such as a trace file that can be read. Raises `error`.

    Errors while it is read are reported as those of opening it.
    """
    where = name or str(path)
    try:
        odd = not_regular(path.stat().st_mode)
        if not odd:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                odd = not_regular(os.fstat(descriptor).st_mode)     # it may be another one by now
                if not odd:
                    yield file
    except (OSError, ValueError) as problem:
        said = problem.strerror if isinstance(problem, OSError) else None
        raise error(where, what, said or str(problem)) from None
    if odd:
        raise error(where, what, odd)


def read_bounded(path: Path, what: str, most: int = MAX_TRACE, *, name: str = "", hint: str = "",
                 error: type[SpecError] = SpecError) -> bytes:
    """All bytes of a regular file, as `opened`. Raises `error`.

    most: bytes; of a file that has more, or grows while it is read, nothing is returned.
    """
    with opened(path, what, name=name, error=error) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise error(name or str(path), f"{what} of at most {most // 1000} kB", "a larger one", hint)
    return data
