"""A Python module of ours in a process of its own, whatever directory and environment we were called in.

    python -I .../topologies/access/start.py traffic.engine job.json     in place of   python -m traffic.engine job.json

`python -m` imports from the working directory first, so a file queue.py beside a scenario would be run, as root. Here
nothing is imported from there, nor from PYTHONPATH or a user's site-packages (-I): only aifab, from the very files that
the caller runs, and what the interpreter has of its own.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).resolve()
_ROOT = _HERE.parents[2]
PACKAGES = ("controller", "scenarios", "topologies", "traffic")


def command(module: str, *arguments: str) -> list[str]:
    """The words that start `module` as a program."""
    return [sys.executable, "-I", *(["-B"] if sys.dont_write_bytecode else []), str(_HERE), module, *arguments]


class _Ours(MetaPathFinder):
    """Our packages by their place, so that the directory around them need not be on sys.path."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in PACKAGES:
            return None
        home = _ROOT / name
        return importlib.util.spec_from_file_location(name, home / "__init__.py",
                                                      submodule_search_locations=[str(home)])


def main() -> None:
    """Become the module that the first argument names."""
    del sys.argv[0]
    sys.meta_path.insert(0, _Ours())
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
