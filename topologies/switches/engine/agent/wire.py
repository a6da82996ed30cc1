"""OpenFlow 1.5.1 on the wire: header, message types, errors. Numbers are the specification's."""

from __future__ import annotations

import struct
from enum import IntEnum

VERSION = 6
HEADER = struct.Struct("!BBHI")         # version, type, length, transaction id
ANY = 0xFFFFFFFF                        # OFPP_ANY, OFPG_ANY
ALL_GROUPS = (0xFFFFFFFC, ANY)          # OFPG_ALL, OFPG_ANY
ALL_TABLES = 0xFF
NO_BUFFER = 0xFFFFFFFF
LOCAL = 0xFFFFFFFE
CONTROLLER = 0xFFFFFFFD


class Type(IntEnum):
    """Message types that the agent sends or takes."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    FEATURES_REQUEST = 5
    FEATURES_REPLY = 6
    GET_CONFIG_REQUEST = 7
    GET_CONFIG_REPLY = 8
    SET_CONFIG = 9
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    PACKET_OUT = 13
    FLOW_MOD = 14
    GROUP_MOD = 15
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    ROLE_REQUEST = 24
    ROLE_REPLY = 25


class Refused(Exception):       # noqa: N818 - what it is called in the protocol: a request is refused
    """A message that gets an OpenFlow error: its type and code."""

    def __init__(self, kind: int, code: int, why: str) -> None:
        super().__init__(why)
        self.kind, self.code = kind, code


class _Kind:
    """One type of error; called with a code and what is wrong it makes the refusal."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, code: int, why: str) -> Refused:
        return Refused(self._number, code, why)


HELLO_FAILED, BAD_REQUEST, BAD_ACTION, BAD_INSTRUCTION, BAD_MATCH = map(_Kind, range(5))
FLOW_MOD_FAILED, GROUP_MOD_FAILED = _Kind(5), _Kind(6)
ROLE_FAILED = _Kind(11)

# codes of BAD_REQUEST
BAD_VERSION, BAD_TYPE, BAD_MULTIPART, BAD_LEN, BUFFER_UNKNOWN, BAD_PORT, BAD_PACKET = 0, 1, 2, 6, 8, 11, 12


def message(kind: Type, xid: int, body: bytes = b"") -> bytes:
    return HEADER.pack(VERSION, kind, HEADER.size + len(body), xid) + body


def error(refused: Refused, request: bytes) -> bytes:
    """The error that answers a request: its transaction id, and its first 64 bytes."""
    xid = HEADER.unpack_from(request)[3] if len(request) >= HEADER.size else 0
    return message(Type.ERROR, xid, struct.pack("!HH", refused.kind, refused.code) + request[:64])


def padded(length: int) -> int:
    """The next multiple of eight."""
    return length + -length % 8


def need(data: bytes, size: int, refusal: Refused) -> None:
    """Raises the refusal if there are fewer bytes."""
    if len(data) < size:
        raise refusal
