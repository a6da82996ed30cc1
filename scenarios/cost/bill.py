"""What a fabric is made of, in real units, and what that costs: pure, from the expanded Fabric.

    host ── NIC ══ cable ══ port ┐                    ┌ port ══ optic ── fibre ── optic ══ port ┐
                                 └─ leaf ─────────────┘                                         └─ spine

A port is bought as it is sold: the smallest rate of the price file that carries the link, several of the largest
where none does. Probe hosts are the lab's own and are left out. Beyond a border leaf's port to the outside
everything is somebody else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from scenarios.cost.prices import Cable, Figure, Part, Prices, Where
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.expansion import NON_BLOCKING
from topologies.model.fabric import Fabric, Link
from topologies.model.units import show_rate

Kind = Literal["switch port", "optic", "cable", "NIC"]
HARDWARE: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Line:
    """So many of one part; price and watts of one."""

    kind: Kind
    part: str
    quantity: int
    price: Figure
    watts: Figure

    @property
    def total(self) -> float:
        return self.quantity * self.price.value


@dataclass(frozen=True)
class Bill:
    """Counts of nodes, and every part that is bought."""

    hosts: int
    leaves: int
    spines: int
    lines: tuple[Line, ...]

    @property
    def price(self) -> float:
        return sum(line.total for line in self.lines)

    @property
    def watts(self) -> float:
        return sum(line.quantity * line.watts.value for line in self.lines)

    @property
    def by_kind(self) -> dict[Kind, float]:
        """Price of all switch ports, of all optics ..."""
        return {kind: sum(line.total for line in self.lines if line.kind == kind) for kind in HARDWARE}


def real_rates(fabric: Fabric, host_rate: float | None = None) -> Mapping[str, float]:
    """Link -> bit/s of the real network: by the fabric's scale, or as if its hosts had `host_rate`.

    Raises SpecError where both would apply.
    """
    scale = fabric.spec.scale.scale
    factor = 1.0 if host_rate is None else host_rate / fabric.spec.host_rate
    if host_rate is not None and not scale.is_identity:
        raise SpecError("--as", "a fabric without a scale", f"{fabric.spec.name}, which is written in real units: "
                        f"its hosts have {show_rate(fabric.spec.host_rate)}", "leave --as out")
    return {k.name: scale.to_real_rate(k.rate) * factor for k in fabric.links}


@dataclass(frozen=True)
class _Item:
    kind: Kind
    part: str
    price: Figure
    watts: Figure


def bill_of(fabric: Fabric, prices: Prices, host_rate: float | None = None) -> Bill:
    """The bill of materials. Raises SpecErrors that name every part that the price file lacks."""
    rates = real_rates(fabric, host_rate)
    _sellable(fabric, prices, rates)
    counts: Counter[_Item] = Counter()
    missing: dict[tuple[str, str], LabError] = {}
    for link in fabric.links:
        if fabric.node(link.a.node).role == "probe":
            continue
        try:
            counts.update(_parts(fabric, link, rates[link.name], prices))
        except SpecError as error:
            missing.setdefault((error.where, error.expected.partition(", which ")[0]), error)
    if missing:
        raise SpecErrors(list(missing.values()))
    order = {kind: n for n, kind in enumerate(HARDWARE)}
    lines = sorted((Line(i.kind, i.part, n, i.price, i.watts) for i, n in counts.items()),
                   key=lambda line: (order[line.kind], line.part))
    return Bill(len(fabric.hosts), len(fabric.leaves), len(fabric.spines), tuple(lines))


def _sellable(fabric: Fabric, prices: Prices, rates: Mapping[str, float]) -> None:
    """Raises SpecError where hosts are slower than any port that is sold: the fabric is not in real units."""
    smallest = min(prices.switch_ports, key=lambda p: p.rate).rate
    slow = [h.name for h in fabric.hosts if rates[fabric.access_link(h.name).name] < smallest * (1 - 1e-9)]
    if slow:
        rate = rates[fabric.access_link(slow[0]).name]
        raise SpecError(f"fabric {fabric.spec.name}", "hosts whose rate is sold: the smallest port of "
                        f"{prices.file} has {show_rate(smallest)}", f"{slow[0]} at {show_rate(rate)}",
                        "say which rate its hosts stand for, such as --as 400gbit, or write the fabric in real units "
                        "with a scale")


def _parts(fabric: Fabric, link: Link, rate: float, prices: Prices) -> Iterator[_Item]:
    """Everything of one link, each part as often as it is bought."""
    role = fabric.node(link.a.node).role
    where: Where = "fabric"
    if link.kind == "access":
        where = "rail" if fabric.spec.topology == "rail-optimized" and role == "host" else "access"
    lanes, port = prices.port(rate, NON_BLOCKING if link.kind == "fabric" else 1.0)
    ours = 2 if link.kind == "fabric" and role != "vtep" else 1     # ends at switches: a router's own are not bought
    needed_by = f"link {link.name}"
    for _ in range(lanes):
        yield from [_part("switch port", port)] * ours
        if role == "outside":
            yield _part("optic", prices.optic(port.rate, needed_by))
            continue
        cable = prices.cable(where, port.rate, needed_by)
        yield _Item("cable", _name(cable), cable.price, cable.watts)
        if cable.media == "fibre":
            yield from [_part("optic", prices.optic(port.rate, needed_by))] * 2
        if link.kind == "access":
            yield _part("NIC", prices.nic(port.rate, needed_by))


def _part(kind: Kind, part: Part) -> _Item:
    return _Item(kind, show_rate(part.rate), part.price, part.watts)


def _name(cable: Cable) -> str:
    rate = f"{show_rate(cable.rate)} " if cable.rate else ""
    return f"{rate}{cable.media}, up to {cable.reach:g} m"
