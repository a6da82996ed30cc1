"""FabricSpec in, Fabric out: names, ports, addresses, rates and queues of everything in a fabric. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from topologies.model import addressing as addr
from topologies.model.disciplines import QueueSpec
from topologies.model.errors import SpecError
from topologies.model.fabric import End, Fabric, Link, Node, Role
from topologies.model.scale import Scale
from topologies.model.spec import FabricSpec, LinkOverride

NON_BLOCKING = 1.06     # uplink headroom that was measured to be enough for VXLAN's 3.3 % and bursts
MIN_QUEUE_FRAMES = 2


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
        index=i, ip=addr.vtep(i), mac=addr.leaf_mac(i), dpid=addr.leaf_dpid(i), aliases=_aliases(spec, i))


def _vtep(spec: FabricSpec, router: str, i: int) -> Node:
    return Node(name=router, role="vtep", index=i, ip=addr.vtep(i), mac=addr.leaf_mac(i),
                aliases=_aliases(spec, i))


def _aliases(spec: FabricSpec, i: int) -> tuple[str, ...]:
    """One for each path: in two tiers, for each spine."""
    return tuple(addr.vtep(i, k + 1) for k in range(spec.spines))


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
    """Bytes of a queue. A queue in packets is not scaled: packets are not; one in bytes is not scaled below two."""
    if queue.packets is not None:
        return queue.packets * frame
    size = round(scale.to_emulated_size(queue.bytes or 0))
    return size if scale.is_identity else max(size, MIN_QUEUE_FRAMES * frame)


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
                a=End(node=host.name, interface=f"{host.name}-eth0", ofport=0),
                b=End(node=leaf.name, interface=f"{leaf.name}-eth{number}", ofport=number),
                rate=scale.to_emulated_rate(rate), queue=_queue_bytes(spec.queue, frame, scale),
                discipline=spec.queue.discipline(scale), **_impairments(spec, scale))


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
                a=End(node=leaf.name, interface=port, ofport=spine.index),
                b=End(node=spine.name, interface=f"{spine.name}-eth{leaf.index}", ofport=leaf.index),
                rate=scale.to_emulated_rate(uplink_rate(spec, leaf)),
                queue=_queue_bytes(queue, frame, scale), discipline=queue.discipline(scale),
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
        changes["discipline"] = over.queue.discipline(scale)
    return changes
