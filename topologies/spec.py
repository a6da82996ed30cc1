"""What a user writes about a fabric, frozen after loading; unknown keys are refused.

Rates are bit/s, sizes bytes, times seconds once parsed. With a `scale` other than 1 everything in
the spec is in real units and `fabric.expand` converts it.
"""

from __future__ import annotations

import ipaddress
import re
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, model_validator

from topologies.scale import Scale
from topologies.units import parse_rate, parse_size, parse_time


def _with_unit(unit: str) -> PlainSerializer:
    """Written with its unit, so that a saved spec reads back as it was."""
    return PlainSerializer(lambda value: f"{value!r}{unit}", return_type=str, when_used="json")


Rate = Annotated[float, BeforeValidator(parse_rate), _with_unit("bit"),
                 WithJsonSchema({"type": "string", "examples": ["20mbit", "400Gb/s"]})]
Size = Annotated[int, BeforeValidator(parse_size), _with_unit("B"),
                 WithJsonSchema({"type": "string", "examples": ["60kB", "8MB"]})]
Time = Annotated[float, BeforeValidator(parse_time), _with_unit("s"),
                 WithJsonSchema({"type": "string", "examples": ["5ms", "2s"]})]


HOST_NAME = re.compile(r"[a-z][a-z0-9]{0,9}")      # its interface NAME-eth0 has to fit 15 characters
RESERVED_NAME = re.compile(r"(leaf|spine|border|probe|ext)\d*")


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class QueueSpec(Strict):
    """A tail-drop queue, in bytes or in full frames (exactly one of the two)."""

    bytes: int | None = Field(None, gt=0)
    packets: int | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = value.strip()
        for word in ("packets", "packet"):
            if text.endswith(word):
                number = text[: -len(word)].strip()
                if not number.isdigit() or int(number) == 0:
                    raise ValueError("a queue in bytes or packets, such as 60kB or 40packets")
                return {"packets": int(number)}
        try:
            return {"bytes": parse_size(text)}
        except ValueError:
            raise ValueError("a queue in bytes or packets, such as 60kB or 40packets") from None

    @model_validator(mode="after")
    def _one_of_two(self) -> QueueSpec:
        if (self.bytes is None) == (self.packets is None):
            raise ValueError("a queue in bytes or packets, such as 60kB or 40packets")
        return self


class ScaleSpec(Strict):
    """Real -> emulated factors, as numbers or fractions: `rate: 1/40000`."""

    rate: float = Field(1.0, gt=0, le=1)
    size: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _fractions(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: _fraction(v) if k in ("rate", "size") else v for k, v in value.items()}

    @property
    def scale(self) -> Scale:
        return Scale(self.rate, self.size)


def _fraction(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(Fraction(value.replace(" ", "")))
    except (ValueError, ZeroDivisionError):
        raise ValueError("a factor such as 1/40000 or 0.001") from None


class TcpSpec(Strict):
    """How the hosts' TCP is set; stated in every report because it shapes every result."""

    congestion_control: str = "cubic"
    rto_min: Time = Field(0.2, gt=0, description="minimum retransmission timeout, on the hosts' routes")
    slow_start_after_idle: bool = False


class BorderSpec(Strict):
    """A border leaf with hosts outside of the data centre behind it: clients, the Internet."""

    hosts: int = Field(1, ge=1, le=64)
    rate: Rate
    uplink_rate: Rate | None = None


class LinkOverride(Strict):
    """What one named link has otherwise than its kind."""

    rate: Rate | None = None
    queue: QueueSpec | None = None
    delay: Time | None = None


class FabricSpec(Strict):
    """A leaf/spine fabric. Give `uplink_rate` or `oversubscription`, or neither for non-blocking."""

    name: str = Field("fabric", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    topology: Literal["leaf-spine"] = "leaf-spine"
    leaves: int = Field(2, ge=1, le=64)
    spines: int = Field(2, ge=1, le=32)
    hosts_per_leaf: int = Field(4, ge=1, le=200)
    racks: dict[str, tuple[str, ...]] | None = Field(
        None, description="leaf -> names of its hosts, instead of hosts_per_leaf")
    host_rate: Rate = 10e6
    uplink_rate: Rate | None = None
    oversubscription: float | None = Field(None, gt=0, le=1000)
    queue: QueueSpec = QueueSpec(bytes=60_000)
    uplink_queue: QueueSpec | None = None
    mtu: int = Field(1500, ge=576, le=9000)
    delay: Time = 0.0
    subnet: str = "10.9.0.0/16"
    border: BorderSpec | None = None
    probes: bool = Field(True, description="one probe host per leaf, for the sentinel stream")
    datapath: Literal["auto", "user", "kernel"] = "auto"
    tcp: TcpSpec = TcpSpec()
    links: dict[str, LinkOverride] = Field(default_factory=dict)
    scale: ScaleSpec = ScaleSpec()

    @model_validator(mode="after")
    def _consistent(self) -> FabricSpec:
        for check in (self._one_uplink_rule, self._racks_fit, self._subnet_fits):
            check()
        return self

    def _one_uplink_rule(self) -> None:
        if self.uplink_rate is not None and self.oversubscription is not None:
            raise ValueError("either uplink_rate or oversubscription, not both")

    def _racks_fit(self) -> None:
        if self.racks is None:
            return
        wanted = [f"leaf{i + 1}" for i in range(self.leaves)]
        if sorted(self.racks) != sorted(wanted):
            raise ValueError(f"racks for exactly {', '.join(wanted)} (leaves: {self.leaves}); "
                             f"found {', '.join(self.racks)}")
        seen: dict[str, str] = {}
        for leaf, hosts in self.racks.items():
            for host in hosts:
                if not HOST_NAME.fullmatch(host) or RESERVED_NAME.fullmatch(host):
                    raise ValueError(f"host names of at most 10 letters and digits, none of them named as a "
                                     f"leaf, spine, border, probe or ext; found {host} in {leaf}")
                if host in seen:
                    raise ValueError(f"each host in one place; found {host} in {seen[host]} and {leaf}")
                seen[host] = leaf

    def _subnet_fits(self) -> None:
        try:
            net = ipaddress.IPv4Network(self.subnet)
        except ValueError:
            raise ValueError(f"an IPv4 subnet such as 10.9.0.0/16; found {self.subnet}") from None
        if net.overlaps(ipaddress.IPv4Network("10.255.0.0/16")):
            raise ValueError(f"a subnet outside of 10.255.0.0/16, which is the underlay's; found {self.subnet}")
        room, need = net.num_addresses - 3, self.host_count
        if need > room:
            raise ValueError(f"at most {max(room, 0)} hosts in {self.subnet} (network, gateway and "
                             f"broadcast are taken); found {need} hosts")

    @property
    def host_count(self) -> int:
        """Every attached host: workload hosts, probes, outside hosts."""
        inside = (sum(len(h) for h in self.racks.values()) if self.racks is not None
                  else self.leaves * self.hosts_per_leaf)
        leaves = self.leaves + (1 if self.border else 0)
        return inside + (leaves if self.probes else 0) + (self.border.hosts if self.border else 0)
