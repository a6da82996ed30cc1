"""A learner's Python file: its functions called in a process of their own, with a limit of time.

Whatever it does (raise, print, never end, exit) becomes a sentence with the line of the file. It is not caged: it runs
with the rights of who checks it, as any program of one's own; under sudo, of who called sudo.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from topologies.access import files, start
from topologies.model.errors import HostError, SpecError

LIMIT = 20.0        # seconds for all calls together
NOT_DONE = "NotImplementedError"


@dataclass(frozen=True)
class Reply:
    """What a function of a file gave back, or what went wrong; line: there, or where the function begins."""

    file: Path
    function: str
    line: int
    value: object = None
    error: str = ""

    @property
    def where(self) -> str:
        """'skeleton.py:12 name'."""
        return f"{_where(self.file, self.line)} {self.function}"

    @property
    def todo(self) -> bool:
        """Whether the function is still as the skeleton has it."""
        return self.error.startswith(NOT_DONE)


def call(file: Path, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Reply]:
    """Call functions of a file, in turn. Raises SpecError for a file that cannot be read or does not end."""
    if not file.is_file():
        raise SpecError(str(file), "a file", "no such file")
    order = {"file": str(file.absolute()), "calls": [[name, list(arguments)] for name, arguments in calls]}
    try:
        done = subprocess.run(start.command("scenarios.workshops.skeleton_child"), input=json.dumps(order),
                              capture_output=True, text=True, timeout=LIMIT, check=False, **_rights())
    except PermissionError:
        raise HostError(sys.executable, "a Python that who called sudo may run", "none",
                        "install aifab where you can read it (./provision.sh), or check as root without sudo") from None
    except subprocess.TimeoutExpired:
        raise SpecError(str(file), f"functions that answer within {LIMIT:g} s", "no answer",
                        "is there a loop without an end?") from None
    try:
        replies = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise SpecError(str(file), "Python that runs to its end", f"exit code {done.returncode}",
                        (done.stderr.splitlines() or [""])[-1]) from None
    if isinstance(replies, dict):
        raise SpecError(_where(file, replies["line"]), "Python that can be loaded", replies["error"])
    return [Reply(file, name, r["line"], r.get("value"), r.get("error", ""))
            for (name, _), r in zip(calls, replies, strict=True)]


class _Rights(TypedDict, total=False):
    """Of subprocess."""

    user: int
    group: int
    extra_groups: list[int]


def _rights() -> _Rights:
    """Those of who called sudo, for subprocess; our own where nobody did."""
    who = files.caller()
    if who is None:
        return {}
    user, group = who
    with contextlib.suppress(KeyError):
        return {"user": user, "group": group, "extra_groups": os.getgrouplist(pwd.getpwuid(user).pw_name, group)}
    return {"user": user, "group": group, "extra_groups": []}       # a user without a name


def _where(file: Path, line: int) -> str:
    return f"{file}{f':{line}' if line else ''}"
