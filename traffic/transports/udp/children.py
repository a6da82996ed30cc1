"""The two forked processes: how they start, talk and end. A child's life is one function's call.

    parent ──lines──> control pipe ──> child ──JSON lines──> report pipe ──> parent
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from topologies.access.process import die_with_parent
from topologies.model.errors import LabError

PR_SET_TIMERSLACK = 29
TIMER_SLACK = 1             # ns, instead of the default 50 us
FIFO_PRIORITY = 10
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Line:
    """The child's end: what it hears and what it tells."""

    control: int
    report: int
    heard: bytes = b""

    def wait(self) -> str:
        """The next line from the parent; '' when the parent is gone."""
        while b"\n" not in self.heard:
            piece = os.read(self.control, 4096)
            if not piece:
                return ""
            self.heard += piece
        line, _, self.heard = self.heard.partition(b"\n")
        return line.decode()

    def tell(self, event: str, **body: object) -> None:
        os.write(self.report, json.dumps({"event": event, **body}).encode() + b"\n")


@dataclass
class Child:
    """The parent's end of one child."""

    name: str
    pid: int
    control: int
    report: int
    heard: bytes = b""
    reported: list[dict[str, object]] = field(default_factory=list)
    alive: bool = True

    def listen(self) -> None:
        """Take in what the child tells; call when `report` is readable."""
        piece = os.read(self.report, 65536)
        self.alive = bool(piece)
        *lines, self.heard = (self.heard + piece).split(b"\n")
        self.reported += [json.loads(line) for line in lines]

    def said(self, event: str) -> dict[str, object] | None:
        return next((t for t in self.reported if t["event"] == event), None)

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it took; 0 of one that did not finish."""
        cpu = (self.said("finished") or {}).get("cpu")
        return cpu if isinstance(cpu, float) else 0.0

    @property
    def scheduler(self) -> str:
        """What it is scheduled by; '' before it is ready."""
        return str((self.said("ready") or {}).get("scheduler", ""))

    @property
    def over(self) -> bool:
        return not self.alive or self.said("finished") is not None or self.said("failed") is not None

    def order(self, line: str) -> None:
        try:
            os.write(self.control, line.encode() + b"\n")
        except BrokenPipeError:
            self.alive = False

    def end(self) -> None:
        """End the process, by its pid, and collect it."""
        os.close(self.control)
        os.kill(self.pid, signal.SIGKILL)       # its results are in shared memory and in `reported` already
        os.waitpid(self.pid, 0)
        os.close(self.report)


def start(name: str, work: Callable[[Line], None], realtime: bool) -> Child:
    """Fork a child that runs `work` and reports `finished`, or `failed`."""
    control, report = os.pipe(), os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(control[1])
        os.close(report[0])
        _live(Line(control[0], report[1]), work, realtime, parent)
    os.close(control[0])
    os.close(report[1])
    return Child(name, pid, control[1], report[0])


def _live(line: Line, work: Callable[[Line], None], realtime: bool, parent: int) -> NoReturn:
    """All of a child. It never returns into the parent's code, whatever happens."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)       # the parent decides: Ctrl-C reaches the whole group
        die_with_parent(signal.SIGKILL, parent)
        _libc.prctl(PR_SET_TIMERSLACK, TIMER_SLACK, 0, 0, 0)
        gc.disable()
        line.tell("ready", scheduler=_scheduler(realtime))
        work(line)
        line.tell("finished", cpu=time.process_time())
    except LabError as error:
        line.tell("failed", where=error.where, expected=error.expected, found=error.found, hint=error.hint)
    except BaseException:       # a child must end here; the parent shows it as the bug of ours that it is
        line.tell("crashed", traceback=traceback.format_exc())
    finally:
        os._exit(0)


def _scheduler(realtime: bool) -> str:
    """Take SCHED_FIFO if wanted; the name of what this process got, with the reason for less."""
    if not realtime:
        return "SCHED_OTHER"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except OSError as error:
        return f"SCHED_OTHER ({os.strerror(error.errno or 0)})"
    return "SCHED_FIFO"
