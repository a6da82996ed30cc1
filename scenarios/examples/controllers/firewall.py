"""A firewall on the leaves, over ECMP: nobody opens a TCP connection to a closed port.

    sudo aifab up small --controller scenarios/examples/controllers/firewall.py
    sudo aifab exec h5 -- nc -l -p 2323 &
    sudo aifab exec h1 -- nc -w2 10.9.2.1 2323          # nothing gets through
"""

from typing import Any

from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER, set_ev_cls

from scenarios.examples.controllers.ecmp import IPV4, Ecmp

TCP = 6
CLOSED = (23, 2323)


class Firewall(Ecmp):
    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER])  # type: ignore[untyped-decorator]
    def connected(self, event: Any) -> None:
        if self.fabric.by_name[self.names[event.datapath.id]].is_leaf:
            for port in CLOSED:     # a rule without actions drops, and counts what it drops
                self.add(event.datapath, 100, {"eth_type": IPV4, "ip_proto": TCP, "tcp_dst": port}, [])
        super().connected(event)
