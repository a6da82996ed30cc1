"""Topologies as Mininet knows them: a class with one build(), whose parameters are the whole spec.

        spine1   spine2
          |  \\  /  |
          |  /  \\  |
        leaf1    leaf2      LeafSpine(leaves=2, spines=2, hosts_per_leaf=2, host_rate="10mbit")
        h1 h2    h3 h4
        s1g1     s1g2       RailOptimized(servers=2, rails=2, spines=2): leaf k is rail k, and has GPU k
        s2g1     s2g2       of every server; NVLink inside a server is not emulated

      spine1      spine2
      /    \\      /    \\    Bifurcated(sides={"training": [["t1"], ["t2"]], "inference": [["s1"], ["s2"]]}, spines=2):
  leaf1  leaf2  leaf3  leaf4    fabrics of their own, between which there is no path
   t1     t2     s1     s2
"""

from __future__ import annotations

from mininet.topo import Topo
from pydantic import ValidationError

from topologies.model.errors import SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec


class LeafSpine(Topo):  # type: ignore[misc]
    """Leaf/spine fabric; see FabricSpec for the parameters, their units and their defaults."""

    fabric: Fabric

    def build(self, **params: object) -> None:
        """Every parameter of FabricSpec. Raises SpecErrors naming each parameter that is wrong."""
        try:
            spec = FabricSpec.model_validate(params)
        except ValidationError as error:
            raise SpecErrors([SpecError(f"{type(self).__name__}." + ".".join(map(str, e["loc"])), e["msg"],
                                        repr(e["input"])) for e in error.errors()]) from None
        self.fabric = expand(spec)
        for node in self.fabric.nodes:
            if node.is_host:
                self.addHost(node.name, ip=f"{node.ip}/{spec.subnet.split('/')[1]}", mac=node.mac)
            else:
                self.addSwitch(node.name, dpid=f"{node.dpid:016x}")
        for k in self.fabric.links:
            self.addLink(k.a.node, k.b.node, port1=k.a.ofport, port2=k.b.ofport,
                         bw=k.rate / 1e6, max_queue_bytes=k.queue, delay=k.delay)


class RailOptimized(LeafSpine):
    """Rail-optimized fabric: `servers` x `rails` GPUs, GPU k of each server on rail k; else as FabricSpec."""

    def build(self, **params: object) -> None:
        """servers, rails, and every other parameter of FabricSpec but those that follow. Raises SpecErrors."""
        super().build(topology="rail-optimized", **params)


class Bifurcated(LeafSpine):
    """Separate fabrics side by side: each of `sides` has leaves of its own and an equal part of the spines."""

    def build(self, **params: object) -> None:
        """sides, and every other parameter of FabricSpec but those that follow. Raises SpecErrors."""
        super().build(topology="bifurcated", **params)
