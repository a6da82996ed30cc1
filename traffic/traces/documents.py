"""JSON documents of traces, item by item: a profile of 100 MB is never in memory as objects.

    {"schema": ..., "nodes": [{...}, {...}]}            an execution trace
    {"distributedInfo": ..., "traceEvents": [{...}]}    a profile; a list of events alone is one too
    {...}\\n{...}\\n                                      a cut of one, an object a line, the header first

Plain or gzip-compressed; only the items that are asked for stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from topologies.model.errors import TraceError
from traffic.traces.compressed import contents
from traffic.traces.rows import Row, json_row, shorten

ITEMS = ("nodes", "traceEvents")
MAX_ITEM = 4_000_000        # characters of one item or member: what it becomes in memory is many times as much
_WINDOWS = (4_000, 64_000, 1_000_000, MAX_ITEM)     # an item is looked for in so many characters, then in more
_DECODER = json.JSONDecoder(strict=False)       # PyTorch escapes not every control character
_SPACE = re.compile(r"[ \t\n\r]*")
Keep = Callable[[dict[str, object]], bool]


@dataclass(frozen=True, slots=True)
class Document:
    """All members but the items, and the items that were kept; `where` for errors about the header."""

    where: str
    header: dict[str, object]
    rows: list[Row]
    lists: frozenset[str]       # of ITEMS, those that there are


def document(path: Path, keep: Keep) -> Document:
    """A trace file. Raises TraceError naming the line where it is no JSON, or the item that is no object."""
    text = _text(path)
    return _lines(path, text, keep) if _is_lines(path, text) else _whole(path, text, keep)


def _text(path: Path) -> str:
    try:
        text = contents(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TraceError(str(path), "a trace in UTF-8 text", "a binary file") from None
    if "\0" in text:
        raise TraceError(str(path), "a trace in UTF-8 text", "a binary file")
    return text


# --- an object a line -----------------------------------------------------------------------------


def _is_lines(path: Path, text: str) -> bool:
    """By its name, or because its first line is an object and others follow."""
    if ".jsonl" in path.suffixes[-2:]:
        return True
    end = text.find("\n")
    first = text[:min(end, MAX_ITEM)]
    if end < 0 or not _SPACE.sub("", text[end:end + MAX_ITEM], count=1):
        return False
    try:
        return isinstance(_DECODER.decode(first), dict)
    except (ValueError, RecursionError):
        return False


def _lines(path: Path, text: str, keep: Keep) -> Document:
    rows: list[Row] = []
    header: dict[str, object] = {}
    for number, line in enumerate(_split(path, text), start=1):
        row = json_row(f"{path}:{number}", line.removesuffix("\r"), _DECODER.decode)
        if number == 1:
            header = row.data
        elif keep(row.data):
            rows.append(row)
    return Document(f"{path}:1", header, rows, frozenset(ITEMS))


def _split(path: Path, text: str) -> Iterator[str]:
    at = number = 0
    while at < len(text):
        number += 1
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        if end - at > MAX_ITEM:
            raise TraceError(f"{path}:{number}", f"a line of at most {MAX_ITEM // 10**6} MB", "a longer one")
        yield text[at:end]
        at = end + 1


# --- one document ---------------------------------------------------------------------------------


def _whole(path: Path, text: str, keep: Keep) -> Document:
    header: dict[str, object] = {}
    rows: list[Row] = []
    lists: set[str] = set()
    reader = _Reader(path, text)
    members = reader.members() if text.lstrip()[:1] != "[" else (("traceEvents", v, k) for k, v in reader.items(0))
    for key, value, number in members:
        if number < 0:
            header[key] = value
            continue
        lists.add(key)
        if not number:
            continue
        if not isinstance(value, dict):
            raise TraceError(f"{path}, {key} {number}", "a JSON object", shorten(value))
        if keep(value):
            name = f"node {value['id']}" if key == "nodes" and "id" in value else f"{key} {number}"
            rows.append(Row(f"{path}, {name}", value))
    return Document(str(path), header, rows, frozenset(lists))


class _Reader:
    """The members of the outermost object of a text. Raises TraceError naming the line where it is none."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text, self._at = path, text, 0

    def members(self) -> Iterator[tuple[str, object, int]]:
        """Key, value and -1; of lists of items each one and its number from 1, and first 0 for the list itself."""
        self._expect("{")
        while not self._found("}"):
            key = self._value()
            if not isinstance(key, str):
                raise self._error()
            self._expect(":")
            if key in ITEMS and self._peek() == "[":
                yield key, None, 0
                for number, item in self.items(self._at):
                    yield key, item, number
            else:
                yield key, self._value(), -1
            if not self._found(",") and self._peek() != "}":
                raise self._error()
        if self._peek():
            raise self._error()

    def items(self, at: int) -> Iterator[tuple[int, object]]:
        """The items of the list at an offset, from 1."""
        self._at, number = at, 0
        self._expect("[")
        while not self._found("]"):
            number += 1
            yield number, self._value()
            if not self._found(",") and self._peek() != "]":
                raise self._error()

    def _peek(self) -> str:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at:self._at + 1]

    def _found(self, mark: str) -> bool:
        found = self._peek() == mark
        self._at += found
        return found

    def _expect(self, mark: str) -> None:
        if not self._found(mark):
            raise self._error()

    def _value(self) -> object:
        self._peek()
        for window in _WINDOWS:
            try:
                value, length = _DECODER.raw_decode(self._text[self._at:self._at + window])
            except (ValueError, RecursionError):
                if self._at + window >= len(self._text):
                    break
                continue
            self._at += length
            return value
        raise self._error()

    def _error(self) -> TraceError:
        rest = self._text[self._at:self._at + 80]
        where = f"{self._path}:{self._text.count(chr(10), 0, self._at) + 1}"
        hint = "the file may be cut off or damaged here"
        if len(self._text) - self._at > MAX_ITEM:
            hint += f", or hold more than {MAX_ITEM // 10**6} MB in one item"
        return TraceError(where, "one JSON object", f"no JSON: {shorten(rest.strip())}" if rest.strip() else
                          "the end of the file", hint)
