"""The fabric as a graph: nodes, ports, links, addresses. Pure: FabricSpec in, Fabric out.

        spine1      spine2                 names: h1 .. hN over all leaves, leafN, spineN,
        /    \\      /    \\                        border1, ext1 .. extN behind it, probe1 ..
    leaf1    leaf2      border1                   (one per leaf), links "h1-leaf1", "leaf1-spine1"
    h1 h2    h3 h4      ext1

A bifurcated fabric is several of these side by side: no link between the leaves of one side and the spines of another.
Its border leaf, which leads to the outside, is joined with all spines.

A router with a VTEP of its own (spec.bgp) is joined with all spines too: a leaf to the underlay, and to the controller
a BGP peer that it cannot program. The hosts behind it are none of the fabric's.

A link has two directions, written "leaf1->spine1" and "spine1->leaf1".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

import networkx as nx
from pydantic import BaseModel, ConfigDict

from topologies import addressing as addr
from topologies.errors import SpecError
from topologies.scale import Scale
from topologies.spec import FabricSpec, LinkOverride, QueueSpec

Role = Literal["host", "probe", "outside", "leaf", "border", "spine", "vtep"]
HOST_ROLES: tuple[Role, ...] = ("host", "probe", "outside")
LEAF_ROLES: tuple[Role, ...] = ("leaf", "border")
NON_BLOCKING = 1.06     # uplink headroom that was measured to be enough for VXLAN's 3.3 % and bursts
MIN_QUEUE_FRAMES = 2


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
    aliases: tuple[str, ...] = ()   # leaves and routers: VTEP alias per spine, spine 1 first

    @property
    def is_host(self) -> bool:
        return self.role in HOST_ROLES

    @property
    def is_leaf(self) -> bool:
        return self.role in LEAF_ROLES


class End(_Frozen):
    """One end of a link: a node, its interface and, on a switch, its OpenFlow port."""

    node: str
    port: str
    number: int


class Discipline(_Frozen):
    """When a queue drops or marks (spec.QueueSpec); min and max in bytes, red only."""

    kind: Literal["fifo", "red", "fq_codel"] = "fifo"
    min: int = 0
    max: int = 0
    ecn: bool = False


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
    discipline: Discipline = Discipline()

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
        """Bytes of a full frame as HTB counts it."""
        return self.mtu + addr.ETHERNET_HEADER

    def end(self, node: str) -> End:
        return self.a if self.a.node == node else self.b

    def far(self, node: str) -> End:
        return self.b if self.a.node == node else self.a


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
    def _spines_by_leaf(self) -> dict[str, tuple[Node, ...]]:
        return {leaf.name: tuple(self.by_name[k.b.node] for k in self.uplinks(leaf.name))
                for leaf in self.tunnel_ends}

    def spines_of(self, leaf: str) -> tuple[Node, ...]:
        """Spines that a leaf has a link with, spine 1 first."""
        return self._spines_by_leaf[leaf]

    def spines_between(self, a: str, b: str) -> tuple[Node, ...]:
        """Spines that join two leaves; none between the sides of a bifurcated fabric."""
        if self.spec.sides is None:
            return self.spines
        return tuple(s for s in self.spines_of(a) if s in self.spines_of(b))

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


def expand(spec: FabricSpec) -> Fabric:
    """The fabric that a spec describes, in emulated units. Raises SpecError."""
    scale = spec.scale.scale
    leaves = [_leaf(spec, i + 1) for i in range(spec.leaves + (1 if spec.border else 0))]
    spines = [Node(name=f"spine{k + 1}", role="spine", index=k + 1, dpid=addr.spine_dpid(k + 1))
              for k in range(spec.spines)]
    hosts = list(_hosts(spec, leaves))
    vteps = [_vtep(spec, name, len(leaves) + n) for n, name in enumerate(spec.bgp.vteps if spec.bgp else (), start=1)]
    links = [*_access_links(spec, scale, leaves, hosts), *_fabric_links(spec, scale, [*leaves, *vteps], spines)]
    return Fabric(spec=spec, nodes=(*hosts, *leaves, *spines, *vteps), links=tuple(_override(spec, scale, links)))


def _leaf(spec: FabricSpec, i: int) -> Node:
    border = i > spec.leaves
    return Node(
        name=f"border{i - spec.leaves}" if border else f"leaf{i}", role="border" if border else "leaf",
        index=i, ip=addr.vtep(i), mac=addr.leaf_mac(i), dpid=addr.leaf_dpid(i),
        aliases=tuple(addr.vtep(i, k + 1) for k in range(spec.spines)))


def _vtep(spec: FabricSpec, router: str, i: int) -> Node:
    return Node(name=router, role="vtep", index=i, ip=addr.vtep(i), mac=addr.leaf_mac(i),
                aliases=tuple(addr.vtep(i, k + 1) for k in range(spec.spines)))


def _names(spec: FabricSpec, leaf: Node) -> list[tuple[str, Role]]:
    """Names and roles of the hosts on one leaf, probe last."""
    names: list[tuple[str, Role]]
    if leaf.role == "border":
        names = [(f"ext{j + 1}", "outside") for j in range(spec.border.hosts if spec.border else 0)]
    elif spec.racks is not None:
        names = [(name, "host") for name in spec.racks[leaf.name]]
    else:
        first = (leaf.index - 1) * spec.hosts_per_leaf
        names = [(f"h{first + j + 1}", "host") for j in range(spec.hosts_per_leaf)]
    return [*names, (f"probe{leaf.index}", "probe")] if spec.probes else names


def _hosts(spec: FabricSpec, leaves: list[Node]) -> Iterator[Node]:
    flat = 0
    counts: dict[Role, int] = {}
    for leaf in leaves:
        for n, (name, role) in enumerate(_names(spec, leaf), start=1):
            ip = addr.host_ip(spec.subnet, leaf.index, n, flat)
            counts[role] = counts.get(role, 0) + 1
            yield Node(name=name, role=role, index=counts[role], leaf=leaf.name, ip=ip, mac=addr.host_mac(ip))
            flat += 1


def _queue_bytes(queue: QueueSpec, frame: int, scale: Scale) -> int:
    """Bytes of a queue. A queue in packets is not scaled: packets are not."""
    if queue.packets is not None:
        return queue.packets * frame
    return max(round(scale.to_emulated_size(queue.bytes or 0)), MIN_QUEUE_FRAMES * frame)


def _discipline(queue: QueueSpec, scale: Scale) -> Discipline:
    low, high = (round(scale.to_emulated_size(v or 0)) for v in (queue.min, queue.max))
    return Discipline(kind=queue.kind, min=low, max=high, ecn=queue.ecn)


def _impairments(spec: FabricSpec | LinkOverride, scale: Scale) -> dict[str, float]:
    """delay, jitter, loss, reorder in emulated units; what an override leaves out is left out."""
    times = {k: v for k, v in (("delay", spec.delay), ("jitter", spec.jitter)) if v is not None}
    shares = {k: v for k, v in (("loss", spec.loss), ("reorder", spec.reorder)) if v is not None}
    return {k: scale.to_emulated_time(v) for k, v in times.items()} | shares


def _access_links(spec: FabricSpec, scale: Scale, leaves: list[Node], hosts: list[Node]) -> Iterator[Link]:
    frame = spec.mtu + addr.ETHERNET_HEADER
    for leaf in leaves:
        mine = [h for h in hosts if h.leaf == leaf.name]
        for j, host in enumerate(mine):
            rate = spec.border.rate if host.role == "outside" and spec.border else spec.host_rate
            number = addr.FIRST_HOST_PORT + j
            yield Link(
                name=f"{host.name}-{leaf.name}", kind="access", mtu=spec.mtu,
                a=End(node=host.name, port=f"{host.name}-eth0", number=0),
                b=End(node=leaf.name, port=f"{leaf.name}-eth{number}", number=number),
                rate=scale.to_emulated_rate(rate), queue=_queue_bytes(spec.queue, frame, scale),
                discipline=_discipline(spec.queue, scale), **_impairments(spec, scale))


def _spines_for(spec: FabricSpec, leaf: Node) -> range:
    """Numbers of the spines that a leaf is joined with: all, or those of its side."""
    sides = list(spec.side_leaves.values())
    each = spec.spines // max(len(sides), 1)
    for n, leaves in enumerate(sides):
        if leaf.name in leaves:
            return range(n * each + 1, (n + 1) * each + 1)
    return range(1, spec.spines + 1)


def uplink_rate(spec: FabricSpec, leaf: Node) -> float:
    """Real rate of one uplink of a leaf: given, derived from oversubscription, or non-blocking."""
    frame, spines = spec.mtu + addr.ETHERNET_HEADER, len(_spines_for(spec, leaf))
    if leaf.role == "vtep" and spec.bgp:
        return spec.bgp.vteps[leaf.name].uplink_rate or spec.host_rate
    if leaf.role == "border" and spec.border:
        if spec.border.uplink_rate is not None:
            return spec.border.uplink_rate
        return spec.border.hosts * spec.border.rate / spines * NON_BLOCKING
    if spec.uplink_rate is not None:
        return spec.uplink_rate
    hosts = len(spec.racks[leaf.name]) if spec.racks is not None else spec.hosts_per_leaf
    down = max(hosts, 1) * spec.host_rate / spines
    if spec.oversubscription is not None:
        return down * (frame + addr.VXLAN_OVERHEAD) / frame / spec.oversubscription
    return down * NON_BLOCKING


def _fabric_links(spec: FabricSpec, scale: Scale, leaves: list[Node], spines: list[Node]) -> Iterator[Link]:
    """Links of leaves, and of routers that are tunnel ends like them, with the spines."""
    mtu = spec.mtu + addr.VXLAN_OVERHEAD + 50   # room for the tunnel and for tags inside of it
    frame = spec.mtu + addr.ETHERNET_HEADER + addr.VXLAN_OVERHEAD
    queue = spec.uplink_queue or spec.queue.model_copy(update={      # twice as long, of the same kind
        unit: length * 2 for unit, length in (("packets", spec.queue.packets), ("bytes", spec.queue.bytes)) if length})
    for leaf in leaves:
        for spine in (spines[k - 1] for k in _spines_for(spec, leaf)):
            port = f"up{spine.index}" if leaf.role == "vtep" else f"{leaf.name}-eth{spine.index}"
            yield Link(
                name=f"{leaf.name}-{spine.name}", kind="fabric", mtu=mtu,
                a=End(node=leaf.name, port=port, number=spine.index),
                b=End(node=spine.name, port=f"{spine.name}-eth{leaf.index}", number=leaf.index),
                rate=scale.to_emulated_rate(uplink_rate(spec, leaf)),
                queue=_queue_bytes(queue, frame, scale), discipline=_discipline(queue, scale),
                **_impairments(spec, scale))


def _override(spec: FabricSpec, scale: Scale, links: list[Link]) -> Iterator[Link]:
    unknown = set(spec.links) - {k.name for k in links}
    if unknown:
        raise SpecError("links", f"the names of links: {', '.join(k.name for k in links)[:300]}",
                        ", ".join(sorted(unknown)))
    for link in links:
        over = spec.links.get(link.name)
        changed = link if over is None else link.model_copy(update=_changes(over, link, scale))
        _possible(changed)
        yield changed


def _possible(link: Link) -> None:
    """Raises SpecError where a delay has to be and is not."""
    if link.jitter > link.delay:
        raise SpecError(f"link {link.name}: jitter", f"at most its delay, {link.delay:g} s", f"{link.jitter:g} s")
    if link.reorder and not link.delay:
        raise SpecError(f"link {link.name}: reorder", "a delay, which reordered packets overtake", "none")


def _changes(over: LinkOverride, link: Link, scale: Scale) -> dict[str, object]:
    changes: dict[str, object] = dict(_impairments(over, scale))
    if over.rate is not None:
        changes["rate"] = scale.to_emulated_rate(over.rate)
    if over.queue is not None:
        changes["queue"] = _queue_bytes(over.queue, link.max_frame, scale)
        changes["discipline"] = _discipline(over.queue, scale)
    return changes
