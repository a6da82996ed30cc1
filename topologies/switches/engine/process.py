"""The engine's process and its OpenFlow agent: how they start, and which ones they are."""

from __future__ import annotations

import os
import random
import select
import subprocess
import time
from pathlib import Path

from topologies.access import files, start
from topologies.lab.journal import process_start
from topologies.model.errors import HostError
from topologies.model.inventory import Inventory
from topologies.switches.datapath import Site
from topologies.switches.engine import attach, build, config, counters
from topologies.switches.engine.layout import layout_of
from topologies.switches.engine.management.process import SOCKET

CONFIG, LOG, PID = "fabricd.conf", "fabricd.log", "fabricd.pid"     # in a lab's directory
AGENT_LOG, AGENT_PID = "agent.log", "agent.pid"
ENDING = 0.5            # seconds that the end of a process may take
READY = 30.0            # seconds for the engine to make its devices
_started: list[subprocess.Popen[bytes]] = []    # their standard input is open as long as we live: then they end


def start_engine(site: Site) -> int:
    """Start the engine of a fabric whose namespaces exist, until hosts have their devices. Its pid."""
    directory = site.journal.directory
    lines = config.config_lines(site.fabric, site.netns, _memory(), attach.engine_processor(), random.getrandbits(32))
    (directory / CONFIG).write_text("".join(f"{line}\n" for line in lines))
    layout_of(site.fabric).save(directory)
    command = [str(build.program()), *(str(directory / name) for name in (SOCKET, counters.FILE, CONFIG))]
    with os.fdopen(files.append(directory / LOG), "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                   start_new_session=True)
    site.journal.note_process(process.pid, "fabricd, the fabric engine")
    (directory / PID).write_text(str(process.pid))
    _keep(process)
    _wait_ready(process, directory / LOG)
    return process.pid


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _keep(process: subprocess.Popen[bytes]) -> None:
    """Hold its standard input open; those that have ended are let go, with their exit codes taken."""
    _started[:] = [p for p in _started if p.poll() is None]
    _started.append(process)


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.stdout is None:
        raise ValueError("its standard output is no pipe")
    readable, _, _ = select.select([process.stdout], [], [], READY)
    said = process.stdout.readline().decode(errors="replace").strip() if readable else f"nothing within {READY:g} s"
    if said != "ready":
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or [said or "it ended without a word"]
        raise HostError("the fabric engine", "'ready' when hosts have their devices", last[0][:300],
                        f"its log is {log}")


def start_agent(inventory: Inventory) -> int:
    """Start what speaks OpenFlow for the switches of a lab whose inventory is written. Its pid."""
    directory = Path(inventory.directory)
    command = start.command("topologies.switches.engine.agent", "--inventory", str(directory / "inventory.json"),
                            "--engine", str(directory / SOCKET))
    with os.fdopen(files.append(directory / AGENT_LOG), "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    (directory / AGENT_PID).write_text(str(process.pid))
    _keep(process)
    return process.pid


def pid_in(directory: Path, file: str = PID) -> int:
    """Of the process whose pid a file in a lab's directory has; 0 where it has ended."""
    try:
        pid = int((directory / file).read_text())
    except (OSError, ValueError):
        return 0
    return pid if process_start(pid) is not None else 0


def engine_pid(inventory: Inventory) -> int:
    """Of the lab's engine; 0 where it has ended."""
    return pid_in(Path(inventory.directory))


def ended(inventory: Inventory) -> str:
    """A sentence about what has ended of the two, with its last words; '' while both run."""
    directory = Path(inventory.directory)
    if pid_in(directory) and pid_in(directory, AGENT_PID):
        return ""
    deadline = time.monotonic() + ENDING
    while pid_in(directory) and time.monotonic() < deadline:    # the agent ends with the engine, and may be first
        time.sleep(0.01)
    if not pid_in(directory):
        return f"the fabric engine has ended{_last_words(directory / LOG)}"
    return f"its OpenFlow agent has ended{_last_words(directory / AGENT_LOG)}"


def _last_words(log: Path) -> str:
    """The last line of a log, in parentheses; '' if there is none."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f" ({lines[-1][:200]})" if lines else ""
