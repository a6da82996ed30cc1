"""A line on standard input starts a process of traffic; its events are in topologies/access/events.py."""

from __future__ import annotations

import asyncio
import os
import sys

INTERRUPTED = 130       # exit code of a phase that was ended from outside


def go_line(loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    """Done when a line has come on stdin; EOFError when stdin ended without one."""
    go: asyncio.Future[None] = loop.create_future()
    stdin = sys.stdin.fileno()
    seen = bytearray()

    def read() -> None:
        data = os.read(stdin, 4096)
        seen.extend(data)
        if b"\n" in data or not data:
            loop.remove_reader(stdin)
            if go.done():
                return
            if b"\n" in seen:
                go.set_result(None)
            else:
                go.set_exception(EOFError("stdin ended before a line to start by"))

    try:
        loop.add_reader(stdin, read)
    except PermissionError:     # a file or /dev/null cannot be polled, and never blocks
        loop.remove_reader(stdin)
        if b"\n" in os.read(stdin, 4096):
            go.set_result(None)
        else:
            go.set_exception(EOFError("stdin ended before a line to start by"))
    return go
