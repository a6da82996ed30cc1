"""All kinds of workload. A new one is a module of this package, and a line here."""

from __future__ import annotations

from typing import Annotated, Union

from pydantic import Field

from topologies.model.fabric import Fabric
from topologies.model.fields import Strict
from traffic.runtime.records import COMMON, Record
from traffic.workloads.kinds.bulk import BulkKind
from traffic.workloads.kinds.collective import CollectiveKind
from traffic.workloads.kinds.kind import AnyKind, Built, Family
from traffic.workloads.kinds.replay import ReplayKind
from traffic.workloads.kinds.requests import RequestsKind
from traffic.workloads.kinds.rocev2 import RoceKind
from traffic.workloads.kinds.serving import ServingKind
from traffic.workloads.kinds.training_job import TrainingJobKind
from traffic.workloads.kinds.training_trace import TrainingTraceKind
from traffic.workloads.kinds.udp import UdpKind

KINDS: dict[str, AnyKind] = {kind.name: kind for kind in (
    CollectiveKind(), TrainingJobKind(), TrainingTraceKind(), RequestsKind(), ServingKind(), UdpKind(), RoceKind(),
    ReplayKind(), BulkKind())}


def kind_of(spec: Strict) -> AnyKind:
    """The kind that a spec is of."""
    return next(kind for kind in KINDS.values() if isinstance(spec, kind.spec))


def any_spec() -> object:
    """The type of a spec of any kind, for pydantic: a union that `kind` tells apart."""
    return Annotated[Union[tuple(kind.spec for kind in KINDS.values())], Field(discriminator="kind")]   # noqa: UP007 - made at run time


def families() -> tuple[Family, ...]:
    """Of metrics that records become, each once."""
    return tuple(dict.fromkeys(family for kind in KINDS.values() for family in kind.families))


def record_kinds() -> tuple[type[Record], ...]:
    """Of everything that traffic writes down."""
    of_kinds = (kind for k in KINDS.values() for kind in k.other_records)
    return tuple(dict.fromkeys((*COMMON, *(kind for f in families() for kind in f.records), *of_kinds)))


def build(spec: Strict, fabric: Fabric, name: str, seed: int) -> Built:
    """A workload, ready to run, in emulated units. Raises SpecError, SpecErrors, TraceError."""
    built: Built = kind_of(spec).build(spec, fabric, name, seed)
    return built
