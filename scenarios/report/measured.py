"""Metrics of a run as a report asks for them: by Definition, so a tag that no metric has is an error of an import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from traffic.metrics.metric import Definition

Json = Mapping[str, Any]        # an object of one of a run's files
Tags = Mapping[str, Json]       # tag -> metric, of one workload (in one phase)


def metric_of(tags: Tags, definition: Definition) -> Json | None:
    """The metric as its file has it; None where it was not measured."""
    return tags.get(definition.tag)


def value_of(tags: Tags, definition: Definition) -> float | None:
    """Its value in the definition's unit; None where it was not measured, or is no number."""
    return number_of(tags.get(definition.tag))


def number_of(metric: Json | None) -> float | None:
    """A metric's value; None where there is no metric, or it is no number."""
    value = metric.get("value") if metric else None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
