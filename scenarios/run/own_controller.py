"""A lab under a user's own os-ken application (controller/southbound/application.py)."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from controller.northbound import sockets
from topologies.access import start
from topologies.lab.clean import end_processes
from topologies.lab.journal import Journal, Process, process_start
from topologies.lab.network import LabNetwork, running
from topologies.model.errors import LabError, RunError
from topologies.model.fabric import Fabric
from topologies.model.inventory import CONTROLLER_SOCKET

CONNECTED = 30.0        # seconds for all switches to connect
_MODULE = "controller.southbound.application"


def check_application(path: Path) -> None:
    """Whether a file is an os-ken application, seen by a process of its own. Raises LabError with its words."""
    done = subprocess.run(start.command(_MODULE, str(path)), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise RefusedError(done.stderr.strip() or f"{path}: exit code {done.returncode}")


class RefusedError(LabError):
    """What the process said, in its words."""

    def __init__(self, text: str) -> None:
        super().__init__("", "", "")
        self._text = text

    def __str__(self) -> str:
        return self._text


@contextmanager
def lab_of_application(fabric: Fabric, path: Path) -> Iterator[tuple[LabNetwork, Callable[[], None]]]:
    """Bring a fabric up under an application; with a function that raises RunError once the application has ended.

    The application's output is ours. Raises LabError for what is none, before anything is made.
    """
    check_application(path)
    with ExitStack() as ends:
        ready, told = os.pipe()
        ends.callback(os.close, ready)
        started: list[subprocess.Popen[bytes]] = []

        def begin(journal: Journal) -> None:
            started.append(_start(journal, path, told))
            ends.callback(started[0].wait)      # ended with the lab, whatever becomes of the fabric

        try:
            net = ends.enter_context(running(fabric, begin))
        finally:
            os.close(told)
        ends.callback(_end, started[0])
        with suppress(BrokenPipeError), cast(IO[bytes], started[0].stdin) as pipe:
            pipe.write(b"go\n")
        _wait_connected(started[0], ready, path)

        def look() -> None:
            if started[0].poll() is not None:
                raise RunError(f"the controller {path}", "a running process",
                               f"it ended with exit code {started[0].returncode}")

        yield net, look


def _start(journal: Journal, path: Path, told: int) -> subprocess.Popen[bytes]:
    with sockets.listener(str(journal.directory / CONTROLLER_SOCKET)) as switches:
        process = subprocess.Popen(
            [*start.command(_MODULE, str(path.resolve()), "--inventory", str(journal.directory / "inventory.json")),
             "--switches", str(switches.fileno()), "--ready", str(told)],
            pass_fds=[switches.fileno(), told], stdin=subprocess.PIPE, start_new_session=True)
    journal.note_process(process.pid, "controller")
    return process


def _wait_connected(process: subprocess.Popen[bytes], ready: int, path: Path) -> None:
    if not select.select([ready], [], [], CONNECTED)[0]:
        raise RunError(f"the controller {path}", f"all switches connected within {CONNECTED:g} s", "not yet")
    if not os.read(ready, 1):
        raise RunError(f"the controller {path}", "a running process", f"it ended with exit code {process.wait()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    began = process_start(process.pid)
    if began is not None:
        end_processes([Process(process.pid, began)])
