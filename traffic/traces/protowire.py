"""Protocol Buffers on the wire: bytes -> numbered fields, and files of length-delimited messages.

    file:     length message length message ...          message: key value key value ...
    key:      varint, field number x 8 + wire type       0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes

Source: protobuf.dev, "Encoding". What a field means, its reader says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from topologies.model.errors import TraceError

_FIXED = {1: 8, 5: 4}       # wire type -> bytes
_DELIMITED = 2
_VARINT_BYTES = 10          # of 64 bits


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message: a number (varint), or bytes of anything else."""

    number: int
    value: int | bytes


def messages(data: bytes, where: str) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each length-delimited message. Raises TraceError where the last one is cut off."""
    at = 0
    while at < len(data):
        length, start = varint(data, at, where)
        if start + length > len(data):
            raise TraceError(f"{where}, byte {at}", f"a message of {length} bytes",
                             f"only {len(data) - start} left", "the file is cut off, or is no Chakra trace")
        yield at, data[start:start + length]
        at = start + length


def fields(message: bytes, where: str) -> Iterator[Field]:
    """The fields of a message in their order. Raises TraceError where it is none."""
    at = 0
    while at < len(message):
        key, at = varint(message, at, where)
        number, wire = key >> 3, key & 7
        value: int | bytes
        if wire == 0:
            value, at = varint(message, at, where)
        else:
            length, at = varint(message, at, where) if wire == _DELIMITED else (_FIXED.get(wire, 0), at)
            if not number or not (length or wire == _DELIMITED) or at + length > len(message):
                raise TraceError(where, "fields of a protobuf message", f"a damaged one at byte {at} of {len(message)}",
                                 "the file is cut off or damaged")
            value = message[at:at + length]
            at += length
        yield Field(number, value)


def varint(data: bytes, at: int, where: str) -> tuple[int, int]:
    """The number at offset `at`, and the offset after it. Raises TraceError where it does not end."""
    number = 0
    for k, byte in enumerate(data[at:at + _VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * k
        if byte < 0x80:
            return number, at + k + 1
    raise TraceError(f"{where}, byte {at}", "a number that ends (protobuf varint)", "none",
                     "the file is cut off or damaged")


def signed(number: int) -> int:
    """A varint as int64 or int32: two's complement in 64 bits."""
    return number - (1 << 64) if number >= 1 << 63 else number


def zigzag(number: int) -> int:
    """A varint as sint64 or sint32: 0, -1, 1, -2, ..."""
    return (number >> 1) ^ -(number & 1)


def packed(value: int | bytes, where: str) -> Iterator[int]:
    """A repeated number: one varint, or many packed into bytes."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        number, at = varint(value, at, where)
        yield number
