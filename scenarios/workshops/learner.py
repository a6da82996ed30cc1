"""The learner's directory: started once, never written over, and marked with the workshop that it is for."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from scenarios.workshops.lesson import WORKSHOPS, find, names
from topologies.access import files
from topologies.model.document import show
from topologies.model.errors import LabError

MARK = ".workshop.json"


def start(name: str, directory: Path) -> Path:
    """Copy a workshop's README and starter into a new directory. Raises LabError."""
    return _copy(name, directory, "start")


def solve(name: str, directory: Path) -> Path:
    """Copy a workshop's README and solution into a new directory. Raises LabError."""
    return _copy(name, directory, "solution")


def explanation(name: str) -> str:
    """Why the solution is one."""
    return (WORKSHOPS / name / "solution.md").read_text()


def _copy(name: str, directory: Path, what: str) -> Path:
    """All or nothing: it is made beside and then renamed."""
    if directory.exists() or directory.is_symlink():
        raise LabError(str(directory), "a directory that is not there yet", "one that is there",
                       f"what is in it stays as it is: go on with aifab workshop check {directory}, or name another "
                       "directory")
    try:
        with tempfile.TemporaryDirectory(dir=files.make_directory(directory.parent), prefix=".aifab-") as scratch:
            part = Path(scratch) / "part"
            shutil.copytree(WORKSHOPS / name / what, part, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(WORKSHOPS / name / "README.md", part)
            (part / MARK).write_text(json.dumps({"workshop": name}) + "\n")
            files.hand_over(part, files.identity(part))
            part.rename(directory)
    except OSError as error:
        raise LabError(str(directory), "a place where a directory can be made", error.strerror or str(error),
                       "choose another one") from error
    return directory


def workshop_in(directory: Path) -> str:
    """Name of the workshop that was started in a directory. Raises LabError."""
    try:
        marked = json.loads((directory / MARK).read_text())
    except FileNotFoundError:
        raise LabError(str(directory), "a directory in which a workshop was started", _instead(directory),
                       f"start one with: aifab workshop start NAME, NAME one of {', '.join(names())}; and check it "
                       "in its directory") from None
    except (OSError, ValueError) as error:
        raise _damaged(directory, str(error)) from None
    if not isinstance(marked, dict) or not isinstance(marked.get("workshop"), str):
        raise _damaged(directory, show(marked))
    return find(marked["workshop"])


def _damaged(directory: Path, found: str) -> LabError:
    return LabError(str(directory / MARK), "the name of a workshop, in JSON", found,
                    "start the workshop again in another directory and copy your files there")


def _instead(directory: Path) -> str:
    if not directory.is_dir():
        return "no directory"
    beside = sorted(p.parent.name for p in directory.glob(f"*/{MARK}"))
    return f"none here, but in {', '.join(beside)}" if beside else "none"
