"""What goes into the VM and comes back: tars on bare virtio disks."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import py_compile
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from topologies.model.errors import RunError
from vm.steps import Step

# As Vagrant syncs the folder (see the Vagrantfile), and what only wastes room.
LEFT_OUT = {".git", ".venv", "runs", "vm-results", "bench-results"}
CACHES = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
RESULTS_SIZE = 1 << 30      # bytes, sparse


def pack(path: Path, repository: Path, steps: Sequence[Step]) -> None:
    """The job: `run` starts it, src/ is the repository, steps.json what to do."""
    with tarfile.open(path, "w") as tar:
        tar.add(repository / "vm" / "guest" / "run", "run")
        text = json.dumps([asdict(s) for s in steps]).encode()
        entry = tarfile.TarInfo("steps.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
        tar.add(repository, "src", filter=_wanted)
        _add_bytecode(tar, repository)


def _add_bytecode(tar: tarfile.TarFile, repository: Path) -> None:
    """What Python would keep beside its sources: an emulated processor takes long to compile them.

    A guest with another version of Python finds none for itself and compiles them.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for source in _sources(repository):
            inside = Path(importlib.util.cache_from_source(str(source.relative_to(repository))))
            with contextlib.suppress(py_compile.PyCompileError):    # the guest says it better
                compiled = py_compile.compile(str(source), f"{scratch}/{inside.name}", doraise=True)
                tar.add(str(compiled), f"src/{inside}", filter=_as_root)


def _sources(repository: Path) -> Iterator[Path]:
    for folder in sorted(f for f in repository.iterdir() if f.is_dir() and f.name not in LEFT_OUT | CACHES):
        yield from sorted(folder.rglob("*.py"))


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(entry.name).parts[1:]
    if parts and (parts[0] in LEFT_OUT or CACHES & set(parts)):
        return None
    return _as_root(entry)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def empty(path: Path) -> None:
    """A sparse disk for the results."""
    with path.open("wb") as disk:
        disk.truncate(RESULTS_SIZE)


def unpack(path: Path, directory: Path) -> None:
    """What the job left in results/. Raises RunError if the guest wrote nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    # The program tar, which never leaves the directory; the module learned that after Python 3.11.2.
    subprocess.run(["tar", "xf", str(path), "-C", str(directory)], capture_output=True, check=False)
    if not (directory / "steps.json").exists():
        raise RunError("the VM's results", "an archive on its results disk", "none",
                       f"the guest did not get that far: see {directory / 'console.log'}")
