"""Files that have the names of what aifab imports, and leave a trace when they are run."""

from __future__ import annotations

from pathlib import Path

SAYS = "hostile code runs"
_TRACE = "hostile.log"
_FILES = (
    "queue.py", "json.py", "typing.py", "runpy.py", "ctypes.py", "logging.py", "uvicorn.py", "fastapi.py", "h11.py",
    "numpy.py", "pydantic.py", "sitecustomize.py", "usercustomize.py", "os_ken/__init__.py", "controller/__init__.py",
    "controller/__main__.py", "traffic/__init__.py", "traffic/engine/__init__.py", "traffic/engine/__main__.py",
    "topologies/__init__.py", "topologies/proof/sampler.py", "scenarios/__init__.py",
)


def plant(directory: Path) -> None:
    """Put them into a directory; each notes its own name in a file there when it is run."""
    trace = directory / _TRACE
    for name in _FILES:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"with open({str(trace)!r}, 'a') as _file:\n    _file.write('{name}\\n')\nprint('{SAYS}')\n")


def executed(directory: Path) -> list[str]:
    """Names of those that have been run."""
    trace = directory / _TRACE
    return trace.read_text().splitlines() if trace.exists() else []
