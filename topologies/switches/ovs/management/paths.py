"""Where a switch would send a packet, asked of the switch itself (docs/decisions/017-paths-are-asked.md).

`ofproto/trace` takes it through rules, groups and port states as it would a real one: nothing is sent or counted.
"""

from __future__ import annotations

import re

from topologies.model.inventory import SwitchProcess
from topologies.switches.management import Frame, Sent
from topologies.switches.ovs.management import unixctl

_OUTER = re.compile(r"\bdst=(\d+\.\d+\.\d+\.\d+)")      # of the encapsulation; the inner addresses are not repeated


def path_of(switch: SwitchProcess, frame: Frame) -> Sent:
    """What the switch would do with a packet. Raises HostError if it does not answer."""
    return parse(unixctl.call(
        switch, "ofproto/trace", switch.name,
        f"in_port={frame.in_port},{frame.protocol},dl_src={frame.src_mac},dl_dst={frame.dst_mac},"
        f"nw_src={frame.src_ip},nw_dst={frame.dst_ip},nw_ttl=64,{frame.protocol}_src={frame.sport},{frame.protocol}_dst={frame.dport}"))


def parse(trace: str) -> Sent:
    """From the answer to `ofproto/trace`."""
    actions = next((line for line in trace.splitlines() if line.startswith("Datapath actions:")), "no actions")
    return Sent(tuple(_OUTER.findall(actions)), actions[:200])
