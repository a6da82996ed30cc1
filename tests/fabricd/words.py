"""What the controller compiles, in the engine's words (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.rules.rules import (
    IN_PORT,
    LOCAL,
    Action,
    CopyField,
    DecTtl,
    Flow,
    Group,
    Match,
    Output,
    SetField,
    SwitchRules,
    ToGroup,
)
from topologies.model.fabric import Fabric

_PORTS = {LOCAL: "LOCAL", IN_PORT: "IN_PORT"}
_HASHED = {"ip_src": "ipv4_src", "ip_dst": "ipv4_dst"}


def _match(match: Match) -> str:
    return ",".join(f"{name}={_PORTS.get(value, value) if isinstance(value, int) else value}"
                    for name, value in match.set_fields) or "*"


def _actions(actions: Iterable[Action]) -> str:
    words = []
    for action in actions:
        match action:
            case Output(port):
                words.append(f"output:{_PORTS.get(port, port)}")
            case ToGroup(group):
                words.append(f"group:{group}")
            case SetField(name, value):
                words.append(f"set:{name}={value}")
            case CopyField(source, target):
                words.append(f"copy:{source}>{target}")
            case DecTtl():
                words.append("dec_ttl")
    return ";".join(words) or "drop"


def rule(switch: str, number: int, flow: Flow) -> str:
    goto = f" goto={int(flow.goto)}" if flow.goto is not None else ""
    return (f"rule {switch} {number} table={int(flow.table)} priority={int(flow.priority)} cookie={flow.cookie} "
            f"match {_match(flow.match)} do {_actions(flow.actions)}{goto}")


def group(switch: str, it: Group) -> str:
    kind = "failover" if it.is_failover else f"select hash={','.join(_HASHED.get(f, f) for f in it.hash_fields)}"
    buckets = " ".join(f"{b.id}:{b.watch_port}:{_actions(b.actions)}" for b in it.buckets)
    return f"group {switch} {it.id} type={kind} buckets {buckets}"


def commands(rules: SwitchRules) -> Iterator[str]:
    """A rule's ID is its place in `rules.flows`, from 0 on."""
    yield from (f"neighbour {rules.switch} {n.ip} {n.mac}" for n in rules.neighbours)
    yield from (group(rules.switch, g) for g in rules.groups)
    yield from (rule(rules.switch, n, flow) for n, flow in enumerate(rules.flows))


def fabric_commands(fabric: Fabric) -> Iterator[str]:
    """Switches, their ports and tunnel ends, and the cables between them; hosts' ports are left open."""
    yield from (f"switch {s.name}" for s in fabric.switches)
    for link in fabric.links:
        yield from (f"port {end.node} {end.ofport}" for end in (link.a, link.b) if not fabric.node(end.node).is_host)
    for leaf in fabric.leaves:
        yield from (f"vtep {leaf.name} {ip} {leaf.mac}" for ip in (leaf.ip, *leaf.aliases))
    for link in fabric.links:
        if not (fabric.node(link.a.node).is_host or fabric.node(link.b.node).is_host):
            yield f"cable {link.a.node} {link.a.ofport} {link.b.node} {link.b.ofport}"
