"""ECMP: each leaf sends what is for another leaf's hosts through a select group over its uplinks.

    sudo aifab up small --controller scenarios/examples/controllers/ecmp.py

All rules are there before the first packet: a switch hashes each flow to an uplink, and asks nobody.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from os_ken.base.app_manager import OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER, set_ev_cls
from os_ken.ofproto import ofproto_v1_5 as ofp

from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory

UPLINKS = 1             # number of the group
IPV4, ARP = 0x0800, 0x0806


class Ecmp(OSKenApp):  # type: ignore[misc]
    OFP_VERSIONS = (ofp.OFP_VERSION,)

    def __init__(self) -> None:
        super().__init__()
        self.fabric: Fabric = Inventory.read(Path(os.environ["AIFAB_INVENTORY"])).fabric
        self.names = {s.dpid: s.name for s in self.fabric.switches}

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER])  # type: ignore[untyped-decorator]
    def connected(self, event: Any) -> None:
        datapath, parser = event.datapath, event.datapath.ofproto_parser
        uplinks = [k.a.ofport for k in self.fabric.links_of(self.names[datapath.id])
                   if k.kind == "fabric" and k.a.node == self.names[datapath.id]]
        if uplinks:
            datapath.send_msg(parser.OFPGroupMod(datapath, ofp.OFPGC_ADD, ofp.OFPGT_SELECT, UPLINKS, buckets=[
                parser.OFPBucket(bucket_id=n, actions=[parser.OFPActionOutput(port)], properties=[
                    parser.OFPGroupBucketPropWeight(type_=ofp.OFPGBPT_WEIGHT, weight=1),
                    parser.OFPGroupBucketPropWatch(type_=ofp.OFPGBPT_WATCH_PORT, watch=port)])
                for n, port in enumerate(uplinks, 1)]))
        for match, action in self.routes(self.names[datapath.id], parser):
            self.add(datapath, 10, match, [action])

    def routes(self, switch: str, parser: Any) -> Iterator[tuple[dict[str, Any], Any]]:
        """(match, action) for each host's IPv4 and for ARP requests that ask for it."""
        for host in self.fabric.hosts:
            leaf = self.fabric.access_link(host.name).b
            if switch == leaf.node:
                action = parser.OFPActionOutput(leaf.ofport)
            elif self.fabric.by_name[switch].is_leaf:
                action = parser.OFPActionGroup(UPLINKS)
            else:
                down = next(k for k in self.fabric.links_of(switch) if k.a.node == leaf.node)
                action = parser.OFPActionOutput(down.b.ofport)
            yield {"eth_type": IPV4, "ipv4_dst": host.ip}, action
            yield {"eth_type": ARP, "arp_tpa": host.ip}, action

    def add(self, datapath: Any, priority: int, match: dict[str, Any], actions: list[Any]) -> None:
        parser = datapath.ofproto_parser
        apply = parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)
        datapath.send_msg(parser.OFPFlowMod(datapath, priority=priority, match=parser.OFPMatch(**match),
                                            instructions=[apply] if actions else []))
