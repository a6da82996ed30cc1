"""Running ip, tc and their like: one place, so that every failure reads alike."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from topologies.lab.journal import own_mark
from topologies.lab.programs import find_program
from topologies.model.errors import HostError

WORKERS = 8
Item = TypeVar("Item")
Done = TypeVar("Done")


def run(*command: str, text: str = "", env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """Standard output of a command. Raises HostError with its first words on failure, if `check`."""
    program = find_program(command[0])
    if program is None:
        raise HostError("this machine", f"the program {command[0]}", "not installed", "run ./provision.sh")
    done = subprocess.run([program, *command[1:]], input=text or None, capture_output=True, text=True,
                          env={**(os.environ if env is None else env), **own_mark()}, check=False,
                          stdin=None if text else subprocess.DEVNULL)
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise HostError(" ".join(command)[:200], "success", said[:600] or f"exit code {done.returncode}")
    return done.stdout


def ip_batch(lines: Iterable[str], netns: str = "") -> None:
    """`ip -batch` in a namespace (or here)."""
    run("ip", *(("-n", netns) if netns else ()), "-batch", "-", text="".join(f"{x}\n" for x in lines))


def tc_batch(lines: Iterable[str], netns: str) -> None:
    run("tc", "-n", netns, "-batch", "-", text="".join(f"{x}\n" for x in lines))


def at_once(work: Callable[[Item], Done], items: Iterable[Item]) -> list[Done]:
    """work(item) for all items, some at a time; the first error is raised when all have ended."""
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(work, item) for item in items]
    return [f.result() for f in futures]
