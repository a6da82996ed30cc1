"""The fabric as a graph: nodes, ports, links, addresses. topologies.model.expansion makes one of a spec.

        spine1      spine2                 names: h1 .. hN over all leaves, leafN, spineN,
        /    \\      /    \\                        border1, ext1 .. extN behind it, probe1 ..
    leaf1    leaf2      border1                   (one per leaf), links "h1-leaf1", "leaf1-spine1"
    h1 h2    h3 h4      ext1

A bifurcated fabric is several of these side by side: no link between the leaves of one side and the spines of another.
Its border leaf, which leads to the outside, is joined with all spines.

A router with a VTEP of its own (spec.bgp) is joined with all spines too: a leaf to the underlay, and to the controller
a BGP peer that it cannot program. The hosts behind it are none of the fabric's.

A link has two directions, written "leaf1->spine1" and "spine1->leaf1".

A path leads from a leaf up to where the far leaf's way up meets its own, and down again. Who asks for paths
(Fabric.paths) does not know how many tiers that takes. A path has the number of the spine at the top of its way up,
and so has the VTEP alias of the far leaf by which switches choose it: a leaf has one way up to each top.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from functools import cached_property
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from topologies.model import addressing as addr
from topologies.model.disciplines import AnyDiscipline, Fifo
from topologies.model.errors import SpecError
from topologies.model.spec import FabricSpec

if TYPE_CHECKING:
    import networkx as nx

Role = Literal["host", "probe", "outside", "leaf", "border", "spine", "vtep"]
HOST_ROLES: tuple[Role, ...] = ("host", "probe", "outside")
LEAF_ROLES: tuple[Role, ...] = ("leaf", "border")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Node(_Frozen):
    """A host, a switch or a router with a VTEP.

    `index` counts from 1 within its role (border leaves count on after leaves, VTEPs of routers after these).
    """

    name: str
    role: Role
    index: int
    leaf: str = ""          # hosts: the leaf that they hang on
    ip: str = ""            # hosts: address; leaves and routers: VTEP
    mac: str = ""
    dpid: int = 0           # switches
    aliases: tuple[str, ...] = ()   # leaves and routers: VTEP alias per path number, from 1 on

    @property
    def is_host(self) -> bool:
        return self.role in HOST_ROLES

    @property
    def is_leaf(self) -> bool:
        return self.role in LEAF_ROLES


class End(_Frozen):
    """One end of a link: a node, its interface and, on a switch, its OpenFlow port."""

    node: str
    interface: str       # name of the device
    ofport: int          # 0 on a host


class Link(_Frozen):
    """A point-to-point link with the same rate, queue, delay and impairments in both directions.

    rate bit/s, queue bytes (each direction), delay and jitter seconds one way, loss and reorder shares
    of the packets, mtu bytes. End a is the lower one: the host of an access link, the leaf of a fabric link.
    """

    name: str
    kind: Literal["access", "fabric"]
    a: End
    b: End
    rate: float
    queue: int
    delay: float
    mtu: int
    jitter: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    discipline: AnyDiscipline = Fifo()

    @property
    def impaired(self) -> bool:
        """Whether packets of it are held back or lost on purpose."""
        return bool(self.delay or self.loss)

    @property
    def directions(self) -> tuple[str, str]:
        """'a->b', 'b->a'."""
        return f"{self.a.node}->{self.b.node}", f"{self.b.node}->{self.a.node}"

    @property
    def max_frame(self) -> int:
        """Bytes of a full frame as a wire counts it."""
        return self.mtu + addr.ETHERNET_HEADER

    def end(self, node: str) -> End:
        return self.a if self.a.node == node else self.b

    def far(self, node: str) -> End:
        return self.b if self.a.node == node else self.a


class Path(NamedTuple):
    """One of the equal-cost ways from a leaf, or a router with a VTEP, to another.

    number: from 1, of the top that names it. alias: the address of the far end that leads this way. links: in the
    order in which they are crossed. Within one leaf a path has no links, number 0, and the VTEP itself.
    """

    source: str
    number: int
    alias: str
    links: tuple[Link, ...]

    @property
    def directions(self) -> tuple[str, ...]:
        """'leaf1->spine2', 'spine2->leaf2' ..."""
        nodes = [self.source]
        for link in self.links:
            nodes.append(link.far(nodes[-1]).node)
        return tuple(f"{a}->{b}" for a, b in pairwise(nodes))

    def is_up(self, down: Container[str]) -> bool:
        """Whether none of its links is among those `down`, by name."""
        return not any(link.name in down for link in self.links)


class Fabric(_Frozen):
    """Everything about a network before it exists; the same object in every process."""

    spec: FabricSpec
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]

    @cached_property
    def by_name(self) -> dict[str, Node]:
        return {n.name: n for n in self.nodes}

    @cached_property
    def links_by_name(self) -> dict[str, Link]:
        return {link.name: link for link in self.links}

    @cached_property
    def graph(self) -> nx.Graph:
        """Nodes by name (attribute `node`), edges with attribute `link`."""
        import networkx as nx  # noqa: PLC0415 - takes 0.1 s, and most processes of a run ask for no graph

        g = nx.Graph()
        g.add_nodes_from((n.name, {"node": n}) for n in self.nodes)
        g.add_edges_from((k.a.node, k.b.node, {"link": k}) for k in self.links)
        return g

    def of(self, *roles: Role) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if n.role in roles)

    @property
    def hosts(self) -> tuple[Node, ...]:
        """Workload hosts inside the data centre, in the order of their names."""
        return self.of("host")

    @property
    def all_hosts(self) -> tuple[Node, ...]:
        return self.of(*HOST_ROLES)

    @cached_property
    def leaves(self) -> tuple[Node, ...]:
        """All leaves, border included."""
        return self.of(*LEAF_ROLES)

    @cached_property
    def spines(self) -> tuple[Node, ...]:
        return self.of("spine")

    @property
    def switches(self) -> tuple[Node, ...]:
        return self.leaves + self.spines

    @property
    def vteps(self) -> tuple[Node, ...]:
        """Routers with a VTEP of their own."""
        return self.of("vtep")

    @cached_property
    def tunnel_ends(self) -> tuple[Node, ...]:
        """All that has a VTEP."""
        return self.leaves + self.vteps

    def node(self, name: str) -> Node:
        if name not in self.by_name:
            raise SpecError(f"fabric {self.spec.name}", "the name of a host or a switch", name,
                            f"it has {', '.join(list(self.by_name)[:20])}")
        return self.by_name[name]

    def host(self, name: str) -> Node:
        node = self.node(name)
        if not node.is_host:
            raise SpecError(f"fabric {self.spec.name}", "the name of a host", f"{name}, a {node.role}")
        return node

    def link(self, name: str) -> Link:
        """By 'leaf1-spine1', its reverse, or a direction 'spine1->leaf1'."""
        ends = name.split("->") if "->" in name else name.split("-")
        for candidate in (name, "-".join(ends), "-".join(reversed(ends))):
            if candidate in self.links_by_name:
                return self.links_by_name[candidate]
        raise SpecError(f"fabric {self.spec.name}", "the name of a link, such as leaf1-spine1", name,
                        f"it has {', '.join(list(self.links_by_name)[:30])}")

    @cached_property
    def _links_by_node(self) -> dict[str, tuple[Link, ...]]:
        found: dict[str, list[Link]] = {}
        for link in self.links:
            for end in (link.a, link.b):
                found.setdefault(end.node, []).append(link)
        return {node: tuple(links) for node, links in found.items()}

    def links_of(self, node: str) -> tuple[Link, ...]:
        return self._links_by_node.get(node, ())

    def access_link(self, host: str) -> Link:
        return next(k for k in self.links_of(host) if k.kind == "access")

    def uplinks(self, leaf: str) -> tuple[Link, ...]:
        """Fabric links of a leaf, spine 1 first."""
        return tuple(k for k in self.links_of(leaf) if k.kind == "fabric")

    @cached_property
    def tops(self) -> tuple[Node, ...]:
        """Spines with nothing above them. The n-th names the paths of number n, and the n-th alias of each leaf."""
        return tuple(s for s in self.spines if all(k.b.node == s.name for k in self.links_of(s.name)))

    @cached_property
    def _ways_up(self) -> dict[str, dict[int, tuple[Link, ...]]]:
        found = {}
        for node in (*self.tunnel_ends, *self.spines):
            ways = sorted(self._climbed(node.name), key=itemgetter(0))
            found[node.name] = dict(ways)
            if len(found[node.name]) < len(ways):
                raise SpecError(f"fabric {self.spec.name}", f"one way from {node.name} up to each top", "several")
        return found

    def _climbed(self, node: str) -> Iterator[tuple[int, tuple[Link, ...]]]:
        above = [k for k in self.links_of(node) if k.kind == "fabric" and k.a.node == node]
        if not above:
            yield next(n for n, top in enumerate(self.tops, start=1) if top.name == node), ()
        for link in above:
            yield from ((number, (link, *links)) for number, links in self._climbed(link.b.node))

    def ways_up(self, node: str) -> dict[int, tuple[Link, ...]]:
        """Path number -> links from a leaf, a router or a spine to the top of that number, as far as it reaches it."""
        return self._ways_up[node]

    @cached_property
    def _paths(self) -> dict[tuple[str, str], tuple[Path, ...]]:
        return {}

    def paths(self, a: str, b: str) -> tuple[Path, ...]:
        """From leaf or router `a` to `b`, by number; none between the sides of a bifurcated fabric."""
        known = self._paths.get((a, b))
        if known is None:
            known = self._paths[a, b] = self._found_paths(a, self.by_name[b])
        return known

    def _found_paths(self, a: str, b: Node) -> tuple[Path, ...]:
        """The shortest over all tops that both have a way to; one of those that turn below them at the same spine."""
        if a == b.name:
            return (Path(a, 0, b.ip, ()),)
        found: dict[str, Path] = {}
        far = self._ways_up[b.name]
        for number, up in self._ways_up[a].items():
            down = far.get(number, ())
            while down and up[-1] is down[-1]:
                up, down = up[:-1], down[:-1]       # noqa: PLW2901 - they meet below the top
            if down and up[-1].name not in found:
                found[up[-1].name] = Path(a, number, b.aliases[number - 1], up + down[::-1])
        shortest = min((len(p.links) for p in found.values()), default=0)
        return tuple(p for p in found.values() if len(p.links) == shortest)

    @property
    def probe_rings(self) -> tuple[tuple[str, ...], ...]:
        """Probe hosts that reach each other: all, or those of each side; the border's with the first."""
        probes = self.of("probe")
        if self.spec.sides is None:
            return (tuple(p.name for p in probes),)
        rings = [[p.name for p in probes if p.leaf in leaves] for leaves in self.spec.side_leaves.values()]
        rings[0] += [p.name for p in probes if self.by_name[p.leaf].role == "border"]
        return tuple(map(tuple, rings))

    def hosts_of(self, leaf: str) -> tuple[Node, ...]:
        return tuple(n for n in self.all_hosts if n.leaf == leaf)

    def oversubscription(self, leaf: str = "leaf1") -> float:
        """Host bandwidth of a leaf over its uplink bandwidth, after encapsulation of full frames.

        1.0 is non-blocking. Probe hosts carry nothing that counts and are left out.
        """
        frame = self.spec.mtu + addr.ETHERNET_HEADER
        down = sum(self.access_link(h.name).rate for h in self.hosts_of(leaf) if h.role != "probe")
        up = sum(k.rate for k in self.uplinks(leaf))
        return down * (frame + addr.VXLAN_OVERHEAD) / frame / up
