"""How a traffic process talks to the one that started it: lines of JSON out, one line in to start."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from topologies.model.errors import LabError

INTERRUPTED = 130       # exit code of a phase that was ended from outside


def emit(event: dict[str, Any]) -> None:
    """One event as a line on stdout, at once. A reader that has gone away is no reason to stop."""
    try:
        os.write(sys.stdout.fileno(), json.dumps(event, separators=(",", ":")).encode() + b"\n")
    except BrokenPipeError:
        return


def error_event(error: LabError) -> dict[str, Any]:
    """An error as the last event that the parent reads."""
    return {"event": "error", "where": error.where, "expected": error.expected, "found": error.found,
            "hint": error.hint}


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
