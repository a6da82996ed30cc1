"""What a user writes about a fabric, frozen after loading; unknown keys are refused.

Units are those of topologies.model.fields. With a `scale` other than 1 everything in
the spec is in real units and `expansion.expand` converts it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from topologies.model import bgp_spec
from topologies.model.addressing import BGP_LINKS, UNDERLAY
from topologies.model.bgp_spec import HOST_NAME, RESERVED_NAME, BgpSpec
from topologies.model.disciplines import FifoQueue, Queue
from topologies.model.errors import Violation, Violations
from topologies.model.fields import Factor, Rate, Share, Strict, Time
from topologies.model.racks import MAX_HOSTS_PER_LEAF, racks_that_follow
from topologies.model.scale import Scale

MAX_HOSTS = 2048        # of a fabric, probes among them: more than any machine emulates, and `check` answers in seconds
_FACTOR = re.compile(r"[+]?[\d.]{1,20}(e[-+]?\d{1,2})?(/[\d.]{1,20})?", re.IGNORECASE)    # of what Fraction takes


class ScaleSpec(Strict):
    """Real -> emulated factors, as numbers or fractions: `rate: 1/40000`."""

    rate: Factor = Field(1.0, gt=0, le=1)
    size: Factor = Field(1.0, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _fractions(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        fractions: dict[str, float] = {}
        violations: list[Violation] = []
        for key in ("rate", "size"):
            text = value.get(key)
            if isinstance(text, str):
                try:
                    if not _FACTOR.fullmatch(text.replace(" ", "")):
                        raise ValueError(text)      # Fraction would work out 1e999999999
                    fractions[key] = float(Fraction(text.replace(" ", "")))
                except (ValueError, ZeroDivisionError, OverflowError):
                    violations.append(Violation((key,), "a factor such as 1/40000 or 0.001", text))
        if violations:
            raise Violations(violations)
        return value | fractions

    @property
    def scale(self) -> Scale:
        return Scale(self.rate, self.size)


class TcpSpec(Strict):
    """How the hosts' TCP is set; stated in every report because it shapes every result."""

    congestion_control: str = "cubic"
    rto_min: Time = Field(0.2, gt=0, description="minimum retransmission timeout, on the hosts' routes")
    initial_window: int = Field(10, ge=1, le=1000, description="packets that a connection sends before its first ACK")
    slow_start_after_idle: bool = False


class BorderSpec(Strict):
    """A border leaf with hosts outside of the data centre behind it: clients, the Internet."""

    hosts: int = Field(1, ge=1, le=64)
    rate: Rate
    uplink_rate: Rate | None = None


class LinkOverride(Strict):
    """What one named link has otherwise than its kind."""

    rate: Rate | None = None
    queue: Queue | None = None
    delay: Time | None = None
    jitter: Time | None = None
    loss: Share | None = None
    reorder: Share | None = None


ClassName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,15}$")]
DEFAULT_VPC = "default"     # of hosts in no other
LEAST_SHARE = 0.01      # of a link: what a class, and what is in no class, gets at least


class ClassSpec(Strict):
    """A traffic class of every wire: packets with its DSCP, those of its VPCs among them. Shares of a link's rate."""

    dscp: int = Field(ge=1, le=62)
    min: Share = Field(ge=LEAST_SHARE, description="guaranteed on every wire")
    max: Share = Field(1.0, description="the most that it can get")
    vpcs: tuple[str, ...] = Field((), description="VPCs whose packets are marked with the DSCP; "
                                                  "default is that of hosts in no other")
    open_to: tuple[str, ...] = Field((), description="VPCs whose hosts may choose it for some of their packets")


def class_of(classes: Mapping[str, ClassSpec], vpc: str) -> str:
    """The class that all packets of a VPC are in, unless its hosts choose another that is open to it; '' for none."""
    return next((name for name, c in classes.items() if vpc in c.vpcs), "")


def open_classes(classes: Mapping[str, ClassSpec], vpc: str) -> tuple[str, ...]:
    """Classes that hosts of a VPC may choose by their own DSCP; hosts in no VPC all, where no class speaks of them."""
    if vpc == DEFAULT_VPC and not any(vpc in (*c.vpcs, *c.open_to) for c in classes.values()):
        return tuple(classes)
    return tuple(name for name, c in classes.items() if vpc in c.open_to)


def share_problems(shares: Mapping[str, tuple[float, float]]) -> Iterator[tuple[str, str, str]]:
    """(class or '', expected, found) of classes' shares (name -> min, max) that do not fit one link."""
    for name, (least, most) in shares.items():
        if least > most:
            yield name, "a min of at most max", f"min {least:.4g}, max {most:.4g} of a link"
    total = sum(least for least, _ in shares.values())
    if shares and total > 1 - LEAST_SHARE + 1e-9:
        yield "", f"minima of at most {1 - LEAST_SHARE:.0%} together, so that something is left for other packets", \
            f"{total:.4g} of a link"


Datapath = Literal["auto", "ovs", "ovs-kernel", "engine"]
_DATAPATHS_RENAMED = {"user": "ovs", "kernel": "ovs-kernel"}


class FabricSpec(Strict):
    """A leaf/spine fabric, or a rail-optimized one, whose leaves are rails, or a bifurcated one: two or more fabrics.

    Give `uplink_rate` or `oversubscription`, or neither for non-blocking.
    """

    name: str = Field("fabric", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    topology: Literal["leaf-spine", "rail-optimized", "bifurcated"] = "leaf-spine"
    servers: int | None = Field(None, ge=1, le=MAX_HOSTS_PER_LEAF, description="rail-optimized: how many")
    rails: int | None = Field(None, ge=1, le=64, description="rail-optimized: GPUs of a server, each on its own leaf")
    sides: dict[ClassName, tuple[tuple[str, ...], ...]] | None = Field(
        None, description="bifurcated: side -> its racks, each the names of its hosts; a side has leaves and spines of "
                          "its own, an equal part of `spines`")
    leaves: int = Field(2, ge=1, le=64)
    spines: int = Field(2, ge=1, le=32)
    hosts_per_leaf: int = Field(4, ge=1, le=MAX_HOSTS_PER_LEAF)
    racks: dict[str, tuple[str, ...]] | None = Field(
        None, description="leaf -> names of its hosts, instead of hosts_per_leaf")
    host_rate: Rate = 10e6
    uplink_rate: Rate | None = None
    oversubscription: float | None = Field(None, gt=0, le=1000)
    queue: Queue = FifoQueue(bytes=60_000)
    uplink_queue: Queue | None = None
    mtu: int = Field(1500, ge=576, le=9000)
    delay: Time = 0.0
    jitter: Time = Field(0.0, description="the delay varies evenly by so much to either side")
    loss: Share = Field(0.0, description="of each link and direction, by chance")
    reorder: Share = Field(0.0, description="of the packets overtake those that the delay still holds")
    subnet: str = "10.9.0.0/16"
    border: BorderSpec | None = None
    probes: bool = Field(True, description="one probe host per leaf, for the sentinel stream")
    paths: Literal["hash", "weighted", "pinned"] = Field("hash", description=(
        "how leaves choose a spine: hash = ECMP, each flow by the hash of its 5-tuple; "
        "weighted = the same, each path with a part of the flows that is in proportion to its rate; "
        "pinned = each host's traffic takes one spine, the hosts of a leaf dealt over the spines in turn"))
    datapath: Datapath = Field("auto", description="what switches and links are made of: ovs is Open vSwitch in "
                                                   "userspace, ovs-kernel the kernel's own, engine the fabric engine, "
                                                   "auto is ovs")
    tcp: TcpSpec = TcpSpec()
    links: dict[str, LinkOverride] = Field(default_factory=dict)
    classes: dict[ClassName, ClassSpec] = Field({}, max_length=8, description="traffic classes of every wire")
    bgp: BgpSpec | None = Field(None, description="routers that exchange EVPN routes with the controller")
    scale: ScaleSpec = ScaleSpec()

    @model_validator(mode="before")
    @classmethod
    def _racks_follow(cls, value: object) -> object:
        """A rail-optimized fabric is a leaf for each rail, with one GPU of every server on it; the leaves of a
        bifurcated one are the racks of its sides."""
        return racks_that_follow(value) if isinstance(value, dict) else value

    @model_validator(mode="before")
    @classmethod
    def _datapath_as_it_is_called(cls, value: object) -> object:
        """Names that datapaths had say which one they have now."""
        old = value.get("datapath") if isinstance(value, dict) else None
        if isinstance(old, str) and (now := _DATAPATHS_RENAMED.get(old)):
            raise Violations([Violation(("datapath",), f"{now}, its new name", old, f"write datapath: {now}")])
        return value

    @model_validator(mode="after")
    def _consistent(self) -> FabricSpec:
        violations = [*self._one_uplink_rule(), *self._not_too_wide(), *self._keys_of_topologies(), *self._sides_fit(),
                      *self._racks_fit(), *self._subnet_fits(), *self._routers_fit(), *self._classes_fit()]
        if violations:
            raise Violations(violations)
        return self

    def _one_uplink_rule(self) -> Iterator[Violation]:
        if self.uplink_rate is not None and self.oversubscription is not None:
            yield Violation(("oversubscription",), "either uplink_rate or oversubscription", "both",
                            "remove one; to remove a base fabric's key, set it to null")

    def _not_too_wide(self) -> Iterator[Violation]:
        if self.host_count > MAX_HOSTS:
            at = next((key for key in ("servers", "racks") if getattr(self, key) is not None), "hosts_per_leaf")
            yield Violation((at,), f"at most {MAX_HOSTS} hosts in a fabric, probes and outside hosts among them",
                            str(self.host_count), "fewer leaves, or fewer hosts on each")

    def _keys_of_topologies(self) -> Iterator[Violation]:
        for key, topology in (("servers", "rail-optimized"), ("rails", "rail-optimized"), ("sides", "bifurcated")):
            if self.topology != topology and getattr(self, key) is not None:
                yield Violation((key,), f"{key} with topology: {topology} only", str(getattr(self, key))[:80])

    def _sides_fit(self) -> Iterator[Violation]:
        """Two sides at least, each with two leaves, between which the lab's own packets cross its spines."""
        if self.sides is None:
            return
        if len(self.sides) < 2:
            yield Violation(("sides",), "at least two sides", ", ".join(self.sides) or "none")
        for name, racks in self.sides.items():
            if len(racks) < 2:
                yield Violation(("sides", name), "at least two racks, which its spines join", str(len(racks)))
        if self.sides and self.spines % len(self.sides):
            yield Violation(("spines",), f"a multiple of {len(self.sides)}, as many for each side", str(self.spines))

    def _racks_fit(self) -> Iterator[Violation]:
        if self.racks is None:
            return
        wanted = [f"leaf{i + 1}" for i in range(self.leaves)]
        if sorted(self.racks) != sorted(wanted):
            yield Violation(("racks",), f"racks for exactly {', '.join(wanted)} (leaves: {self.leaves})",
                            ", ".join(self.racks) or "none")
        seen: dict[str, str] = {}
        for leaf, hosts in self.racks.items():
            if not 1 <= len(hosts) <= MAX_HOSTS_PER_LEAF:
                yield Violation(("racks", leaf), f"1 to {MAX_HOSTS_PER_LEAF} hosts", str(len(hosts)))
            for n, host in enumerate(hosts):
                at = ("racks", leaf, n)
                if not HOST_NAME.fullmatch(host) or RESERVED_NAME.fullmatch(host):
                    yield Violation(at, "a host name of at most 10 small letters and digits that starts with a letter "
                                    "and is none of leafN, spineN, borderN, probeN, extN", host or "an empty text")
                if host in seen:
                    yield Violation(at, "each host in one place", f"{host} in {seen[host]} and in {leaf}")
                seen.setdefault(host, leaf)

    def _classes_fit(self) -> Iterator[Violation]:
        for key, expected, found in share_problems({name: (c.min, c.max) for name, c in self.classes.items()}):
            yield Violation(("classes", key) if key else ("classes",), expected, found)
        owner: dict[str | int, str] = {}
        for name, c in self.classes.items():
            owned: list[tuple[str, str | int]] = [("dscp", c.dscp), *(("vpcs", vpc) for vpc in c.vpcs)]
            for key, what in owned:
                if owner.setdefault(what, name) != name:
                    yield Violation(("classes", name, key), "each DSCP and each VPC in one class",
                                    f"{what}, which is in {owner[what]}")
            for vpc in c.open_to:
                if vpc in c.vpcs:
                    yield Violation(("classes", name, "open_to"), "VPCs that are not in the class anyway", vpc)
        if self.classes and (self.delay or self.loss or any(k.delay or k.loss for k in self.links.values())):
            yield Violation(("classes",), "classes on links without delay and loss", "links that have them")

    def _subnet_fits(self) -> Iterator[Violation]:
        at = ("subnet",)
        try:
            net = ipaddress.IPv4Network(self.subnet)
        except ValueError:
            yield Violation(at, "an IPv4 subnet such as 10.9.0.0/16", self.subnet or "an empty text")
            return
        if net.overlaps(UNDERLAY) or net.overlaps(BGP_LINKS):
            yield Violation(at, f"a subnet outside of {UNDERLAY}, which is the underlay's, and of {BGP_LINKS}, which "
                            "is that of links with BGP routers", self.subnet)
        if net.is_loopback or net.is_multicast or net.is_link_local or net.is_reserved:
            yield Violation(at, "a subnet that hosts can have, such as 10.9.0.0/16", self.subnet)
        room, need = max(net.num_addresses - 3, 0), self.host_count
        if need > room:
            probes = ", including one probe per leaf" if self.probes else ""
            yield Violation(at, f"room for {need} hosts{probes}",
                            f"{self.subnet} with {room} addresses besides network, gateway and broadcast",
                            "a larger subnet, such as 10.9.0.0/16, or fewer hosts")

    def _routers_fit(self) -> Iterator[Violation]:
        hosts = {host for rack in (self.racks or {}).values() for host in rack}
        if self.bgp:
            yield from bgp_spec.violations(self.bgp, hosts, self.subnet, one_fabric=self.sides is None)

    def dscp_of(self, traffic_class: str | None) -> int:
        """DSCP of a class; 0 for none."""
        return self.classes[traffic_class].dscp if traffic_class else 0

    @property
    def side_leaves(self) -> dict[str, tuple[str, ...]]:
        """Side -> names of its leaves; none where the fabric is one."""
        leaves = iter(self.racks or ())
        return {side: tuple(next(leaves) for _ in racks) for side, racks in (self.sides or {}).items()}

    @property
    def host_count(self) -> int:
        """Every attached host: workload hosts, probes, outside hosts."""
        inside = (sum(len(h) for h in self.racks.values()) if self.racks is not None
                  else self.leaves * self.hosts_per_leaf)
        leaves = self.leaves + (1 if self.border else 0)
        return inside + (leaves if self.probes else 0) + (self.border.hosts if self.border else 0)
