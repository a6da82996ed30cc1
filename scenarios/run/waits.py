"""Polling to a named time-out; nothing in aifab sleeps for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from topologies.model.errors import RunError

T = TypeVar("T")
STEP = 0.01     # seconds between two looks


def wait_for(what: str, look: Callable[[], T | None], timeout: float, hint: str = "",
             step: float = STEP) -> T:
    """The first result of `look` that is true. Raises RunError that names `what` after `timeout` s."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise RunError(what, f"within {timeout:g} s", "not yet", hint)
        time.sleep(step)
