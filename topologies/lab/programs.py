"""Where the programs of this machine are."""

from __future__ import annotations

import os
import shutil

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def absolute_path() -> str:
    """PATH without what depends on the working directory: there anybody's file could have a program's name."""
    return os.pathsep.join(p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if p.startswith("/"))


def find_program(name: str) -> str | None:
    """Path of a program; also looks where a user's PATH may not."""
    return shutil.which(name, path=absolute_path()) or shutil.which(name, path=_SBIN)
