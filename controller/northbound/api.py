"""The northbound API: what the controller knows, as JSON. controller/northbound/vpc_api.py adds what it can be given.

GET /health    {expected, connected: switches; converged: every switch that is not dead holds what is wanted;
                generation: number of the wanted rule set; changed: its time, s since the epoch;
                dead: [switches whose process has ended, until they hold their rules again];
                down: [links that are down, those of dead switches among them];
                rates: {link: bit/s} of those that are known to have another rate than the fabric's;
                switches: {name: {connected, settled, flow_mods, group_mods: sent since it connected, errors}}}
GET /topology  {switches: [name], hosts: [{name, ip, mac, leaf}], links: [{name, ends: [a, b], up}]}
GET /rules     {switch: text, as ovs-ofctl reads it}
GET /counters  {time: s since the epoch;
                switches: {name: {flows: [{name, cookie, table, drop, packets, bytes}],
                                  groups: [{id, name, packets, bytes, buckets: [{id, port, packets, bytes}]}],
                                  drops: {rule: {packets, bytes}}}};
                drops: the same, over all switches}
               `drops` includes drop rules that have been removed since the controller started. A group's
               buckets count from the last change of the group. An answer takes up to half a second, because
               it waits until the switches have added up.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from controller.change import IntentTransactions
from controller.desired_state import FOREIGN, DesiredState
from controller.northbound import vpc_api
from controller.northbound.vpc_api import problem
from controller.rules.rules import SwitchRules
from controller.southbound.connection import FlowCounter, GroupCounters
from controller.southbound.ofctl import render
from topologies.model.errors import LabError

Json = dict[str, Any]


class CounterReader(Protocol):
    """Reads flow counters (table, priority, cookie, packets, bytes) and group counters of every switch."""

    def read_counters(self) -> Mapping[str, tuple[list[FlowCounter], list[GroupCounters]]]: ...


def build(desired: DesiredState, reader: CounterReader, transactions: IntentTransactions,
          peers: Callable[[], list[Json]] = list) -> FastAPI:
    """The API over what is desired, what reads the switches' counters, the one way in for intent, and BGP's peers."""
    api = FastAPI(title="aifab controller", docs_url=None, redoc_url=None)

    @api.get("/health")
    def health() -> Json:
        return desired.health()

    @api.get("/topology")
    def topology() -> Json:
        return _topology(desired)

    @api.get("/rules")
    def rules() -> Json:
        return {switch: render(r) for switch, r in desired.wanted.items()}

    @api.get("/counters")
    def counters() -> Json:
        try:
            return counters_of(desired, reader.read_counters())
        except (LabError, TimeoutError) as error:
            raise HTTPException(503, str(error) or "a switch did not answer in time") from None

    @api.exception_handler(StarletteHTTPException)      # of the framework's own as well: no such path, no such method
    def in_words(_request: Request, error: StarletteHTTPException) -> JSONResponse:
        return problem(HTTPStatus(error.status_code), str(error.detail))

    vpc_api.add(api, desired, transactions, peers)
    return api


def _topology(desired: DesiredState) -> Json:
    fabric, down = desired.fabric, desired.state.down
    return {"switches": [s.name for s in fabric.switches],
            "hosts": [{"name": h.name, "ip": h.ip, "mac": h.mac, "leaf": h.leaf} for h in fabric.all_hosts],
            "links": [{"name": k.name, "ends": [k.a.node, k.b.node], "up": k.name not in down} for k in fabric.links]}


def counters_of(desired: DesiredState, read: Mapping[str, tuple[list[FlowCounter], list[GroupCounters]]]) -> Json:
    """Raw counters with the names of their rules."""
    switches = {name: _switch(desired, name, flows, groups) for name, (flows, groups) in read.items()}
    total: Counter[tuple[str, str]] = Counter()
    for switch in switches.values():
        for rule, drop in switch["drops"].items():
            total.update({(rule, unit): count for unit, count in drop.items()})
    drops = {rule: {unit: total[rule, unit] for unit in ("packets", "bytes")} for rule, _ in total}
    return {"time": time.time(), "switches": switches, "drops": drops}


def _switch(desired: DesiredState, switch: str, flows: list[FlowCounter], groups: list[GroupCounters]) -> Json:
    wanted = desired.wanted[switch]
    drop_cookies = {f.cookie for f in wanted.flows if f.is_drop}
    listed = [{"name": desired.name(f.cookie), "cookie": f"{f.cookie:#018x}", "table": f.table,
               "drop": f.cookie in drop_cookies, "packets": f.packets, "bytes": f.bytes} for f in flows]
    drops = desired.retired(switch)
    for flow in flows:
        if flow.cookie in drop_cookies:
            into = drops.setdefault(desired.name(flow.cookie), {"packets": 0, "bytes": 0})
            into["packets"] += flow.packets
            into["bytes"] += flow.bytes
    return {"flows": listed, "groups": [_group(wanted, g) for g in groups], "drops": drops}


def _group(wanted: SwitchRules, stats: GroupCounters) -> Json:
    """Counters of a group; a switch lists its buckets in their own order."""
    group = wanted.by_group.get(stats.group_id)
    buckets = zip(group.buckets, stats.bucket_stats, strict=False) if group else ()
    return {"id": stats.group_id, "name": group.name if group else FOREIGN,
            "packets": stats.packet_count, "bytes": stats.byte_count,
            "buckets": [{"id": b.id, "port": b.watch_port, "packets": c.packet_count, "bytes": c.byte_count}
                        for b, c in buckets]}
