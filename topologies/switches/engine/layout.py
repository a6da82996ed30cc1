"""Names and numbers: what the engine calls a node or a direction, and which record of its counters is whose.

A host has the fabric's name and port 0, a switch its OpenFlow ports. A router with a VTEP is as many hosts of the
engine as it has links, for a host of the engine has one device: 'frr1.up2'.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from topologies.model.errors import HostError
from topologies.model.fabric import End, Fabric, Link

FILE = "fabricd.layout.json"        # in a lab's directory


@dataclass(frozen=True)
class Layout:
    """Names in the order of the configuration, which is that of the counters' records. directions: the fabric's
    names; engine: the same ones as the engine calls them."""

    directions: tuple[str, ...]
    engine: tuple[str, ...]
    hosts: tuple[str, ...]
    switches: tuple[str, ...]

    def save(self, directory: Path) -> None:
        (directory / FILE).write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, directory: Path) -> Layout:
        """Raises HostError where no engine has been started."""
        try:
            held = json.loads((directory / FILE).read_text())
        except OSError as error:
            raise HostError(str(directory / FILE), "what a fabric engine was started with",
                            error.strerror or str(error), "the lab is down, or has another datapath") from None
        return cls(**{key: tuple(names) for key, names in held.items()})


def is_host(fabric: Fabric, end: End) -> bool:
    """Whether the engine has a device at this end of a link: of a host, or of a router with a VTEP."""
    node = fabric.by_name[end.node]
    return node.is_host or node.role == "vtep"


def node_name(fabric: Fabric, end: End) -> str:
    """What the engine calls the node at this end of a link."""
    return f"{end.node}.{end.interface}" if fabric.by_name[end.node].role == "vtep" else end.node


def port(fabric: Fabric, end: End) -> int:
    return 0 if is_host(fabric, end) else end.ofport


def engine_directions(fabric: Fabric, link: Link) -> tuple[str, str]:
    """As Link.directions, in the engine's names."""
    a, b = node_name(fabric, link.a), node_name(fabric, link.b)
    return f"{a}->{b}", f"{b}->{a}"


def host_ends(fabric: Fabric) -> list[tuple[Link, End]]:
    """Every end with a device, with its link. End a of a link is the lower one: a host's or a router's."""
    return [(link, link.a) for link in fabric.links if is_host(fabric, link.a)]


def layout_of(fabric: Fabric) -> Layout:
    return Layout(
        directions=tuple(d for link in fabric.links for d in link.directions),
        engine=tuple(d for link in fabric.links for d in engine_directions(fabric, link)),
        hosts=tuple(node_name(fabric, end) for _, end in host_ends(fabric)),
        switches=tuple(s.name for s in fabric.switches))
