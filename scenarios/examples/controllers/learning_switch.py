"""A learning switch: it floods what it does not know, and learns by which port each MAC address is reached.

    sudo aifab up small --controller scenarios/examples/controllers/learning_switch.py

A fabric has loops, and a flood would run round them for ever: it stays on a tree, all host ports and one spine.
"""

import os
from pathlib import Path
from typing import Any

from os_ken.base.app_manager import OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER, set_ev_cls
from os_ken.lib.packet import ethernet, packet
from os_ken.ofproto import ofproto_v1_5

from topologies.model.inventory import Inventory


def tree_ports(path: Path) -> dict[int, set[int]]:
    """Datapath id -> the ports on which it floods."""
    fabric = Inventory.read(path).fabric
    root = fabric.spines[0].name
    found: dict[int, set[int]] = {s.dpid: set() for s in fabric.switches}
    for link in fabric.links:
        if link.kind == "access" or root in (link.a.node, link.b.node):
            for end in (link.a, link.b):
                if end.ofport:
                    found[fabric.by_name[end.node].dpid].add(end.ofport)
    return found


class LearningSwitch(OSKenApp):  # type: ignore[misc]
    OFP_VERSIONS = (ofproto_v1_5.OFP_VERSION,)

    def __init__(self) -> None:
        super().__init__()
        self.flood = tree_ports(Path(os.environ["AIFAB_INVENTORY"]))
        self.learned: dict[tuple[int, str], int] = {}      # (datapath id, MAC) -> port

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER])  # type: ignore[untyped-decorator]
    def connected(self, event: Any) -> None:
        """What no rule matches comes to us, from the tree's ports alone."""
        for port in self.flood[event.datapath.id]:
            self.add(event.datapath, 0, {"in_port": port}, ofproto_v1_5.OFPP_CONTROLLER)

    @set_ev_cls(ofp_event.EventOFPPacketIn, [MAIN_DISPATCHER])  # type: ignore[untyped-decorator]
    def packet_in(self, event: Any) -> None:
        message = event.msg
        datapath, parser = message.datapath, message.datapath.ofproto_parser
        in_port = message.match["in_port"]
        frame = packet.Packet(message.data).get_protocol(ethernet.ethernet)
        self.learned[datapath.id, frame.src] = in_port
        port = self.learned.get((datapath.id, frame.dst))
        if port is not None:
            self.add(datapath, 1, {"eth_dst": frame.dst}, port)
        ports = [port] if port is not None else sorted(self.flood[datapath.id] - {in_port})
        datapath.send_msg(parser.OFPPacketOut(
            datapath, ofproto_v1_5.OFP_NO_BUFFER, parser.OFPMatch(in_port=in_port),
            [parser.OFPActionOutput(p) for p in ports], message.data))

    def add(self, datapath: Any, priority: int, match: dict[str, Any], port: int) -> None:
        parser = datapath.ofproto_parser
        output = parser.OFPActionOutput(port, ofproto_v1_5.OFPCML_NO_BUFFER)
        apply = parser.OFPInstructionActions(ofproto_v1_5.OFPIT_APPLY_ACTIONS, [output])
        datapath.send_msg(parser.OFPFlowMod(datapath, priority=priority, match=parser.OFPMatch(**match),
                                            instructions=[apply]))
