"""Taking a lab away: exactly what its journal names, in the order in which nothing is left behind.

Used at the end of every run and, after a SIGKILL, by `aifab clean`. Nothing is found by a name
pattern: processes by recorded pid and start time, because they live in a recorded namespace, or (of a
dead owner) because they carry its mark; namespaces by recorded name; files by the lab's own directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from topologies.lab.host_limits import release_settings
from topologies.lab.journal import Journal, Process, all_labs, process_start, programs_of
from topologies.lab.shell import run

TERM_WAIT = 2.0     # seconds between asking and forcing


def _namespace_ids(names: Iterable[str]) -> set[tuple[int, int]]:
    """(device, inode) of each namespace that exists."""
    found = set()
    for name in names:
        with contextlib.suppress(OSError):
            stat = Path(f"/run/netns/{name}").stat()
            found.add((stat.st_dev, stat.st_ino))
    return found


def _inhabitants(ids: set[tuple[int, int]]) -> list[Process]:
    """Processes whose network namespace is one of ours."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "ns/net").stat()
        except OSError:
            continue
        start = process_start(int(entry.name))
        if (stat.st_dev, stat.st_ino) in ids and start is not None:
            found.append(Process(int(entry.name), start))
    return found


def _signal(processes: Iterable[Process], number: int) -> None:
    for p in processes:
        if p.alive and p.pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(p.pid, number)


def end_processes(processes: list[Process], wait: float = TERM_WAIT) -> None:
    """Ask with SIGTERM, then force with SIGKILL. Only these, by pid and start time."""
    _signal(processes, signal.SIGTERM)
    deadline = time.monotonic() + wait
    while any(p.alive for p in processes) and time.monotonic() < deadline:
        time.sleep(0.01)
    _signal(processes, signal.SIGKILL)
    deadline = time.monotonic() + wait
    while any(p.alive for p in processes) and time.monotonic() < deadline:
        time.sleep(0.01)


def take_down(journal: Journal) -> None:
    """Remove a lab. May be called again after an interruption, and on a lab that is half built."""
    names, owner = journal.namespaces, journal.owner
    if owner is not None and not owner.alive:       # an `ip` that it has left behind would go on making things
        end_processes(list(programs_of(owner)))
    end_processes([*journal.processes, *_inhabitants(_namespace_ids(names))])
    existing = [n for n in names if Path(f"/run/netns/{n}").exists()]
    if existing:
        run("ip", "-force", "-batch", "-", text="".join(f"netns del {n}\n" for n in existing), check=False)
    release_settings(journal.lab)
    shutil.rmtree(journal.directory, ignore_errors=True)


def left_over() -> list[Journal]:
    """Labs whose owner is gone: `aifab clean` takes these away."""
    return [j for j in all_labs() if j.owner is None or not j.owner.alive]


def clean(everything: bool = False) -> list[str]:
    """Take away left-over labs; with `everything`, running ones too (their owner first). Their ids."""
    labs = list(all_labs()) if everything else left_over()
    for journal in labs:
        owner = journal.owner
        if everything and owner is not None and owner.alive:
            end_processes([owner], wait=10.0)
        take_down(journal)
    return [j.lab for j in labs]
