"""The engine's configuration of a fabric: its CONFIG file, a command a line (docs/engine.md). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from topologies.model.fabric import End, Fabric, Link, Node
from topologies.switches.engine.attach import attachment
from topologies.switches.engine.layout import engine_directions, host_ends, node_name, port
from topologies.switches.engine.queues import dscp_lines, limit, queue_lines, share

SMALLEST_FRAME = 60         # bytes: so many packets may be where these bytes are
LEAST_POOL, MOST_POOL = 4096, 131072        # packets
PACKET = 256                # bytes of a packet in the pool beside its frame
HALT = 0.25                 # seconds
RING, MOST_RING = 64, 1024  # frames
POOL_SHARE = 4              # a part of the memory that the pool may have at most: 1 / 4


def config_lines(fabric: Fabric, netns: Mapping[str, str], memory: int, processor: int, seed: int) -> Iterator[str]:
    """The whole file. memory: bytes of the machine; processor: the engine's own, -1 for any."""
    yield f"option pool={pool(fabric, memory)} seed={seed}" + (f" cpu={processor}" if processor >= 0 else "")
    yield from (f"switch {s.name}" for s in fabric.switches)
    yield from (_host(fabric, netns, link, end) for link, end in host_ends(fabric))
    yield from (_link(fabric, link) for link in fabric.links)
    yield from dscp_lines(fabric)
    for link in fabric.links:
        yield from queue_lines(fabric, link)
    for leaf in fabric.leaves:
        yield from (f"vtep {leaf.name} {ip} {leaf.mac}" for ip in (leaf.ip, *leaf.aliases))


def pool(fabric: Fabric, memory: int) -> int:
    """Packets that can be under way at once: of the smallest frames, as far as memory goes."""
    frame = max((link.max_frame for link in fabric.links), default=0)
    held = sum(limit(fabric, link, 1) * 2 + 2 * (link.delay + link.jitter) * link.rate / 8 for link in fabric.links)
    room = memory // POOL_SHARE // (frame + PACKET)
    return int(min(max(held / SMALLEST_FRAME, LEAST_POOL), MOST_POOL, room))


def _host(fabric: Fabric, netns: Mapping[str, str], link: Link, end: End) -> str:
    node: Node = fabric.by_name[end.node]
    return " ".join([
        f"host {node_name(fabric, end)} netns=/run/netns/{netns[end.node]} device={end.interface} mac={node.mac}",
        f"mtu={link.mtu} attach={attachment(fabric)}", *_ring(fabric, link),
        *(["encapsulated=1"] if node.role == "vtep" else [])])


def _ring(fabric: Fabric, link: Link) -> Iterator[str]:
    """A calm host's queue is in front of its device. What is in there bridges a halt of the engine: such a device drops
    without a word to the sender."""
    if attachment(fabric) == "calm":
        yield f"ring={int(min(max(HALT * link.rate / 8 / link.max_frame, RING), MOST_RING))}"


def _link(fabric: Fabric, link: Link) -> str:
    ends = " ".join(f"{node_name(fabric, end)}:{port(fabric, end)}" for end in (link.a, link.b))
    return " ".join([f"link {link.name} {ends} rate={round(link.rate)}", *_impairments(link)])


def _impairments(link: Link) -> Iterator[str]:
    for key in ("delay", "jitter"):
        if seconds := getattr(link, key):
            yield f"{key}={round(seconds * 1e9)}"
    for key in ("loss", "reorder"):
        if value := getattr(link, key):
            yield f"{key}={share(value)}"


def rate_lines(fabric: Fabric, link: Link, rate: float) -> Iterator[str]:
    """Commands that give both directions of a link another rate, bit/s."""
    yield from (f"direction {d} rate={round(rate)}" for d in engine_directions(fabric, link))
