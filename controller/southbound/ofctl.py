"""A rule set as ovs-ofctl text (OpenFlow 1.5): for reading, and for golden files."""

from __future__ import annotations

from collections.abc import Iterator

from controller.rules.rules import (
    ETH_ARP,
    ETH_IPV4,
    ICMP,
    IN_PORT,
    LOCAL,
    UDP,
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

_PORTS = {LOCAL: "LOCAL", IN_PORT: "IN_PORT"}
_MATCH = {"in_port": "in_port", "tunnel_id": "tun_id", "tun_ipv4_dst": "tun_dst", "eth_src": "dl_src",
          "eth_dst": "dl_dst", "ip_dscp": "ip_dscp", "ipv4_src": "nw_src", "ipv4_dst": "nw_dst", "udp_dst": "tp_dst",
          "nw_ttl": "nw_ttl", "icmpv4_type": "icmp_type", "icmpv4_code": "icmp_code",
          "arp_op": "arp_op", "arp_spa": "arp_spa", "arp_tpa": "arp_tpa", "arp_sha": "arp_sha"}
_SET = {"tunnel_id": "tun_id", "tun_ipv4_dst": "tun_dst", "icmpv4_type": "icmp_type", "ipv4_src": "ip_src"}
_COPY = {"eth_src": "NXM_OF_ETH_SRC[]", "eth_dst": "NXM_OF_ETH_DST[]", "arp_sha": "NXM_NX_ARP_SHA[]",
         "arp_tha": "NXM_NX_ARP_THA[]", "arp_spa": "NXM_OF_ARP_SPA[]", "arp_tpa": "NXM_OF_ARP_TPA[]",
         "ipv4_src": "NXM_OF_IP_SRC[]", "ipv4_dst": "NXM_OF_IP_DST[]"}
_PROTOCOLS = {(ETH_ARP, None): "arp", (ETH_IPV4, None): "ip", (ETH_IPV4, UDP): "udp",
              (ETH_IPV4, ICMP): "icmp"}


def _match(match: Match) -> Iterator[str]:
    values = dict(match.set_fields)
    protocol = (values.pop("eth_type", None), values.pop("ip_proto", None))
    if protocol != (None, None):
        yield _PROTOCOLS[protocol]      # type: ignore[index]  # both are ints or None
    for field, value in values.items():
        shown = _PORTS.get(value, value) if isinstance(value, int) else value
        yield f"{_MATCH[field]}={shown}"


def _action(action: Action) -> str:
    match action:
        case Output(port):
            return f"output:{_PORTS.get(port, port)}"
        case ToGroup(group):
            return f"group:{group}"
        case SetField(field, value):
            return f"set_field:{value}->{_SET.get(field, field)}"
        case CopyField(source, target):
            return f"move:{_COPY[source]}->{_COPY[target]}"
        case DecTtl():
            return "dec_ttl"


def flow_line(flow: Flow) -> str:
    """One flow as `ovs-ofctl add-flows` reads it."""
    actions = [*map(_action, flow.actions), *([f"goto_table:{int(flow.goto)}"] if flow.goto is not None else [])]
    # send_flow_rem: a drop's last counter reaches the controller even when the rule is removed
    head = [f"cookie={flow.cookie:#018x}", f"table={int(flow.table)}", f"priority={int(flow.priority)}",
            *(["send_flow_rem"] if flow.is_drop else [])]
    return f"{','.join([*head, *_match(flow.match)])},actions={','.join(actions) or 'drop'}"


def group_line(group: Group) -> str:
    """One group as `ovs-ofctl add-groups` reads it."""
    kind, weight = "type=fast_failover", ""
    if not group.is_failover:
        kind = f"type=select,selection_method=hash,fields({','.join(group.hash_fields)})"
        weight = "weight:1,"
    buckets = ",".join(f"bucket=bucket_id:{b.id},{weight}watch_port:{b.watch_port},"
                       f"actions={','.join(map(_action, b.actions))}" for b in group.buckets)
    return f"group_id={group.id},{kind},{buckets}"


def render(rules: SwitchRules) -> str:
    """A switch's rules as text, names as comments: groups, then flows, then tunnel neighbours."""
    lines = [f"# {rules.switch}: {len(rules.groups)} groups, {len(rules.flows)} flows"]
    for group in rules.groups:
        lines += [f"# {group.name}", group_line(group)]
    for flow in rules.flows:
        lines += [f"# {flow.name}", flow_line(flow)]
    lines += [f"# tnl/neigh/set {rules.switch} {n.ip} {n.mac}" for n in rules.neighbours]
    return "\n".join(lines) + "\n"
