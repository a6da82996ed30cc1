"""What tenants want: VPCs, who is in them, and who may speak with whom and with which outside. A user's file.

Kinds and fields are those of the VPC API of Hedgehog's open network fabric. What has no effect here is ignored with a
note, what the lab cannot do is refused by name (controller/intent/lenient.py). One YAML document for each object:

    kind: VPC                            kind: VPCAttachment             kind: VPCPeering
    metadata: {name: train}              metadata: {name: train-h1}      metadata: {name: train-store}
    spec:                                spec:                           spec:
      mode: l2vni                          connection: h1                  permit:
      subnets:                             subnet: train/gpus              - train: {subnets: [gpus]}
        gpus: {subnet: 10.1.0.0/24}                                          store: {}
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from controller.intent.intent_fields import (
    NAMESPACE,
    UNTAGGED,
    Address,
    Interface,
    Metadata,
    Name,
    Object,
    Prefix,
    SubnetRef,
    SubnetSpec,
    Vlan,
    VpcMetadata,
)
from controller.intent.lenient import Lenient, Note, Refused, notes_of
from topologies.model.document import Document, Place, Problem, read_stream
from topologies.model.errors import SpecErrors
from topologies.model.fields import Strict
from topologies.model.load import validate

API_VERSION: Final = "vpc.githedgehog.com/v1beta1"
MAX_OBJECTS = 3000          # of an intent: an attachment for each host of the largest fabric, and VPCs for them
KEY = "objects"             # all objects of a file: {objects: [...]}, as the northbound API takes them


def _mode(value: Any) -> Any:
    return "l2vni" if value == "" else value        # as Hedgehog writes it


class VpcSpec(Lenient):
    """mode l2vni (Hedgehog writes ""): a subnet is one bridge over all leaves; l3vni: each packet is routed, also in a
    subnet."""

    mode: Annotated[Literal["l2vni", "l3vni"], BeforeValidator(_mode)] = "l2vni"
    defaultIsolated: bool = False       # noqa: N815 - Hedgehog's field name
    defaultRestricted: bool = False     # noqa: N815 - Hedgehog's field name
    subnets: dict[Name, SubnetSpec] = Field(min_length=1)
    permit: tuple[tuple[Name, ...], ...] = ()   # subnets of one list reach each other, isolated or not
    ipv4Namespace: Annotated[str | None, NAMESPACE] = None     # noqa: N815 - Hedgehog's field name
    vlanNamespace: Annotated[str | None, UNTAGGED] = None     # noqa: N815 - Hedgehog's field name
    staticRoutes: Refused(      # type: ignore[valid-type] # noqa: N815 - Hedgehog's field name
        "leaves forward by the routes of hosts and Externals; there is no route to a next hop of your own") = None

    def isolated(self, subnet: str) -> bool:
        own = self.subnets[subnet].isolated
        return self.defaultIsolated if own is None else own

    def restricted(self, subnet: str) -> bool:
        own = self.subnets[subnet].restricted
        return self.defaultRestricted if own is None else own


class Vpc(Object):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["VPC"]
    metadata: VpcMetadata
    spec: VpcSpec


class AttachmentSpec(Lenient):
    """connection: the name of a host, for it has one port; subnet: vpc/subnet, or vpc for vpc/default."""

    connection: str
    subnet: SubnetRef
    nativeVLAN: Annotated[bool, UNTAGGED] = False     # noqa: N815 - Hedgehog's field name


class VpcAttachment(Object):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["VPCAttachment"]
    metadata: Metadata
    spec: AttachmentSpec


class StaticPrefixes(Lenient):
    """What is behind an External besides what BGP peers announce."""

    prefixes: tuple[Prefix, ...] = ()


_COMMUNITY = "routes are not filtered or marked by BGP communities here; peers come with the fabric's key bgp"


class ExternalSpec(Lenient):
    static: StaticPrefixes
    ipv4Namespace: Annotated[str | None, NAMESPACE] = None     # noqa: N815 - Hedgehog's field name
    inboundCommunity: Refused(_COMMUNITY) = None    # type: ignore[valid-type] # noqa: N815 - Hedgehog's field name
    outboundCommunity: Refused(_COMMUNITY) = None   # type: ignore[valid-type] # noqa: N815 - Hedgehog's field name


class External(Object):
    """A network outside of the fabric, behind the border leaf."""

    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["External"]
    metadata: VpcMetadata
    spec: ExternalSpec


class StaticLink(Lenient):
    """ip: the border leaf's address, with its prefix length; remoteIP: that of the router behind the port."""

    ip: Interface
    remoteIP: Address       # noqa: N815 - Hedgehog's field name
    vlan: Vlan = None
    proxy: Refused("the border leaf answers ARP for its own address alone") = None    # type: ignore[valid-type]

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Interface(self.ip).network

    @property
    def gateway(self) -> str:
        return self.ip.split("/")[0]


_BGP_LINK = "a border leaf has no BGP session with the router behind its port; use static, and the fabric's key bgp"


class ExternalAttachmentSpec(Lenient):
    """connection: an outside host, which is the External's router."""

    external: Name
    connection: str
    static: StaticLink
    neighbor: Refused(_BGP_LINK) = None     # type: ignore[valid-type]
    switch: Refused(_BGP_LINK) = None       # type: ignore[valid-type]


class ExternalAttachment(Object):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["ExternalAttachment"]
    metadata: Metadata
    spec: ExternalAttachmentSpec


class PermittedVpc(Lenient):
    """Subnets that the outside may reach and that may reach it; none named: all."""

    name: Name
    subnets: tuple[Name, ...] = ()


class PermittedPrefix(Lenient):
    prefix: Prefix


class PermittedExternal(Lenient):
    """prefixes: what of the outside is let in, each with all longer ones inside of it."""

    name: Name
    prefixes: tuple[PermittedPrefix, ...] = Field(min_length=1)


class ExternalPermit(Lenient):
    vpc: PermittedVpc
    external: PermittedExternal


class ExternalPeeringSpec(Lenient):
    permit: ExternalPermit


class ExternalPeering(Object):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["ExternalPeering"]
    metadata: Metadata
    spec: ExternalPeeringSpec


class PeerSubnets(Lenient):
    """Subnets of one side of a peering; none named: all."""

    subnets: tuple[Name, ...] = ()


def _peer(value: Any) -> Any:
    return {} if value is None else value       # `vpc-1:` alone means all of its subnets


class PeeringSpec(Lenient):
    permit: tuple[dict[Name, Annotated[PeerSubnets, BeforeValidator(_peer)]], ...] = Field(min_length=1)
    remote: Refused("a peering is made by all leaves, never by a switch of its own") = None    # type: ignore[valid-type]


class VpcPeering(Object):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["VPCPeering"]
    metadata: Metadata
    spec: PeeringSpec


class AddressRanges(Lenient):
    subnets: tuple[Prefix, ...] = ()


class Ipv4Namespace(Object):
    """Read, kept and without effect: see NAMESPACES."""

    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["IPv4Namespace"]
    metadata: Metadata
    spec: AddressRanges


class VlanRanges(Lenient):
    ranges: tuple[dict[str, int], ...] = ()


class VlanNamespace(Object):
    """Read, kept and without effect: see NAMESPACES."""

    apiVersion: Literal["wiring.githedgehog.com/v1beta1"] = "wiring.githedgehog.com/v1beta1"  # noqa: N815
    kind: Literal["VLANNamespace"]
    metadata: Metadata
    spec: VlanRanges


NAMESPACES: Final = (Ipv4Namespace, VlanNamespace)
_GATEWAY = "the lab has no gateway between VPCs: no NAT, no ACL; a VPCPeering joins two VPCs, an ExternalPeering one " \
           "with the outside"
_WIRING = "the fabric's file connects switches and hosts; `connection` of an attachment names one of its hosts"
_INSTALLED = "the lab installs nothing: it is a fabric file and `aifab up`"
NOT_HERE: Final = {     # kinds that Hedgehog has and an intent cannot hold -> why
    **dict.fromkeys(("GatewayPeering", "Gateway", "GatewayGroup", "Peering", "VPCInfo"), _GATEWAY),
    **dict.fromkeys(("Connection", "Switch", "SwitchGroup", "SwitchProfile", "Server", "ServerAttachment"), _WIRING),
    **dict.fromkeys(("Fabricator", "ControlNode", "FabNode"), _INSTALLED),
}
IntentObject = Annotated[Vpc | VpcAttachment | VpcPeering | External | ExternalAttachment | ExternalPeering
                         | Ipv4Namespace | VlanNamespace, Field(discriminator="kind")]


class Intent(Strict):
    """Everything that tenants want, at once. Empty: one flat network of all hosts, the default VPC."""

    objects: tuple[IntentObject, ...] = Field((), max_length=MAX_OBJECTS)

    @property
    def is_empty(self) -> bool:
        """Nobody is in a VPC by it, and there is no External."""
        return all(isinstance(o, NAMESPACES) for o in self.objects)

    @cached_property
    def vpcs(self) -> dict[str, VpcSpec]:
        return {o.metadata.name: o.spec for o in self.objects if isinstance(o, Vpc)}

    @property
    def attachments(self) -> tuple[AttachmentSpec, ...]:
        return tuple(o.spec for o in self.objects if isinstance(o, VpcAttachment))

    @property
    def peerings(self) -> tuple[PeeringSpec, ...]:
        return tuple(o.spec for o in self.objects if isinstance(o, VpcPeering))

    @property
    def externals(self) -> dict[str, ExternalSpec]:
        return {o.metadata.name: o.spec for o in self.objects if isinstance(o, External)}

    @property
    def external_attachments(self) -> tuple[ExternalAttachmentSpec, ...]:
        return tuple(o.spec for o in self.objects if isinstance(o, ExternalAttachment))

    @property
    def external_permits(self) -> tuple[ExternalPermit, ...]:
        return tuple(o.spec.permit for o in self.objects if isinstance(o, ExternalPeering))


def read_intent(path: Path) -> tuple[Intent, Document]:
    """A file of objects, and where each was written. Raises SpecError, or SpecErrors with all that is wrong."""
    document = _unlisted(read_stream(path, KEY))
    intent, problems = parse_intent(document)
    if intent is None:
        raise SpecErrors(document.errors(problems))
    return intent, document


def _unlisted(document: Document) -> Document:
    """The same objects where some of them are items of a list, as `kubectl get -o yaml` prints several."""
    objects: list[Any] = []
    places = {at: place for at, place in document.places.items() if len(at) < 2}
    for n, item in enumerate(document.data[KEY]):
        listed = str(item.get("kind", "")).endswith("List") and isinstance(item.get("items"), list)
        each = [((KEY, n, "items", k), its) for k, its in enumerate(item["items"])] if listed else [((KEY, n), item)]
        for at, its in each:
            places |= {(KEY, len(objects), *p[len(at):]): Place(q.source, q.line, strip=2)
                       for p, q in document.places.items() if p[:len(at)] == at}
            objects.append(its)
    return Document({KEY: objects}, places, document.directory)


def parse_intent(document: Document) -> tuple[Intent | None, list[Problem]]:
    """The intent, or everything that is wrong with it; kinds that the lab does not have with the reason."""
    intent, problems = validate(document, Intent)
    return intent, with_reasons(problems)


def with_reasons(problems: Iterable[Problem]) -> list[Problem]:
    """The problems of an intent, with the reason where a kind is one that the lab does not have."""
    return [Problem(p.path, p.expected, p.found, NOT_HERE[p.found])
            if p.path[-1:] == ("kind",) and p.found in NOT_HERE else p for p in problems]


def empty_problem(at: tuple[str | int, ...], hint: str) -> Problem:
    """What is wrong with an intent that says nothing: an empty file is a slip more often than a wish."""
    return Problem(at, "at least one VPC, attachment, peering or External", "none: every tenant of the lab would go",
                   hint)


def ignored_in(intent: Intent, objects: Any, at: tuple[str | int, ...] = (KEY,)) -> Iterator[Note]:
    """What of the objects, as they were written, has no effect here. at: where they are in their document."""
    for n, item in enumerate(intent.objects):
        if isinstance(item, NAMESPACES):
            yield Note((*at, n), (NAMESPACE if isinstance(item, Ipv4Namespace) else UNTAGGED).why)
    yield from notes_of(intent.objects, objects, at)


def as_objects(intent: Intent) -> list[dict[str, Any]]:
    """The objects as plain data, defaults left out: what the API gives back, and what a file may hold."""
    data: list[dict[str, Any]] = intent.model_dump(mode="json", exclude_defaults=True)[KEY] if intent.objects else []
    return data


def problems_in_words(problems: list[Problem]) -> list[dict[str, str]]:
    """For machines: each problem with its dotted path."""
    return [{"where": ".".join(map(str, p.path)), "expected": p.expected, "found": p.found, "hint": p.hint}
            for p in problems]
