"""A rule set as ovs-ofctl text (OpenFlow 1.5): for reading, for golden files, for a fabric without a controller."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

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
    Neighbour,
    Output,
    RuleSet,
    SetField,
    SwitchRules,
    ToGroup,
)
from topologies.switches.ovs.management import unixctl
from topologies.model.errors import HostError, LabError
from topologies.model.inventory import Inventory, SwitchProcess

NEIGHBOUR_AGING = 3600      # seconds, the most that Open vSwitch takes; an unused neighbour is forgotten after it
TIMEOUT = 10.0

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


def _ofctl(process: SwitchProcess, command: str, lines: Iterable[str]) -> None:
    run = ["ovs-ofctl", "-O", "OpenFlow15", command, f"unix:{process.management}", "-"]
    try:
        done = subprocess.run(run, input="\n".join(lines) + "\n", capture_output=True, text=True,
                              timeout=TIMEOUT, check=False)
    except FileNotFoundError:
        raise HostError("ovs-ofctl", "the programs of Open vSwitch", "none on PATH",
                        "install the package openvswitch-switch") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"switch {process.bridge}", f"an answer to ovs-ofctl {command}",
                       f"none within {TIMEOUT:g} s") from None
    if done.returncode:
        raise LabError(f"switch {process.bridge}", f"ovs-ofctl {command} to succeed", done.stderr.strip()[-500:])


def set_neighbours(process: SwitchProcess, neighbours: Iterable[Neighbour]) -> None:
    """Tell a switch's tunnel the MACs of the remote VTEPs; renews those that it knows."""
    unixctl.call(process, "tnl/neigh/aging", str(NEIGHBOUR_AGING))
    for neighbour in neighbours:
        unixctl.call(process, "tnl/neigh/set", process.bridge, neighbour.ip, neighbour.mac)


def forget_cached(process: SwitchProcess) -> None:
    """Drop the decisions that a switch has cached, so that the next packet of each flow is held against the rules.

    A switch adapts cached decisions to new rules by itself, but not always: docs/decisions/025-caches-are-emptied.md.
    No packet is lost by it. Raises LabError if the switch does not answer.
    """
    unixctl.call(process, "revalidator/purge")


def _install_switch(process: SwitchProcess, rules: SwitchRules) -> None:
    if rules.neighbours:
        set_neighbours(process, rules.neighbours)
    if rules.groups:
        _ofctl(process, "add-groups", map(group_line, rules.groups))
    _ofctl(process, "add-flows", map(flow_line, rules.flows))


def install(inventory: Inventory, rules: RuleSet) -> None:
    """Put a rule set on the switches of a running lab, without a controller. Raises LabError."""
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(_install_switch, inventory.switches[name], r) for name, r in rules.items()]:
            done.result()
