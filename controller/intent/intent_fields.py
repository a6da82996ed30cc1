"""What the objects of an intent are made of: names, addresses, metadata, subnets with their DHCP."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from controller.intent.lenient import Ignored, Lenient, Refused
from topologies.model.errors import Violation, Violations


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


def _mac(value: Any) -> str:
    octets = value.lower().replace("-", ":") if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", octets):
        raise ValueError("a MAC address, such as 02:00:0a:09:01:01")
    return octets


def _subnet_ref(value: Any) -> Any:
    return f"{value}/{DEFAULT_SUBNET}" if isinstance(value, str) and value and "/" not in value else value


LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"       # RFC 1123
DEFAULT_SUBNET = "default"      # an attachment to `vpc` alone is one to vpc/default
Prefix = Annotated[str, BeforeValidator(_prefix), WithJsonSchema({"type": "string", "examples": ["10.1.0.0/24"]})]
Address = Annotated[str, BeforeValidator(_address), WithJsonSchema({"type": "string", "examples": ["10.1.0.1"]})]
Interface = Annotated[str, BeforeValidator(_interface),
                      WithJsonSchema({"type": "string", "examples": ["203.0.113.1/30"]})]
Mac = Annotated[str, BeforeValidator(_mac), WithJsonSchema({"type": "string", "examples": ["02:00:0a:09:01:01"]})]
Name = Annotated[str, Field(pattern=f"^{LABEL}$")]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
SubnetRef = Annotated[str, BeforeValidator(_subnet_ref), Field(pattern=f"^{LABEL}/{LABEL}$")]
UNTAGGED = Ignored("a port of the lab carries one network, untagged")
Vlan = Annotated[int | None, Field(ge=0, le=4094), UNTAGGED]

_KEPT = Ignored("Kubernetes keeps it of an object; nothing in the lab reads it")
NAMESPACE = Ignored("VPCs of the lab take the addresses that they name; they may overlap where they do not meet")
_DHCP = Ignored("the lab addresses hosts itself: no DHCP packet is sent, and no option of it is set")
_HOST_BGP = Ignored("hosts of the lab speak no BGP: each has the one address that its subnet gives it")


class ObjectMetadata(Lenient):
    """name, and what a Kubernetes object carries besides."""

    namespace: Annotated[str | None, Ignored("the lab has one namespace")] = None
    labels: Annotated[dict[str, str] | None, _KEPT] = None
    annotations: Annotated[dict[str, str] | None, _KEPT] = None
    creationTimestamp: Annotated[Any, _KEPT] = None     # noqa: N815 - Kubernetes' field name
    generation: Annotated[int | None, _KEPT] = None
    resourceVersion: Annotated[str | None, _KEPT] = None    # noqa: N815 - Kubernetes' field name
    uid: Annotated[str | None, _KEPT] = None
    managedFields: Annotated[Any, _KEPT] = None     # noqa: N815 - Kubernetes' field name
    ownerReferences: Annotated[Any, _KEPT] = None       # noqa: N815 - Kubernetes' field name
    finalizers: Annotated[Any, _KEPT] = None
    selfLink: Annotated[str | None, _KEPT] = None       # noqa: N815 - Kubernetes' field name


class VpcMetadata(ObjectMetadata):
    name: Name


class Metadata(ObjectMetadata):
    name: ObjectName


class Object(Lenient):
    """One document of the file."""

    status: Annotated[Any, _KEPT] = None


class DhcpRange(Lenient):
    """Addresses that hosts may get, both ends included; what is left out is the first, or the last, of the subnet."""

    start: Address | None = None
    end: Address | None = None


class DhcpEntry(Lenient):
    ip: Address


class AdvertisedRoute(Lenient):
    destination: Prefix
    gateway: Address


class DhcpOptions(Lenient):
    """Of what DHCP would tell hosts, routes could change where packets go; the rest is ignored."""

    pxeURL: Annotated[str | None, _DHCP] = None     # noqa: N815 - Hedgehog's field name
    dnsServers: Annotated[tuple[str, ...] | None, _DHCP] = None     # noqa: N815 - Hedgehog's field name
    timeServers: Annotated[tuple[str, ...] | None, _DHCP] = None    # noqa: N815 - Hedgehog's field name
    interfaceMTU: Annotated[int | None, Field(ge=0, le=9036), Ignored(   # noqa: N815 - Hedgehog's field name
        "hosts have the MTU of the fabric (its key mtu)")] = None
    leaseTimeSeconds: Annotated[int | None, Field(ge=0), _DHCP] = None  # noqa: N815 - Hedgehog's field name
    disableDefaultRoute: Refused(   # type: ignore[valid-type] # noqa: N815 - Hedgehog's field name
        "without a default route hosts reach their subnet alone, and the lab's have one") = None
    advertisedRoutes: tuple[AdvertisedRoute, ...] = ()      # noqa: N815 - Hedgehog's field name


class Dhcp(Lenient):
    """Where hosts get their addresses from: the range, or an entry of their own by MAC."""

    enable: bool = False
    range: DhcpRange | None = None
    static: dict[Mac, DhcpEntry] = Field({})
    options: DhcpOptions = DhcpOptions()
    relay: Annotated[str | None, _DHCP] = None
    relayVPC: Annotated[str | None, _DHCP] = None       # noqa: N815 - Hedgehog's field name

    @model_validator(mode="before")
    @classmethod
    def _one_server(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        options = value.get("options")
        asked = {**value, "options": any(options.values()) if isinstance(options, dict) else options}
        violations = []
        if value.get("relay") and value.get("enable"):
            violations.append(Violation(("relay",), "either relay or enable: one server gives the addresses", "both"))
        if not value.get("enable"):
            violations += [Violation((key,), f"{key} with enable: true only", "a DHCP server that is not enabled")
                           for key in ("range", "static", "options") if asked.get(key)]
        if violations:
            raise Violations(violations)
        return value


class SubnetSpec(Lenient):
    """One subnet. The gateway is the first address unless it is given."""

    subnet: Prefix
    gateway: Address | None = None
    isolated: bool | None = None        # no other subnet of the VPC; None: as the VPC says
    restricted: bool | None = None      # no host to host inside of the subnet
    dhcp: Dhcp = Dhcp()
    vlan: Vlan = None
    hostBGP: Annotated[bool, _HOST_BGP] = False     # noqa: N815 - Hedgehog's field name
    hostBGPMinPrefixLen: Annotated[int | None, _HOST_BGP] = None    # noqa: N815 - Hedgehog's field name
    hostBGPMaxPrefixLen: Annotated[int | None, _HOST_BGP] = None    # noqa: N815 - Hedgehog's field name
    hostBGPExtraPrefixes: Annotated[dict[str, Any] | None, _HOST_BGP] = None    # noqa: N815 - Hedgehog's field name

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.subnet)

    @property
    def gateway_address(self) -> str:
        return self.gateway or str(self.network.network_address + 1)
