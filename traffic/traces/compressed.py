"""Whole trace files, gzip-compressed or not, with a bound on what they unpack to."""

from __future__ import annotations

import zlib
from pathlib import Path

from topologies.model.errors import TraceError
from topologies.model.inputs import opened

MAX_BYTES = 128_000_000     # of one file, unpacked: a profile of a few steps has 10 to 100 MB
_GZIP = b"\x1f\x8b"


def contents(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a file, unpacked where they begin as gzip does. Raises TraceError, also beyond `limit` bytes."""
    with opened(path, "a trace file that can be read", error=TraceError) as file:
        data = file.read(limit + 1)
    if len(data) <= limit and data.startswith(_GZIP):
        data = _unpacked(data, path, limit)
    if len(data) > limit:
        raise TraceError(str(path), f"at most {limit // 10**6} MB of trace, unpacked", "a larger one",
                         "record fewer steps, or one")
    return data


def _unpacked(data: bytes, path: Path, limit: int) -> bytes:
    """All members of a gzip file, but at most one byte beyond `limit`."""
    parts: list[bytes] = []
    left = limit + 1
    while data.startswith(_GZIP) and left:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(data, left))
        except zlib.error as error:
            raise TraceError(str(path), "a gzip file", str(error), "the file is damaged") from None
        left -= len(parts[-1])
        if not unpacker.eof and left:
            raise TraceError(str(path), "a whole gzip file", "one that is cut off", "fetch or write it again")
        data = unpacker.unused_data
    return b"".join(parts)
