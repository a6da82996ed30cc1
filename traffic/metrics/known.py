"""Every metric that there is, by its tag: what a file may name before a run has measured anything."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache

import traffic.metrics
from traffic.metrics.metric import Definition

_PERCENTILE = re.compile(r"_p(90|99|999)$")     # reported beside a median, in its unit, where samples allow it


@cache
def definitions() -> dict[str, Definition]:
    """Tag -> its definition, over all modules of this package and those in it."""
    modules = [importlib.import_module(m.name)
               for m in pkgutil.walk_packages(traffic.metrics.__path__, prefix="traffic.metrics.")]
    return {d.tag: d for module in modules for d in vars(module).values() if isinstance(d, Definition)}


def unit_of(tag: str) -> str | None:
    """The unit of a metric ('' for ratios and shares), percentiles of known ones included; None: there is none."""
    known = definitions()
    found = known.get(tag) or known.get(_PERCENTILE.sub("", tag))
    return found.unit if found else None
