"""What specs are made of: a model that refuses unknown keys, and values with units.

Rates are bit/s, sizes bytes, times seconds once parsed.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from topologies.units import parse_rate, parse_share, parse_size, parse_time


def _with_unit(unit: str) -> PlainSerializer:
    """Written with its unit, so that a saved spec reads back as it was."""
    return PlainSerializer(lambda value: f"{value!r}{unit}", return_type=str, when_used="json")


Rate = Annotated[float, BeforeValidator(parse_rate), _with_unit("bit"),
                 WithJsonSchema({"type": "string", "examples": ["20mbit", "400Gb/s"]})]
Size = Annotated[int, BeforeValidator(parse_size), _with_unit("B"),
                 WithJsonSchema({"type": "string", "examples": ["60kB", "8MB"]})]
Time = Annotated[float, BeforeValidator(parse_time), _with_unit("s"),
                 WithJsonSchema({"type": "string", "examples": ["5ms", "2s"]})]
Share = Annotated[float, BeforeValidator(parse_share),
                  PlainSerializer(lambda value: f"{value * 100:.12g}%", return_type=str, when_used="json"),
                  WithJsonSchema({"type": "string", "examples": ["0.1%"]})]
Factor = Annotated[float, WithJsonSchema({"type": ["number", "string"], "examples": ["1/40000", 0.001]})]


class Strict(BaseModel):
    """A frozen model that refuses unknown keys, and numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
