"""Attributes of Chakra nodes (AttributeProto): a name and a value of one of its 15 types, or a list of them.

    field of the value   3 double   5 float   7 int32   9 int64   11 uint32   13 uint64   15 sint32   17 sint64
                         19 fixed32   21 fixed64   23 sfixed32   25 sfixed64   27 bool   29 string   31 bytes
    field + 1            the list of them, a message with the repeated field 1

Source: mlcommons/chakra, schema/protobuf/et_def.proto; packed fields: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from topologies.model.errors import TraceError
from traffic.traces.protowire import fields, packed, signed, zigzag

Scalar = int | float | bool | str | bytes
Attribute = Scalar | tuple[Scalar, ...]

_VARINTS: dict[int, Callable[[int], int]] = {7: signed, 9: signed, 11: int, 13: int, 15: zigzag, 17: zigzag, 27: bool}
_FIXED = {3: "<d", 5: "<f", 19: "<I", 21: "<Q", 23: "<i", 25: "<q"}
_STRING, _BYTES = 29, 31
_TYPES = {*_VARINTS, *_FIXED, _STRING, _BYTES}


def attribute(message: bytes, where: str) -> tuple[str, Attribute]:
    """Name and value, "" where it has none. Raises TraceError where the bytes are no attribute."""
    name = ""
    value: Attribute | None = None
    for f in fields(message, where):
        if f.number == 1:
            name = text(f.value, where)
        elif f.number in _TYPES:
            value = next(_scalars(f.number, f.value, where), None)
        elif f.number - 1 in _TYPES and isinstance(f.value, bytes):
            value = tuple(_list(f.number - 1, f.value, where))
    return name, "" if value is None else value


def text(value: int | bytes, where: str) -> str:
    """Bytes as UTF-8. Raises TraceError where they are none."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    raise TraceError(where, "text (UTF-8)", "something else", "the file is damaged, or no Chakra trace")


def _list(type_: int, message: bytes, where: str) -> Iterator[Scalar]:
    for f in fields(message, where):
        if f.number == 1:
            yield from _scalars(type_, f.value, where)


def _scalars(type_: int, value: int | bytes, where: str) -> Iterator[Scalar]:
    """One value, or the many that are packed into bytes."""
    if type_ in _VARINTS:
        yield from map(_VARINTS[type_], packed(value, where))
    elif type_ == _STRING:
        yield text(value, where)
    elif isinstance(value, int):
        raise TraceError(where, "a value as bytes", str(value), "the file is damaged")
    elif type_ == _BYTES:
        yield value
    else:
        width = struct.calcsize(_FIXED[type_])
        if len(value) % width:
            raise TraceError(where, f"values of {width} bytes", f"{len(value)} bytes", "the file is damaged")
        yield from (v for (v,) in struct.iter_unpack(_FIXED[type_], value))
