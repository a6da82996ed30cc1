"""Reader of the Azure LLM inference traces of 2023, 2024 and 2025: a CSV with a row for each request.

    TIMESTAMP,ContextTokens,GeneratedTokens
    2023-11-16 18:15:46.6805900,374,44              2023: wall clock without a zone, up to 100 ns
    2024-05-10 00:00:00.009930+00:00,2162,5         2024: with a zone, up to microseconds
    TIMESTAMP,NumImages,ContextTokens,GeneratedTokens       2025: with a count of images, which are not replayed

Columns are known by their names. Rows are in the order of time; a file that is not was put together wrongly and is
refused. A large file is not read whole: its window is looked up by time, and only rows of the window are checked. Of a
small one nothing is returned unless every row could be read. (Published files end without a line end, so a last row
that was cut off inside of its last number cannot be distinguished from a whole one.)

Source of the format: AzurePublicDataset, AzureLLMInferenceDataset2023 (Patel et al., Splitwise, ISCA 2024) and 2024
(Stojkovic et al., DynamoLLM), AzureLMMInferenceDataset2025 (Qiu et al., ModServe, SoCC 2025).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from topologies.model.errors import TraceError
from topologies.model.inputs import opened
from traffic.traces.rows import shorten

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
TIME, INPUT, OUTPUT, IMAGES = "TIMESTAMP", "ContextTokens", "GeneratedTokens", "NumImages"
TICKS = 10_000_000      # the trace's clock has 100 ns; whole ticks keep it exact
WHOLE = 16_000_000      # bytes of a file that is read and checked from end to end whatever the window
MAX_ROWS = 400_000      # of a window: 60 MB
LINE = 4096             # bytes; the rows of these traces have some 40
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_TOKENS = re.compile(r"[0-9]{1,12}")
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Request:
    """`arrival` in seconds from the start of the replay, tokens into and out of the model."""

    arrival: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class _Row:
    ticks: int
    input_tokens: int
    output_tokens: int
    zone: bool      # whether the stamp has one


def read(path: Path, window: tuple[float, float] | None = None, speedup: float = 1.0) -> list[Request]:
    """The requests of a trace that arrive in `window`, [from, to) seconds after its first row.

    Arrivals count from the start of the window (without one, from the first row) and are divided by
    `speedup`. Raises TraceError naming file:line of a row that cannot be read, for an empty window, and for one of
    more than MAX_ROWS.
    """
    start, end = (0.0, float("inf")) if window is None else window
    with opened(path, "a trace file that can be read", error=TraceError) as file:
        trace = _Trace(path, file)
        first = trace.first.ticks
        found: list[Request] = []
        for row in trace.rows(first + round(start * TICKS)):
            seconds = (row.ticks - first) / TICKS
            if seconds >= end:
                if trace.large:
                    break
                continue
            if seconds >= start:
                found.append(Request((seconds - start) / speedup, row.input_tokens, row.output_tokens))
                if len(found) > MAX_ROWS:
                    raise TraceError(str(path), f"at most {MAX_ROWS:,} requests", "more", "choose a window of it")
        if not found:
            raise TraceError(str(path), f"rows from {start:g} s to before {end:g} s after the first", "none",
                             f"the trace goes on for {(trace.last_ticks() - first) / TICKS:g} s")
    return found


def notes(path: Path) -> dict[str, str]:
    """What of the trace is not replayed. Raises TraceError."""
    with opened(path, "a trace file that can be read", error=TraceError) as file:
        images = IMAGES in _Trace(path, file).columns
    return {"images": "NumImages of the trace is left out: an image's bytes are not in it"} if images else {}


class _Trace:
    """An open file whose header has been read."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        line = file.readline(LINE)
        if line.startswith(b"\x1f\x8b"):
            raise TraceError(str(path), "a trace in UTF-8 text", "a gzip file", "unpack it first: gunzip -k")
        header = self._text(line.removeprefix(b"\xef\xbb\xbf"), "1")
        self.columns = header.split(",") if header else []
        known = {TIME, INPUT, OUTPUT}
        if not known <= set(self.columns) <= known | {IMAGES} or len(set(self.columns)) < len(self.columns):
            raise TraceError(f"{path}:1", f"the header {HEADER}, or the same with {IMAGES}",
                             shorten(header) if line else "an empty file")
        self._at = [self.columns.index(name) for name in (TIME, INPUT, OUTPUT)]
        self._begin = file.tell()
        self.size = file.seek(0, 2)
        self.large = self.size > WHOLE
        if self._begin >= self.size:
            raise TraceError(str(path), "at least one request", "a header alone")
        file.seek(self._begin)
        self.first = self._row(file.readline(LINE), "2")

    def rows(self, since: int) -> Iterator[_Row]:
        """All rows in order; of a large file those that are no earlier than `since`, in ticks."""
        place, where = (self._first_since(since), "byte {}") if self.large else (self._begin, "")
        self._file.seek(place)
        number, before = 2, None
        while line := self._file.readline(LINE):
            row = self._row(line, where.format(place) if where else str(number))
            if before is not None and row.ticks < before.ticks:
                raise self._error(where.format(place) if where else str(number), "rows in the order of time",
                                  f"{shorten(self._text(line, ''))}, earlier than line {number - 1}" if not where else
                                  f"{shorten(self._text(line, ''))}, earlier than the row before",
                                  "sort the rows by TIMESTAMP")
            yield row
            before, number, place = row, number + 1, place + len(line)

    def last_ticks(self) -> int:
        """Of the last row."""
        self._file.seek(max(self._begin, self.size - LINE))
        lines = self._file.read(LINE).rstrip(b"\r\n").split(b"\n")
        return self._row(lines[-1], "the last row").ticks

    def _first_since(self, since: int) -> int:
        """Offset of a row no later than the first one that is not earlier than `since`: by halves."""
        low, high = self._begin, self.size      # the row at `low` is earlier, or the first of all
        while high - low > LINE:
            middle = (low + high) // 2
            self._file.seek(middle)
            middle += len(self._file.readline(LINE))        # the rest of a row
            line = self._file.readline(LINE) if middle < high else b""
            if line and self._row(line, f"byte {middle}").ticks < since:
                low = middle
            else:
                high = (low + high) // 2
        return low

    def _row(self, line: bytes, where: str) -> _Row:
        text = self._text(line, where)
        fields = text.split(",")
        if len(fields) != len(self.columns):
            count = {3: "three", 4: "four"}[len(self.columns)]
            raise self._error(where, f"{count} fields: {', '.join(self.columns)}", shorten(text),
                              "the file may be cut off or damaged here")
        time, given, made = (fields[k] for k in self._at)
        ticks, zone = self._ticks(where, time)
        row = _Row(ticks, self._tokens(where, "input", given), self._tokens(where, "output", made), zone)
        if where != "2" and row.zone != self.first.zone:
            raise self._error(where, "stamps with a zone in all rows or in none", shorten(time))
        return row

    def _text(self, line: bytes, where: str) -> str:
        try:
            text = line.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise TraceError(str(self.path), "a trace in UTF-8 text", "a binary file")
        if len(line) >= LINE:
            raise self._error(where, "a row of a request", f"a line of {LINE} bytes or more")
        return text

    def _ticks(self, where: str, text: str) -> tuple[int, bool]:
        """100 ns units since 1970, and whether the stamp has a zone."""
        match = _STAMP.fullmatch(text)
        try:
            seconds = _seconds(match[1], match[2]) - _offset(match[4]) if match else None
        except ValueError:
            seconds = None
        if match is None or seconds is None:
            raise self._error(where, "a time such as 2023-11-16 18:15:46.6805900 or 2024-05-10 00:00:00.009930+00:00",
                              shorten(text))
        return seconds * TICKS + int((match[3] or "0").ljust(7, "0")[:7]), match[4] is not None

    def _tokens(self, where: str, what: str, text: str) -> int:
        if not _TOKENS.fullmatch(text):
            raise self._error(where, f"a whole number of {what} tokens, zero or more", shorten(text))
        return int(text)

    def _error(self, where: str, expected: str, found: str, hint: str = "") -> TraceError:
        return TraceError(f"{self.path}:{where}", expected, found, hint)


@lru_cache(maxsize=64)
def _day(text: str) -> int:
    """Seconds from 1970 to a day. Raises ValueError."""
    return (datetime.strptime(text, "%Y-%m-%d") - _EPOCH).days * 86400


def _seconds(day: str, time: str) -> int:
    """Seconds since 1970 of '2024-05-10', '00:00:01'. Raises ValueError."""
    hours, minutes, seconds = (int(x) for x in time.split(":"))
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(time)
    return _day(day) + hours * 3600 + minutes * 60 + seconds


def _offset(zone: str | None) -> int:
    """Seconds that a zone is ahead of UTC. Raises ValueError."""
    if zone is None or zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 14 or minutes > 59:
        raise ValueError(zone)
    ahead = timedelta(hours=hours, minutes=minutes).seconds
    return -ahead if zone[0] == "-" else ahead
