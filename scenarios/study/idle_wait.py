"""Waiting until the hypervisor leaves the machine alone: what it has spoilt once it would spoil again.

Time is stolen from who wants it, so an idle machine shows nothing: all processors are kept busy while it is measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from topologies.proof.cpu import Machine

CALM = 0.03         # stolen share of a look, below the 5 % that a run's verdict bears
LOOK = 1.0          # seconds that all processors are busy
PAUSE = 9.0         # seconds from one look to the next
LOOKS = 2           # calm ones in a row
PATIENCE = 180.0    # seconds after which there is no more waiting: then the verdict has to tell


def wait_until_idle(look: Callable[[], float] | None = None, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until two looks in a row find the machine calm; False when patience has run out."""
    look, calm, waited = look or stolen, 0, 0.0
    while waited < PATIENCE:
        calm = calm + 1 if look() < CALM else 0
        if calm == LOOKS:
            return True
        sleep(PAUSE)
        waited += LOOK + PAUSE
    return False


def stolen() -> float:
    """Share of the processors' time that the hypervisor takes from a machine that is busy for a second."""
    machine = Machine()
    children = [_spin() for _ in range(os.cpu_count() or 1)]
    for child in children:
        os.waitpid(child, 0)
    return machine.step().steal


def _spin() -> int:
    """Pid of a child that is busy for a look; it runs nothing of ours, not even exit handlers."""
    child = os.fork()
    if child == 0:
        end = time.monotonic() + LOOK
        while time.monotonic() < end:
            pass
        os._exit(0)
    return child
