"""What tenants want: VPCs, who is in them, and who may speak with whom. A file, as a user writes it.

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
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from topologies.document import Document, Problem, read_stream
from topologies.errors import SpecErrors
from topologies.load import validate
from topologies.spec import Strict

API_VERSION: Final = "vpc.githedgehog.com/v1beta1"
DEFAULT_VPC = "default"     # the VPC of hosts without an attachment; no name for another
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


Prefix = Annotated[str, BeforeValidator(_prefix), WithJsonSchema({"type": "string", "examples": ["10.1.0.0/24"]})]
Address = Annotated[str, BeforeValidator(_address), WithJsonSchema({"type": "string", "examples": ["10.1.0.1"]})]
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


IntentObject = Annotated[Vpc | VpcAttachment | VpcPeering, Field(discriminator="kind")]


class Intent(Strict):
    """Everything that tenants want, at once. Empty: one flat network of all hosts, the default VPC."""

    objects: tuple[IntentObject, ...] = ()

    @property
    def vpcs(self) -> dict[str, VpcSpec]:
        return {o.metadata.name: o.spec for o in self.objects if isinstance(o, Vpc)}

    @property
    def attachments(self) -> tuple[AttachmentSpec, ...]:
        return tuple(o.spec for o in self.objects if isinstance(o, VpcAttachment))

    @property
    def peerings(self) -> tuple[PeeringSpec, ...]:
        return tuple(o.spec for o in self.objects if isinstance(o, VpcPeering))


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
