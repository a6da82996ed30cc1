"""Reader of the Azure LLM inference traces: a CSV of TIMESTAMP, ContextTokens, GeneratedTokens.

    2023-11-16 18:15:46.6805900,374,44      wall clock with up to 7 decimals, input and output tokens

Source of the format: AzurePublicDataset, AzureLLMInferenceDataset2023 (Patel et al., Splitwise,
ISCA 2024). Rows are in the order of time; a file that is not was put together wrongly and is refused.
Nothing is returned unless every row could be read. (The published files end without a line end, so
a last row that was cut off inside of its last number cannot be told from a whole one.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from topologies.errors import TraceError
from traffic.traces.rows import shorten, text_lines

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
TICKS = 10_000_000      # the trace's clock has 100 ns; whole ticks keep it exact
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,7}))?", re.ASCII)
_TOKENS = re.compile(r"[0-9]{1,12}")
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Request:
    """`arrival` in seconds from the start of the replay, tokens into and out of the model."""

    arrival: float
    input_tokens: int
    output_tokens: int


def read(path: Path, window: tuple[float, float] | None = None, speedup: float = 1.0) -> list[Request]:
    """The requests of a trace that arrive in `window`, [from, to) seconds after its first row.

    Arrivals count from the start of the window (without one, from the first row) and are divided by
    `speedup`. Raises TraceError naming file:line of a row that cannot be read, and for an empty window.
    """
    rows = _rows(path)
    first = rows[0][0]
    start, end = (0.0, float("inf")) if window is None else window
    chosen = [(seconds, row) for row in rows if start <= (seconds := (row[0] - first) / TICKS) < end]
    if not chosen:
        raise TraceError(str(path), f"rows from {start:g} s to before {end:g} s after the first", "none",
                         f"the trace goes on for {(rows[-1][0] - first) / TICKS:g} s")
    return [Request((seconds - start) / speedup, row[1], row[2]) for seconds, row in chosen]


def _rows(path: Path) -> list[tuple[int, int, int]]:
    """(ticks, input tokens, output tokens) of every row, checked for order."""
    lines = text_lines(path)
    if not lines or lines[0].lstrip("\ufeff") != HEADER:
        raise TraceError(f"{path}:1", f"the header {HEADER}", shorten(lines[0]) if lines else "an empty file")
    rows: list[tuple[int, int, int]] = []
    for number, line in enumerate(lines[1:], start=2):
        row = _row(f"{path}:{number}", line)
        if rows and row[0] < rows[-1][0]:
            raise TraceError(f"{path}:{number}", "rows in the order of time", f"{shorten(line)}, earlier than line "
                             f"{number - 1}", "sort the rows by TIMESTAMP")
        rows.append(row)
    if not rows:
        raise TraceError(str(path), "at least one request", "a header alone")
    return rows


def _row(where: str, line: str) -> tuple[int, int, int]:
    fields = line.split(",")
    if len(fields) != 3:
        raise TraceError(where, "three fields: time, input tokens, output tokens", shorten(line),
                         "the file may be cut off or damaged here")
    return _ticks(where, fields[0]), _tokens(where, "input", fields[1]), _tokens(where, "output", fields[2])


def _ticks(where: str, text: str) -> int:
    """100 ns units since 1970 of a time stamp without a zone."""
    match = _STAMP.fullmatch(text)
    try:
        stamp = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S") if match else None
    except ValueError:
        stamp = None
    if match is None or stamp is None:
        raise TraceError(where, "a time such as 2023-11-16 18:15:46.6805900", shorten(text))
    since = stamp - _EPOCH
    return (since.days * 86400 + since.seconds) * TICKS + int((match[2] or "0").ljust(7, "0"))


def _tokens(where: str, what: str, text: str) -> int:
    if not _TOKENS.fullmatch(text):
        raise TraceError(where, f"a whole number of {what} tokens, zero or more", shorten(text))
    return int(text)
