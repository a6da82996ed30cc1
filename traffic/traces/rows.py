"""Lines and JSON rows of a trace file, each with its file:line for error messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from topologies.model.document import other_encoding
from topologies.model.errors import TraceError
from topologies.model.inputs import read_bounded


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object of a .jsonl file and where it stands."""

    where: str
    data: dict[str, object]


def text_lines(path: Path) -> list[str]:
    """The lines of a text file, without their ends. Raises TraceError if it is none."""
    data = read_bounded(path, "a trace file that can be read", error=TraceError)
    try:
        if encoding := other_encoding(data):
            raise TraceError(f"{path}:1", "a trace in UTF-8 text", f"one in {encoding}", "save it as UTF-8")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TraceError(str(path), "a trace in UTF-8 text", "a binary file") from None
    text = text.removeprefix("\ufeff")      # a byte order mark, as some editors and spreadsheets write
    if "\0" in text:
        raise TraceError(str(path), "a trace in UTF-8 text", "a binary file")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def json_rows(path: Path) -> list[Row]:
    """Every line of a .jsonl file as an object. Raises TraceError naming file:line of one that is none."""
    return [json_row(f"{path}:{number}", line) for number, line in enumerate(text_lines(path), start=1)]


def json_row(where: str, line: str, decode: Callable[[str], object] = json.loads) -> Row:
    """A line as an object, read by `decode`, which raises ValueError for what is no JSON. Raises TraceError."""
    try:
        data = decode(line)
    except (ValueError, RecursionError):
        raise TraceError(where, "one JSON object", f"a line that is no JSON: {shorten(line)}",
                         "the file may be cut off or damaged here") from None
    if not isinstance(data, dict):
        raise TraceError(where, "one JSON object", shorten(line))
    return Row(where, data)


def shorten(value: object, limit: int = 60) -> str:
    """A value as it looks in an error message."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if not text.strip():
        return "an empty line"
    return text if len(text) <= limit else f"{text[:limit]}..."
