"""What tenants want: VPCs, who is in them, and who may speak with whom and with which outside. A user's file.

Kinds and fields are those of the VPC API of Hedgehog's open network fabric, as far as they are supported
here; any other field is refused by name. One YAML document for each object:

    kind: VPC                            kind: VPCAttachment             kind: VPCPeering
    metadata: {name: train}              metadata: {name: train-h1}      metadata: {name: train-store}
    spec:                                spec:                           spec:
      mode: l2vni                          connection: h1                  permit:
      subnets:                             subnet: train/gpus              - train: {subnets: [gpus]}
        gpus: {subnet: 10.1.0.0/24}                                          store: {}
"""

from __future__ import annotations

import ipaddress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from topologies.document import Document, Problem, read_stream
from topologies.errors import SpecErrors
from topologies.fields import Strict
from topologies.load import validate

API_VERSION: Final = "vpc.githedgehog.com/v1beta1"
MAX_OBJECTS = 3000          # of an intent: an attachment for each host of the largest fabric, and VPCs for them
KEY = "objects"             # all objects of a file: {objects: [...]}, as the northbound API takes them


def _prefix(value: Any) -> str:
    try:
        return str(ipaddress.IPv4Network(value if isinstance(value, str) else ""))
    except ValueError:
        raise ValueError("an IPv4 prefix without host bits, such as 10.1.0.0/24") from None


def _address(value: Any) -> str:
    try:
        return str(ipaddress.IPv4Address(value if isinstance(value, str) else ""))
    except ValueError:
        raise ValueError("an IPv4 address, such as 10.1.0.1") from None


def _interface(value: Any) -> str:
    try:
        if not isinstance(value, str) or "/" not in value:
            raise ValueError
        return str(ipaddress.IPv4Interface(value))
    except ValueError:
        raise ValueError("an IPv4 address with its prefix length, such as 203.0.113.1/30") from None


Prefix = Annotated[str, BeforeValidator(_prefix), WithJsonSchema({"type": "string", "examples": ["10.1.0.0/24"]})]
Address = Annotated[str, BeforeValidator(_address), WithJsonSchema({"type": "string", "examples": ["10.1.0.1"]})]
Interface = Annotated[str, BeforeValidator(_interface),
                      WithJsonSchema({"type": "string", "examples": ["203.0.113.1/30"]})]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,10}$")]         # Hedgehog's limit for a VPC: 11 characters
ObjectName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{0,62}$")]
SubnetRef = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,10}/[a-z][a-z0-9-]{0,10}$")]


class VpcMetadata(Strict):
    name: Name


class Metadata(Strict):
    name: ObjectName


class SubnetSpec(Strict):
    """One subnet. The gateway is the first address unless it is given."""

    subnet: Prefix
    gateway: Address | None = None
    isolated: bool | None = None        # no other subnet of the VPC; None: as the VPC says
    restricted: bool | None = None      # no host to host inside of the subnet

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.subnet)

    @property
    def gateway_address(self) -> str:
        return self.gateway or str(self.network.network_address + 1)


class VpcSpec(Strict):
    """mode l2vni: a subnet is one bridge over all leaves; l3vni: each packet is routed, also inside a subnet."""

    mode: Literal["l2vni", "l3vni"] = "l2vni"
    defaultIsolated: bool = False       # noqa: N815 - Hedgehog's field name
    defaultRestricted: bool = False     # noqa: N815 - Hedgehog's field name
    subnets: dict[Name, SubnetSpec] = Field(min_length=1)
    permit: tuple[tuple[Name, ...], ...] = ()   # subnets of one list reach each other, isolated or not

    def isolated(self, subnet: str) -> bool:
        own = self.subnets[subnet].isolated
        return self.defaultIsolated if own is None else own

    def restricted(self, subnet: str) -> bool:
        own = self.subnets[subnet].restricted
        return self.defaultRestricted if own is None else own


class Vpc(Strict):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["VPC"]
    metadata: VpcMetadata
    spec: VpcSpec


class AttachmentSpec(Strict):
    """connection: the name of a host, for it has one port; subnet: vpc/subnet."""

    connection: str
    subnet: SubnetRef


class VpcAttachment(Strict):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["VPCAttachment"]
    metadata: Metadata
    spec: AttachmentSpec


class StaticPrefixes(Strict):
    """What is behind an External besides what BGP peers announce."""

    prefixes: tuple[Prefix, ...] = ()


class ExternalSpec(Strict):
    static: StaticPrefixes


class External(Strict):
    """A network outside of the fabric, behind the border leaf."""

    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["External"]
    metadata: VpcMetadata
    spec: ExternalSpec


class StaticLink(Strict):
    """ip: the border leaf's address, with its prefix length; remoteIP: that of the router behind the port."""

    ip: Interface
    remoteIP: Address       # noqa: N815 - Hedgehog's field name

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Interface(self.ip).network

    @property
    def gateway(self) -> str:
        return self.ip.split("/")[0]


class ExternalAttachmentSpec(Strict):
    """connection: an outside host, which is the External's router."""

    external: Name
    connection: str
    static: StaticLink


class ExternalAttachment(Strict):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["ExternalAttachment"]
    metadata: Metadata
    spec: ExternalAttachmentSpec


class PermittedVpc(Strict):
    """Subnets that the outside may reach and that may reach it; none named: all."""

    name: Name
    subnets: tuple[Name, ...] = ()


class PermittedPrefix(Strict):
    prefix: Prefix


class PermittedExternal(Strict):
    """prefixes: what of the outside is let in, each with all longer ones inside of it."""

    name: Name
    prefixes: tuple[PermittedPrefix, ...] = Field(min_length=1)


class ExternalPermit(Strict):
    vpc: PermittedVpc
    external: PermittedExternal


class ExternalPeeringSpec(Strict):
    permit: ExternalPermit


class ExternalPeering(Strict):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["ExternalPeering"]
    metadata: Metadata
    spec: ExternalPeeringSpec


class PeerSubnets(Strict):
    """Subnets of one side of a peering; none named: all."""

    subnets: tuple[Name, ...] = ()


class PeeringSpec(Strict):
    permit: tuple[dict[Name, PeerSubnets], ...] = Field(min_length=1)


class VpcPeering(Strict):
    apiVersion: Literal["vpc.githedgehog.com/v1beta1"] = API_VERSION      # noqa: N815 - Hedgehog's field name
    kind: Literal["VPCPeering"]
    metadata: Metadata
    spec: PeeringSpec


IntentObject = Annotated[Vpc | VpcAttachment | VpcPeering | External | ExternalAttachment | ExternalPeering,
                         Field(discriminator="kind")]


class Intent(Strict):
    """Everything that tenants want, at once. Empty: one flat network of all hosts, the default VPC."""

    objects: tuple[IntentObject, ...] = Field((), max_length=MAX_OBJECTS)

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
    document = read_stream(path, KEY)
    intent, problems = validate(document, Intent)
    if intent is None:
        raise SpecErrors(document.errors(problems))
    return intent, document


def as_objects(intent: Intent) -> list[dict[str, Any]]:
    """The objects as plain data, defaults left out: what the API gives back, and what a file may hold."""
    data: list[dict[str, Any]] = intent.model_dump(mode="json", exclude_defaults=True)[KEY] if intent.objects else []
    return data


def problems_in_words(problems: list[Problem]) -> list[dict[str, str]]:
    """For machines: each problem with its dotted path."""
    return [{"where": ".".join(map(str, p.path)), "expected": p.expected, "found": p.found, "hint": p.hint}
            for p in problems]
