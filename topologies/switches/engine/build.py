"""The engine's program: compiled once for its sources, by the distribution's C compiler, and kept.

    python -m topologies.switches.engine.build      compiles it if it is not there yet, and prints its path

The place is root's alone, for what is there is run as root (docs/decisions/044-root-in-directories-of-others.md), and
not below /run, where many systems run nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from topologies.lab.journal import require_own
from topologies.lab.programs import find_program
from topologies.model.errors import HostError

SOURCES = Path(__file__).parent / "fabricd"
CACHE = Path(os.environ.get("AIFAB_CACHE", "/var/cache/aifab"))
PROGRAM = "fabricd"
COMPILER, PACKAGES = "cc", "gcc libc6-dev"
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror")


def program() -> Path:
    """The program's path, compiled now if it has to be. Raises HostError."""
    made = own_cache() / f"{PROGRAM}-{fingerprint()}" / PROGRAM
    if not made.exists():
        with (CACHE / "build.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)        # who waited finds it made
            if not made.exists():
                _make(made)
    return made


def own_cache() -> Path:
    """CACHE, made if it is not there. Raises HostError for one that others could have filled."""
    try:
        CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(str(CACHE), "a place for what is compiled", error.strerror or str(error),
                        "run with sudo, or name another one in AIFAB_CACHE") from None
    require_own(CACHE, "AIFAB_CACHE")
    return CACHE


def fingerprint() -> str:
    """Of the sources, the flags and the compiler: another one for any other program."""
    digest = hashlib.sha256(repr((FLAGS, os.uname().machine)).encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _make(made: Path) -> None:
    """In a directory beside, which gets its name when all is done."""
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=made.parent.parent))
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda source: _compile(source, part), sorted(SOURCES.glob("*.c"))))
        _run(*objects, "-lm", "-o", str(part / PROGRAM))
        for each in objects:
            Path(each).unlink()
        part.chmod(0o755)
        part.rename(made.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _compile(source: Path, into: Path) -> str:
    target = str(into / f"{source.stem}.o")
    _run(*FLAGS, "-c", str(source), "-o", target)
    return target


def _run(*words: str) -> None:
    compiler = find_program(COMPILER)
    if compiler is None:
        raise HostError("this machine", f"a C compiler, {COMPILER}, for datapath: engine", "not installed",
                        f"apt-get install {PACKAGES}, or ./provision.sh; or use datapath: ovs")
    done = subprocess.run([compiler, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise HostError("the fabric engine", "sources that compile", done.stderr.strip()[:600],
                        f"apt-get install {PACKAGES}: the compiler may lack its headers; or use datapath: ovs")


if __name__ == "__main__":
    print(program())
