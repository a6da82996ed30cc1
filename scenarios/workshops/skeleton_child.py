"""Calls functions of a learner's Python file, in a process of its own: `python -m scenarios.workshops.skeleton_child`.

Standard input is {"file", "calls": [[function, arguments], ...]}, the last line of standard output a list with a
reply for each call, or one for the file: {"value"} or {"line", "error"}. What the file prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

Reply = dict[str, object]
LONGEST = 300       # characters of a learner's own error


def main() -> None:
    """Answer the order on standard input."""
    order = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        replies = _replies(Path(order["file"]), order["calls"])
    print(json.dumps(replies))


def _replies(file: Path, calls: Sequence[tuple[str, Sequence[object]]]) -> Reply | list[Reply]:
    """What fails here is the learner's: whatever it raises, sys.exit included, is a reply."""
    spec = importlib.util.spec_from_file_location("skeleton", file)
    if spec is None or spec.loader is None:
        return {"line": 0, "error": "no Python file"}
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module     # as dataclasses want it
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        return {"line": error.lineno or 0, "error": f"{type(error).__name__}: {error.msg}"}
    except BaseException as error:
        return _failed(error, file)
    return [_call(module, name, arguments, file) for name, arguments in calls]


def _call(module: object, name: str, arguments: Sequence[object], file: Path) -> Reply:
    function = getattr(module, name, None)
    if not callable(function):
        return {"line": 0, "error": f"no function {name}"}
    begins = function.__code__.co_firstlineno if hasattr(function, "__code__") else 0
    try:
        value = function(*arguments)
        json.dumps(value, allow_nan=False)
    except BaseException as error:
        return _failed(error, file, begins)
    return {"value": value, "line": begins}


def _failed(error: BaseException, file: Path, begins: int = 0) -> Reply:
    """The innermost line of the learner's own file, or where its function begins, and what was raised."""
    lines = [f.lineno or 0 for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return {"line": lines[-1] if lines else begins, "error": text[:LONGEST]}


if __name__ == "__main__":
    main()
