"""Match fields: OXM type-length-values, and the engine's words for them (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from socket import inet_ntoa

from topologies.switches.engine.agent.wire import BAD_MATCH, Refused, padded

BASIC, NXM = 0x8000, 0x0001     # classes: OpenFlow's own, Nicira's extensions
BAD_TYPE, BAD_LEN, BAD_WILDCARDS, BAD_FIELD, BAD_VALUE, BAD_MASK, BAD_PREREQ, DUP_FIELD = 0, 1, 5, 6, 7, 8, 9, 10
Need = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Field:
    """One field. size: bytes on the wire; bits: of a value; needs: fields with the values that it is there with."""

    name: str
    size: int
    bits: int
    show: Callable[[bytes], str]
    needs: Need = ()
    maskable: bool = True
    settable: bool = True


def _number(data: bytes) -> str:
    return str(int.from_bytes(data, "big"))


def _mac(data: bytes) -> str:
    return data.hex(":")


_IP: Need = (("eth_type", 0x0800),)
_ARP: Need = (("eth_type", 0x0806),)


def _fields() -> Iterator[tuple[tuple[int, int], Field]]:
    """(class, number) -> field. Masks where Open vSwitch takes them."""
    def basic(number: int, made: Field) -> tuple[tuple[int, int], Field]:
        return (BASIC, number), made

    yield basic(0, Field("in_port", 4, 32, _number, maskable=False, settable=False))
    yield basic(3, Field("eth_dst", 6, 48, _mac))
    yield basic(4, Field("eth_src", 6, 48, _mac))
    yield basic(5, Field("eth_type", 2, 16, _number, maskable=False, settable=False))
    yield basic(8, Field("ip_dscp", 1, 6, _number, _IP, maskable=False))
    yield basic(9, Field("ip_ecn", 1, 2, _number, _IP, maskable=False))
    yield basic(10, Field("ip_proto", 1, 8, _number, _IP, maskable=False, settable=False))
    yield basic(11, Field("ipv4_src", 4, 32, inet_ntoa, _IP))
    yield basic(12, Field("ipv4_dst", 4, 32, inet_ntoa, _IP))
    for number, name, protocol in ((13, "tcp_src", 6), (14, "tcp_dst", 6), (15, "udp_src", 17), (16, "udp_dst", 17)):
        yield basic(number, Field(name, 2, 16, _number, (*_IP, ("ip_proto", protocol))))
    for number, name in ((19, "icmpv4_type"), (20, "icmpv4_code")):
        yield basic(number, Field(name, 1, 8, _number, (*_IP, ("ip_proto", 1)), maskable=False))
    yield basic(21, Field("arp_op", 2, 16, _number, _ARP, maskable=False))
    for number, name in ((22, "arp_spa"), (23, "arp_tpa")):
        yield basic(number, Field(name, 4, 32, inet_ntoa, _ARP))
    for number, name in ((24, "arp_sha"), (25, "arp_tha")):
        yield basic(number, Field(name, 6, 48, _mac, _ARP))
    yield basic(38, Field("tunnel_id", 8, 64, _number))
    yield (NXM, 29), Field("nw_ttl", 1, 8, _number, _IP, maskable=False)
    for number, name in ((31, "tun_ipv4_src"), (32, "tun_ipv4_dst")):
        yield (NXM, number), Field(name, 4, 32, inet_ntoa)


FIELDS = dict(_fields())
Value = tuple[Field, bytes, bytes | None]       # field, value, mask


def fields_in(data: bytes, refusal: Refused) -> Iterator[Value]:
    """Each OXM of a row of them. Raises Refused."""
    at, end = 0, len(data)
    while at < end:
        if at + 4 > end:
            raise refusal
        kind, number, has_mask = data[at] << 8 | data[at + 1], data[at + 2] >> 1, data[at + 2] & 1
        length = data[at + 3]
        field = FIELDS.get((kind, number))
        if field is None:
            raise BAD_MATCH(BAD_FIELD, f"field {number} of class {kind:#x}")
        size = field.size
        if length != size << has_mask or at + 4 + length > end:
            raise BAD_MATCH(BAD_LEN, f"{field.name} has {size} bytes")
        value = data[at + 4: at + 4 + size]
        if field.bits < 8 * size and value[0] >> field.bits:
            raise BAD_MATCH(BAD_VALUE, f"{field.name} has {field.bits} bits")
        yield field, value, data[at + 4 + size: at + 4 + length] if has_mask else None
        at += 4 + length


@dataclass(frozen=True)
class Match:
    """What a rule matches.

    text   in the engine's words
    key    equal for equal matches, in whatever order their fields came
    raw    the match as it came, padded: what descriptions answer with
    """

    text: str
    key: frozenset[tuple[str, bytes, bytes | None]]
    raw: bytes

    def covers(self, other: Match) -> bool:
        """Whether every packet that `other` matches is matched by this one, by the look of both."""
        if self.key <= other.key:
            return True
        theirs = {name: (value, mask) for name, value, mask in other.key}
        return all(name in theirs and _within(*theirs[name], value, mask) for name, value, mask in self.key)


def _within(value: bytes, mask: bytes | None, of: bytes, of_mask: bytes | None) -> bool:
    """Whether a field's value and mask are of those that another value and mask allow."""
    wanted = int.from_bytes(of_mask, "big") if of_mask is not None else -1
    known = int.from_bytes(mask, "big") if mask is not None else -1
    return wanted & known == wanted and not (int.from_bytes(value, "big") ^ int.from_bytes(of, "big")) & wanted


def read_match(data: bytes) -> tuple[Match, int]:
    """An ofp_match at the start of `data`, and the bytes that it takes with its padding. Raises Refused."""
    if len(data) < 4:
        raise BAD_MATCH(BAD_LEN, "a match has four bytes at least")
    kind, length = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    if kind != 1:
        raise BAD_MATCH(BAD_TYPE, f"match type {kind}")
    if length < 4 or padded(length) > len(data):
        raise BAD_MATCH(BAD_LEN, "a match is longer than its message")
    seen: dict[str, tuple[bytes, bytes | None]] = {}
    words = []
    for field, value, given in fields_in(data[4:length], BAD_MATCH(BAD_LEN, "a field is cut short")):
        _check(field, value, given, seen)
        mask = None if given is None or set(given) == {0xFF} else given
        seen[field.name] = value, mask
        if mask is None:
            words.append(f"{field.name}={field.show(value)}")
        elif any(mask):
            words.append(f"{field.name}={field.show(value)}/{field.show(mask)}")
    key = frozenset((name, value, mask) for name, (value, mask) in seen.items() if mask is None or any(mask))
    return Match(",".join(words) or "*", key, data[:padded(length)]), padded(length)


def _check(field: Field, value: bytes, mask: bytes | None, before: dict[str, tuple[bytes, bytes | None]]) -> None:
    """A field comes once, behind those that it needs, and with a mask only where that has a meaning."""
    if field.name in before:
        raise BAD_MATCH(DUP_FIELD, field.name)
    for name, needed in field.needs:
        found, found_mask = before.get(name, (b"", None))
        if found_mask is not None or int.from_bytes(found, "big") != needed:
            raise BAD_MATCH(BAD_PREREQ, f"{field.name} needs {name}={needed:#x} before it")
    if mask is not None and not field.maskable:
        raise BAD_MATCH(BAD_MASK, f"{field.name} takes no mask")
    if mask is not None and any(v & ~m for v, m in zip(value, mask, strict=True)):
        raise BAD_MATCH(BAD_WILDCARDS, f"{field.name} has bits outside of its mask")
