"""What an audit finds, and what it is to expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from topologies.model.spec import ClassSpec


@dataclass(frozen=True)
class Finding:
    """One difference between the lab and its spec; found None: it is not there at all."""

    where: str      # 'leaf1->h3', 'switch leaf1'
    what: str       # 'rate', 'queue', 'nice value' ...
    unit: str
    expected: float
    found: float | None


@dataclass(frozen=True)
class Declared:
    """What events have changed: link -> rate in bit/s, link -> queue in bytes."""

    rates: Mapping[str, float]
    queues: Mapping[str, int]
    classes: Mapping[str, ClassSpec] | None = None      # all of them, where their shares have been changed
    daemons: Mapping[str, int] = field(default_factory=dict)    # switch that was away -> its pid now, 0: it still is


NOTHING_DECLARED = Declared({}, {})
