"""The pipeline: named tables, the jumps they may make, named priorities.

    leaf   INGRESS ──> ARP
              │ └────> QOS ──> BRIDGE ──> DELIVER ──> host port
              │                 │ │ └─> select group ────> vx0   (encapsulated: INGRESS again, from LOCAL)
              │                 │ └─> PIN ──> failover group ──> vx0    (in the place of select, where paths are pinned)
              │                 └─> POLICY ──> ROUTE ──> host port, select group or PIN    (to a VPC's gateway)
              │                          └─> what is behind Externals: the same
              └──(from vx0)──────────────> DELIVER

    spine  INGRESS ──> port towards the leaf of the outer destination

INGRESS sorts packets by where they come from and refuses forged senders; from there on the segment
is in tunnel_id: the VNI of the default VPC, of a VPC's subnet, or of a routed packet's VPC. POLICY says
what a subnet may send to, by prefixes, and puts the VNI of its VPC there; ROUTE has one route for each VPC
and host. What came out of the fabric goes to DELIVER only and can never enter it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import IntEnum

from controller.rules.rules import Flow, Match


class Table(IntEnum):
    INGRESS = 0
    QOS = 10
    ARP = 20
    BRIDGE = 30
    POLICY = 31
    ROUTE = 32
    PIN = 35
    DELIVER = 40


class Priority(IntEnum):
    DEFAULT = 0         # what no rule claims
    GUARD = 50          # refuses what the rules above it have not admitted
    POLICY = 60         # refuses what a segment as a whole may not
    NORMAL = 100        # in POLICY: and upwards by the length of the prefix, to 198: see routed()
    OVERRIDE = 200      # goes before the normal rules of its table: the sentinel, what a host sends to itself
    EXPIRED = 210       # a TTL that has run out, before anything is done with the packet
    GATEWAY = 220       # what a gateway answers itself


JUMPS: dict[Table, frozenset[Table]] = {
    Table.INGRESS: frozenset({Table.QOS, Table.ARP, Table.DELIVER}),
    Table.QOS: frozenset({Table.BRIDGE}),
    Table.ARP: frozenset(),
    Table.BRIDGE: frozenset({Table.DELIVER, Table.PIN, Table.POLICY}),
    Table.POLICY: frozenset({Table.ROUTE, Table.PIN}),
    Table.ROUTE: frozenset({Table.PIN}),
    Table.PIN: frozenset(),
    Table.DELIVER: frozenset(),
}


STAND_IN = 1            # above the rule that it stands in for
REFUSAL = 2             # above a permit of the same prefix
_OF_A_LENGTH = 3        # priorities of POLICY for each length of prefix: the permit, its stand-in, a refusal


def by_length(length: int) -> int:
    """Priority in POLICY of a permit whose prefix has so many bits; the longest prefix wins."""
    return Priority.NORMAL + _OF_A_LENGTH * length


def stand_in(flow: Flow, name: str) -> Flow:
    """Drops what a rule would have sent, for as long as it cannot; just above it, so that no other rule is hidden."""
    return replace(flow, name=name, priority=flow.priority + STAND_IN, actions=(), goto=None)


def check_jumps(flows: Iterable[Flow]) -> None:
    """Raises ValueError for a rule in no named table or with a jump that is not declared."""
    for (table, goto), name in {(flow.table, flow.goto): flow.name for flow in flows}.items():
        if goto is not None and Table(goto) not in JUMPS[Table(table)]:
            raise ValueError(f"rule {name}: no jump from {Table(table).name} to {Table(goto).name}")


def drop(name: str, table: Table) -> Flow:
    """The table's default: what nothing claimed is dropped, and counted under a name."""
    return Flow(name, table, Priority.DEFAULT, Match())
