"""All switches of a fabric start, several at a time."""

from __future__ import annotations

from collections.abc import Mapping

from topologies.lab.journal import Journal
from topologies.lab.shell import at_once
from topologies.model.fabric import Fabric, Node
from topologies.model.inventory import CONTROLLER_SOCKET, SwitchProcess
from topologies.switches.ovs import switch
from topologies.switches.ovs.steering import keep_flows_together
from topologies.switches.ovs.vtep import give_vtep


def start_switches(fabric: Fabric, netns: Mapping[str, str], wiring: str, journal: Journal) -> dict[str, SwitchProcess]:
    """Switch -> its process, with the tunnel ends of leaves. netns: node -> the name of its namespace, with its ports.

    Their controller listens in the lab's directory, now or later. What is started is in the journal. Raises HostError.
    """
    if switch.in_kernel(fabric):
        keep_flows_together([*netns.values(), wiring])
    template = journal.directory / "template.db"
    switch.make_template(template)

    def one(node: Node) -> SwitchProcess:
        process = switch.start(fabric, node, netns[node.name], template, journal,
                               f"{journal.directory}/{CONTROLLER_SOCKET}")
        if node.is_leaf:
            give_vtep(fabric, node, netns[node.name])
        return process

    return dict(zip([s.name for s in fabric.switches], at_once(one, fabric.switches), strict=True))
