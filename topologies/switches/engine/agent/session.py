"""One switch's OpenFlow connection: messages in, what they ask for done or refused, messages out."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from topologies.switches.engine.agent import changes, multipart, wire
from topologies.switches.engine.agent.actions import read_actions
from topologies.switches.engine.agent.oxm import read_match
from topologies.switches.engine.agent.replies import flow_match_of_port, port_desc
from topologies.switches.engine.agent.switch import Switch
from topologies.switches.engine.agent.wire import HEADER, VERSION, Refused, Type, message

TABLES = 254
CAPABILITIES = 0b1011       # statistics of flows, tables and groups
MISS_SEND_LENGTH = 128
_ROLES = (0, 1, 2, 3)       # no change, equal, master, slave
_MODIFIED = 2               # reason of a port status
_FRAMES = 65_536            # bytes of a frame that a packet-out may have
MOST_BUFFERED = 64 << 20    # bytes: a controller that reads nothing is let go


class Session:
    """A connection to the controller's socket. `closed` once it is over."""

    def __init__(self, switch: Switch, connected: socket.socket) -> None:
        self.switch: Switch = switch
        self.socket = connected
        self.closed = False
        self._in, self._out = bytearray(), bytearray()
        self._greeted = False
        self._role, self._generation = 1, -1
        self._config = (0, MISS_SEND_LENGTH)
        self._handlers: dict[int, Callable[[bytes, int], None]] = {
            Type.ECHO_REQUEST: lambda body, xid: self.send(message(Type.ECHO_REPLY, xid, body)),
            Type.ECHO_REPLY: lambda body, xid: None,
            Type.ERROR: lambda body, xid: None,
            Type.FEATURES_REQUEST: self._features,
            Type.GET_CONFIG_REQUEST: lambda body, xid: self.send(
                message(Type.GET_CONFIG_REPLY, xid, struct.pack("!HH", *self._config))),
            Type.SET_CONFIG: self._set_config,
            Type.BARRIER_REQUEST: lambda body, xid: self.switch.engine.after_all(
                lambda: self.send(message(Type.BARRIER_REPLY, xid))),
            Type.ROLE_REQUEST: self._set_role,
            Type.PACKET_OUT: self._packet_out,
            Type.MULTIPART_REQUEST: lambda body, xid: multipart.answer(self, body, xid),
        }
        self.send(message(Type.HELLO, 0, struct.pack("!HHI", 1, 8, 1 << VERSION)))

    # ---- bytes

    @property
    def wants_to_write(self) -> bool:
        return bool(self._out)

    def send(self, data: bytes) -> None:
        if not self.closed:
            self._out += data
            if len(self._out) > MOST_BUFFERED:
                self.close()

    def write(self) -> None:
        try:
            sent = self.socket.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._out[:sent]

    def read(self) -> None:
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._in += data
        self._messages()

    def _messages(self) -> None:
        """Every whole message that has come."""
        at, have = 0, bytes(self._in)
        while not self.closed and len(have) - at >= HEADER.size:
            _, _, length, _ = HEADER.unpack_from(have, at)
            if length < HEADER.size:        # where the next one begins is not known any more
                self.send(wire.error(wire.BAD_REQUEST(wire.BAD_LEN, "shorter than a header"), have[at: at + 8]))
                self.write()
                self.close()
                return
            if at + length > len(have):
                break
            self._take(have[at: at + length])
            at += length
        del self._in[:at]

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.socket.close()

    # ---- messages

    def _take(self, whole: bytes) -> None:
        version, kind, _, xid = HEADER.unpack_from(whole)
        try:
            if kind == Type.HELLO:
                self._hello(whole, version)
                return
            if version != VERSION:
                raise wire.BAD_REQUEST(wire.BAD_VERSION, f"version {version}")
            if kind in (Type.FLOW_MOD, Type.GROUP_MOD):
                change = changes.flow_mod if kind == Type.FLOW_MOD else changes.group_mod
                change(self, whole)
                return
            handler = self._handlers.get(kind)
            if handler is None:
                raise wire.BAD_REQUEST(wire.BAD_TYPE, f"message type {kind}")
            handler(whole[HEADER.size:], xid)
        except Refused as refused:
            self.send(wire.error(refused, whole))

    def refuse(self, refused: Refused, whole: bytes) -> None:
        """An error that came to light later."""
        self.send(wire.error(refused, whole))

    def _hello(self, whole: bytes, version: int) -> None:
        if self._greeted:
            return
        if not _speaks_ours(whole[HEADER.size:], version):
            self.send(wire.error(wire.HELLO_FAILED(0, "version"), whole))
            self.write()
            self.close()
            return
        self._greeted = True

    def _features(self, _: bytes, xid: int) -> None:
        self.send(message(Type.FEATURES_REPLY, xid,
                          struct.pack("!QIBB2xII", self.switch.dpid, 0, TABLES, 0, CAPABILITIES, 0)))

    def _set_config(self, body: bytes, _: int) -> None:
        wire.need(body, 4, wire.BAD_REQUEST(wire.BAD_LEN, "set-config"))
        flags, miss = struct.unpack_from("!HH", body)
        self._config = flags, miss

    def _set_role(self, body: bytes, xid: int) -> None:
        """Equal and master are the same to a switch with one controller; old news of a master is refused."""
        wire.need(body, 16, wire.BAD_REQUEST(wire.BAD_LEN, "role request"))
        role, _, generation = struct.unpack_from("!IIq", body)
        if role not in _ROLES:
            raise wire.ROLE_FAILED(2, f"role {role}")
        if role in (2, 3):
            if self._generation >= 0 and generation - self._generation < 0:
                raise wire.ROLE_FAILED(0, "an older generation")
            self._generation = generation
        self._role = role or self._role
        self.send(message(Type.ROLE_REPLY, xid, struct.pack("!IIq", self._role, 0, self._generation)))

    def _packet_out(self, body: bytes, xid: int) -> None:
        wire.need(body, 16, wire.BAD_REQUEST(wire.BAD_LEN, "packet-out"))
        buffer, length = struct.unpack_from("!IH", body)
        if buffer != wire.NO_BUFFER:
            raise wire.BAD_REQUEST(wire.BUFFER_UNKNOWN, "this switch keeps no packets")
        match, size = read_match(body[8:])
        start = 8 + size
        wire.need(body, start + length, wire.BAD_REQUEST(wire.BAD_LEN, "packet-out"))
        actions = read_actions(body[start: start + length])
        frame = body[start + length:]
        if not 14 <= len(frame) <= _FRAMES:
            raise wire.BAD_REQUEST(wire.BAD_PACKET, "a frame has 14 bytes at least")
        ports = [int.from_bytes(value, "big") for name, value, _ in match.key if name == "in_port"]
        port = ports[0] if ports else wire.CONTROLLER
        command = f"packet-out {self.switch.name} {port} {actions.text} {frame.hex()}"
        whole = message(Type.PACKET_OUT, xid, body)
        self.switch.engine.ask(command, lambda answer: self._sent(answer, whole))

    def _sent(self, answer: str, whole: bytes) -> None:
        if answer.startswith("error "):
            self.refuse(wire.BAD_REQUEST(wire.BAD_PACKET, answer), whole)

    # ---- what the switch tells

    def port_changed(self, number: int) -> None:
        port = self.switch.ports[number]
        self.send(message(Type.PORT_STATUS, 0, struct.pack("!B7x", _MODIFIED)
                          + port_desc(port, up=self.switch.up[number])))

    def packet_in(self, port: int, reason: int, table: int, cookie: int, length: int, data: bytes) -> None:
        body = struct.pack("!IHBBQ", wire.NO_BUFFER, min(length, 0xFFFF), reason, table, cookie)
        self.send(message(Type.PACKET_IN, 0, body + flow_match_of_port(port) + b"\0\0" + data))


def _speaks_ours(elements: bytes, version: int) -> bool:
    """By the bitmap of a hello if it has one, else by its version."""
    at = 0
    while at + 8 <= len(elements):
        kind, length = struct.unpack_from("!HH", elements, at)
        if kind == 1 and length >= 8:
            return bool(int.from_bytes(elements[at + 4: at + 8], "big") >> VERSION & 1)
        at += wire.padded(max(length, 8))
    return version >= VERSION
