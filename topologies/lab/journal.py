"""What a lab has made on this machine, written down *before* it is made.

    /run/aifab/
        labs/<id>/journal.jsonl   one line per namespace and process, first line: the owner
        labs/<id>/...             inventory, sockets, a directory per switch
        sysctl.json               global settings that labs hold, with the values to go back to
        measure.lock              held by the one measuring run

A lab that dies by SIGKILL leaves its journal; `clean` reads it and removes exactly what it names.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from topologies.model.errors import HostError

BASE = Path(os.environ.get("AIFAB_STATE", "/run/aifab"))
_ALPHABET = string.ascii_lowercase + string.digits


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks after boot, or None if it is gone. With the pid it is
    a name that is never given twice."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rsplit(")", 1)[1].split()
    return None if fields[0] in "ZX" else int(fields[19])


@dataclass(frozen=True)
class Process:
    """A process by pid and start time."""

    pid: int
    start: int
    what: str = ""

    @property
    def alive(self) -> bool:
        return process_start(self.pid) == self.start


OWNER_MARK = "AIFAB_OWNER"      # in the environment of every program that a lab runs to build itself


def own_mark() -> dict[str, str]:
    """The mark of this process: a program that outlives it (SIGKILL) can be recognised by that."""
    return _mark(Process(os.getpid(), process_start(os.getpid()) or 0))


def _mark(owner: Process) -> dict[str, str]:
    return {OWNER_MARK: f"{owner.pid}:{owner.start}"}


def programs_of(owner: Process) -> Iterator[Process]:
    """Living programs that were started with the mark of `owner`."""
    wanted = next(f"{name}={value}".encode() for name, value in _mark(owner).items())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        start = process_start(int(entry.name))
        if wanted in words and start is not None:
            yield Process(int(entry.name), start)


class Journal:
    """One lab's record; `lab` is its id, `directory` its files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lab = directory.name
        self._path = directory / "journal.jsonl"

    @classmethod
    def create(cls, what: str) -> Journal:
        """A new lab with an id of its own. Raises HostError without the right to write /run."""
        labs = state() / "labs"
        try:
            labs.mkdir(parents=True, exist_ok=True)
            directory = _new_directory(labs)
        except OSError as error:
            raise HostError(str(labs), "a place for the lab's records", os.strerror(error.errno or 0),
                            "labs need root: run with sudo, and see that /run is not full") from None
        journal = cls(directory)
        pid = os.getpid()
        journal.note(owner=pid, start=process_start(pid), what=what)
        return journal

    def note(self, **entry: object) -> None:
        """Append one line; it is with the kernel when this returns, so SIGKILL cannot lose it."""
        self.note_all([entry])

    def note_all(self, entries: list[dict[str, object]]) -> None:
        try:
            with self._path.open("a") as file:
                file.write("".join(json.dumps(e) + "\n" for e in entries))
        except OSError as error:
            raise HostError(str(self._path), "room for the lab's records", os.strerror(error.errno or 0),
                            "make room in /run") from None

    def note_process(self, pid: int, what: str) -> None:
        self.note(process=pid, start=process_start(pid), what=what)

    def entries(self) -> list[dict[str, object]]:
        """All complete lines; the last may be cut short by a SIGKILL and is then left out."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return []
        complete = []
        for line in text.split("\n"):
            try:
                complete.append(json.loads(line))
            except ValueError:
                continue
        return complete

    @property
    def owner(self) -> Process | None:
        return next((p for e in self.entries() if (p := _process(e, "owner"))), None)

    @property
    def namespaces(self) -> list[str]:
        return [str(e["netns"]) for e in self.entries() if "netns" in e]

    @property
    def processes(self) -> list[Process]:
        return [p for e in self.entries() if e.get("start") and (p := _process(e, "process"))]


def _process(entry: Mapping[str, object], key: str) -> Process | None:
    """The process that an entry has under a key, if it has one."""
    pid, start = entry.get(key), entry.get("start")
    return Process(pid, start if isinstance(start, int) else 0, str(entry.get("what", ""))) \
        if isinstance(pid, int) else None


def state() -> Path:
    """BASE, made if it is not there. Raises HostError for one that others could have filled: what is written in it
    is done, up to processes that are ended and settings of the machine."""
    try:
        BASE.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(str(BASE), "a place for the lab's records", os.strerror(error.errno or 0),
                        "labs need root: run with sudo, and see that /run is not full") from None
    require_own(BASE, "AIFAB_STATE")
    return BASE


def require_own(directory: Path, variable: str) -> None:
    """Raises HostError for a directory that somebody else can write. variable: of the environment, to name another."""
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {0, os.geteuid()} or found.st_mode & 0o022:
        raise HostError(str(directory), "a directory that only its owner can write, root or who runs this",
                        f"mode {stat.filemode(found.st_mode)}, owner {found.st_uid}",
                        f"remove it, or name another one in {variable}")


def _new_directory(labs: Path) -> Path:
    while True:
        directory = labs / "".join(secrets.choice(_ALPHABET) for _ in range(4))
        try:
            directory.mkdir(mode=0o755)
        except FileExistsError:
            continue
        return directory


def all_labs() -> Iterator[Journal]:
    """Every lab with a record on this machine, running or left over."""
    labs = BASE / "labs"
    if labs.is_dir():
        require_own(BASE, "AIFAB_STATE")
        for directory in sorted(labs.iterdir()):
            if directory.is_dir():
                yield Journal(directory)
