"""Packet conservation: where every packet went, to the packet.

Between two quiet moments every packet that a host sent was received by a host, or a queue dropped
it, or a rule did. Packets are accounted for hop by hop, so that a difference has a place. Which hops there are and what
each counts, the lab's datapath knows (topologies/switches).

Named drops of emulated queues and of policy are results, and so is what a link loses because its
spec says so (`link_losses`). Anything lost elsewhere is the emulator's
failure: counted overruns are `emulator_drops`, differences that nothing counted are `unexplained`.
Inside a declared fault (a link taken down, a switch killed) what is lost beside the fault is
`fault_losses`, bounded by what the wires could hold and carry; so is what leaves dropped for want of a path
where the switch counted that inexactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from topologies.model.drop_names import unreachable_leaf
from topologies.model.fabric import Fabric

FRAME_FLOOR = 64    # bytes: the most packets that a rate can carry are of this size


@dataclass(frozen=True)
class QueueCount:
    """Cumulative packets of one direction's queue, and what its link lost by chance; `waiting` is a level."""

    sent: int = 0
    dropped: int = 0
    waiting: int = 0
    lost: int = 0
    by_class: Mapping[str, int] = field(default_factory=dict)   # class -> those of `dropped` that were of it

    def __add__(self, other: QueueCount) -> QueueCount:
        names = (*self.by_class, *other.by_class)
        return QueueCount(self.sent + other.sent, self.dropped + other.dropped, self.waiting + other.waiting,
                          self.lost + other.lost,
                          {name: self.by_class.get(name, 0) + other.by_class.get(name, 0) for name in names})

    def drops(self, direction: str) -> dict[str, int]:
        """Where packets were dropped: the direction, or its class for those of one."""
        found = {f"{direction} class {name}": n for name, n in self.by_class.items()}
        found[direction] = self.dropped - sum(found.values())
        return {place: n for place, n in found.items() if n}


@dataclass(frozen=True)
class Counters:
    """Everything that is counted, at one moment. Devices are keyed 'node/device' ('wires/w3a')."""

    received: Mapping[str, int]             # packets into a device
    sent: Mapping[str, int]                 # packets out of a device
    queues: Mapping[str, QueueCount]        # direction -> its queue, sentinel class included
    overruns: Mapping[str, int]             # switch -> packets that it had no room for
    policy: Mapping[str, Mapping[str, int]]     # switch -> name of a drop rule -> packets
    softnet: int = 0                        # packets dropped from kernel backlogs, whole machine
    overrun_at: str = "port sockets"        # where a switch has no room, if it has none
    host_errors: Mapping[str, int] = field(default_factory=dict)    # host -> UDP receive-buffer errors


@dataclass(frozen=True)
class Fault:
    """A declared fault: its name, the links that it touches, and for how long (s).

    switch: the one that was away; those at the far ends of its links are no part of it, for ports keep their carrier.
    """

    name: str
    links: tuple[str, ...]
    seconds: float
    switch: str = ""


@dataclass(frozen=True)
class Ledger:
    """Packet accounting between two moments; packets."""

    sent: int
    received: int
    queue_drops: dict[str, int]         # direction, or 'leaf1->h3 class gold' -> packets
    policy_drops: dict[str, int]        # 'leaf1 unknown-destination' -> packets
    emulator_drops: dict[str, int]      # place -> packets
    fault_losses: dict[str, int]        # fault -> packets
    unexplained: dict[str, int]         # place -> packets, negative if more came out than went in
    receive_errors: dict[str, int]      # host -> packets that arrived but found no room in the socket
    in_queues: int                      # still waiting at the end, less what waited at the start
    link_losses: dict[str, int] = field(default_factory=dict)   # direction -> packets that its link lost, as asked

    @property
    def balances(self) -> bool:
        """sent = received + named drops, to the packet, and every hop as well."""
        return not self.unexplained and not self.in_queues and self.sent == self.received + self.lost

    @property
    def lost(self) -> int:
        """All packets that have a name for their loss."""
        named = (self.queue_drops, self.link_losses, self.policy_drops, self.emulator_drops, self.fault_losses)
        return sum(sum(d.values()) for d in named)

    def as_json(self) -> dict[str, object]:
        return {"balances": self.balances, "lost": self.lost, **self.__dict__}


def device_key(node: str, device: str) -> str:
    return f"{node}/{device}"


class Accounting:
    """Differences of two snapshots, hop by hop."""

    def __init__(self, fabric: Fabric, before: Counters, after: Counters) -> None:
        self.fabric, self.before, self.after = fabric, before, after
        self.missing: Counter[str] = Counter()

    def rx(self, node: str, device: str) -> int:
        key = device_key(node, device)
        return self.after.received.get(key, 0) - self.before.received.get(key, 0)

    def tx(self, node: str, device: str) -> int:
        key = device_key(node, device)
        return self.after.sent.get(key, 0) - self.before.sent.get(key, 0)

    def queue(self, direction: str) -> QueueCount:
        b, a = self.before.queues.get(direction, QueueCount()), self.after.queues.get(direction, QueueCount())
        return QueueCount(a.sent - b.sent, a.dropped - b.dropped, a.waiting - b.waiting, a.lost - b.lost,
                          {name: n - b.by_class.get(name, 0) for name, n in a.by_class.items()})

    def lose(self, place: str, packets: int) -> None:
        """So many packets went in and did not come out at a place."""
        if packets:
            self.missing[place] += packets

    def overruns(self, switch: str) -> int:
        return self.after.overruns.get(switch, 0) - self.before.overruns.get(switch, 0)

    def policy(self, switch: str) -> dict[str, int]:
        before, after = self.before.policy.get(switch, {}), self.after.policy.get(switch, {})
        return {rule: n for rule in after if (n := after[rule] - before.get(rule, 0))}

    def entered(self, host: str) -> int:
        """Packets that a host's stack gave to its own queue."""
        queue = self.queue(self.fabric.access_link(host).directions[0])
        return queue.sent + queue.dropped + queue.waiting


Walk = Callable[[Accounting], None]     # compares what each hop took in with what it gave on


def balance(fabric: Fabric, walk: Walk, before: Counters, after: Counters, faults: Iterable[Fault] = ()) -> Ledger:
    """Packet accounting between two snapshots, hop by hop."""
    accounting = Accounting(fabric, before, after)
    walk(accounting)
    hosts = [h.name for h in fabric.all_hosts]
    directions = [d for k in fabric.links for d in k.directions]
    found = _Attribution(fabric, accounting.missing, {
        f"{s.name} {rule}": n for s in fabric.switches for rule, n in accounting.policy(s.name).items()})
    for fault in faults:
        found.settle(fault)
    emulator = {f"{s.name} ({after.overrun_at})": n for s in fabric.switches if (n := accounting.overruns(s.name))}
    # Routers with a VTEP are ends of the fabric, too.
    routers = [(v.name, link.a.interface) for v in fabric.vteps for link in fabric.uplinks(v.name)]
    return Ledger(
        sent=sum(accounting.entered(h) for h in hosts) + sum(accounting.tx(*end) for end in routers),
        received=sum(accounting.rx(h, fabric.access_link(h).a.interface) for h in hosts)
        + sum(accounting.rx(*end) for end in routers),
        queue_drops={place: n for d in directions for place, n in accounting.queue(d).drops(d).items()},
        policy_drops=found.drops, emulator_drops=emulator, fault_losses=found.in_faults,
        unexplained={p: n for p, n in found.rest.items() if n},
        receive_errors={h: n for h in hosts
                        if (n := after.host_errors.get(h, 0) - before.host_errors.get(h, 0))},
        in_queues=sum(accounting.queue(d).waiting for d in directions),
        link_losses={d: n for d in directions if (n := accounting.queue(d).lost)})


def _beside(fabric: Fabric, fault: Fault) -> tuple[str, ...]:
    """Beginnings of the names of places that a fault touches: its wires, its ends, the switches there."""
    names: list[str] = []
    for name in fault.links:
        link = fabric.link(name)
        names += [*link.directions, link.a.interface, link.b.interface]
        names += [n for n in (link.a.node, link.b.node) if not fabric.by_name[n].is_host and fault.switch in ("", n)]
    return tuple(f"{n} (" for n in names)


def bound(fabric: Fabric, fault: Fault) -> int:
    """The most packets that a fault can have swallowed: full queues, and the rate while it lasted."""
    total = 0.0
    for name in fault.links:
        link = fabric.link(name)
        total += 2 * (link.queue + link.rate / 8 * fault.seconds) / FRAME_FLOOR
    return int(total) + 1


def _dropped_beside(fabric: Fabric, fault: Fault, drop: str) -> bool:
    """Whether 'leaf2 no-path:leaf1' can be this fault's: one of its links is an uplink of one of the two leaves, or one
    of the two was away."""
    switch, _, rule = drop.partition(" ")
    far = unreachable_leaf(rule)
    ends = {switch, far}
    if fault.switch and fabric.by_name[fault.switch].is_leaf:
        return bool(far) and fault.switch in ends
    return bool(far) and any(fabric.link(name).a.node in ends for name in fault.links)


class _Attribution:
    """Splits what is missing into losses beside declared faults, within their bound, and the rest.

    All places of one fault are summed first: a packet that a switch sent towards a cut wire can show
    as minus one here and plus one there. A switch credits packets to the rule that it finds when it looks at
    their flow again, up to half a second late; so drops for want of a path are off by what passed just before the rule
    came or went, and the switch by as much the other way. Both together are right, and are the fault's.
    """

    def __init__(self, fabric: Fabric, missing: Mapping[str, int], drops: Mapping[str, int]) -> None:
        self._fabric = fabric
        self.rest, self.drops = dict(missing), dict(drops)      # what is left of places, and of policy drops
        self.in_faults: dict[str, int] = {}

    def settle(self, fault: Fault) -> None:
        """Book to the fault what is missing beside it; then, if switches are off by their drops, these as well."""
        beside = [p for p in self.rest if p.startswith(_beside(self._fabric, fault))]
        if self._book(fault, beside, []):
            beside = []
        drops = [d for d in self.drops if _dropped_beside(self._fabric, fault, d)]
        inside = {d: f"{d.partition(' ')[0]} (inside the switch)" for d in drops}
        places = dict.fromkeys([*beside, *(p for p in inside.values() if p in self.rest)])
        self._book(fault, list(places), [d for d, place in inside.items() if place in places])

    def _book(self, fault: Fault, places: list[str], drops: list[str]) -> bool:
        off = sum(self.rest[p] for p in places)
        total = off + sum(self.drops[d] for d in drops)
        if not places or total < 0 or abs(off) > bound(self._fabric, fault):
            return False
        if total:
            self.in_faults[fault.name] = self.in_faults.get(fault.name, 0) + total
        for place in places:
            del self.rest[place]
        for drop in drops:
            del self.drops[drop]
        return True
