"""The bucket that the fabric engine's select groups take for a flow: the law of docs/engine.md. Pure.

Where a walker is given it as `choose`, paths through engine switches are known without asking them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from controller.rules.rules import Bucket, Group
from controller.verify.walk import HASHED, Packet

_64_BITS = 2**64 - 1


def mix(x: int) -> int:
    """splitmix64's finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _64_BITS
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _64_BITS
    return x ^ x >> 31


def _number(value: object) -> int:
    """A field as the engine holds it: addresses and MACs as numbers, 0 for one that the packet does not have."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    text = str(value)
    return int(text.replace(":", ""), 16) if ":" in text else int(ipaddress.IPv4Address(text))


def by_rendezvous(_switch: str, group: Group, packet: Packet, live: Sequence[Bucket]) -> Bucket:
    """The live bucket with the highest mix(h ^ mix(its ID)), h being mixed from the hashed fields in their order."""
    h = 0
    for field in group.hash_fields:
        h = mix(h ^ _number(packet.get(HASHED.get(field, field))))
    return max(live, key=lambda bucket: mix(h ^ mix(bucket.id)))
