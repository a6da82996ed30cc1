"""What bytes and packets between hosts ask of the machine that emulates them.

A packet costs the machine about the same whatever its size, so what is small counts as a full frame; one that stays on
its leaf crosses one switch instead of three.
"""

from __future__ import annotations

from topologies.model.fabric import Fabric

NEAR = 1 / 3            # switches that a packet between hosts of one leaf crosses, of those between two leaves


def weight(fabric: Fabric, src: str, dst: str) -> float:
    """Of a byte from one host to another, against one between two leaves; 0 inside of a host."""
    if src == dst:
        return 0.0
    return NEAR if fabric.host(src).leaf == fabric.host(dst).leaf else 1.0
