"""Programs of the engine's C for tests: built once a process, in a directory that goes with it."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "topologies" / "switches" / "engine" / "fabricd"
PIPELINE = ("cache", "commands", "group", "groups", "key", "pipeline", "rules", "table", "text", "trace", "translate",
            "vxlan")
STRICT = ("-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-g")
CHECKED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FAST = ("-O2",)


@cache
def _directory() -> Path:
    path = Path(tempfile.mkdtemp(prefix="aifab-fabricd-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def pipeline_program(name: str, flags: tuple[str, ...] = CHECKED) -> Path:
    """tests/fabricd/NAME.c with the pipeline. Skips the test where there is no C compiler."""
    return _built(name, [HERE / f"{name}.c", HERE / "pool.c", *(SOURCES / f"{part}.c" for part in PIPELINE)], flags)


@cache
def fabricd_program(flags: tuple[str, ...] = CHECKED) -> Path:
    """The engine itself. Skips the test where there is no C compiler."""
    return _built("fabricd", sorted(SOURCES.glob("*.c")), flags)


def _built(name: str, sources: Sequence[Path], flags: tuple[str, ...]) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: apt-get install gcc")
    where = _directory() / f"{name}-{len(flags)}"
    where.mkdir()

    def compiled(source: Path) -> str:
        target = str(where / f"{source.stem}.o")
        subprocess.run(["cc", *STRICT, *flags, f"-I{SOURCES}", f"-I{HERE}", "-c", str(source), "-o", target],
                       check=True)
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, sources))
    program = where / name
    subprocess.run(["cc", *flags, *objects, "-lm", "-o", str(program)], check=True)
    return program
