"""What specs are made of: a model that refuses unknown keys, and values with units.

Rates are bit/s, sizes bytes, times seconds once parsed.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from topologies.model.units import parse_rate, parse_share, parse_size, parse_time


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


_EXACT = ("int", "float", "bool")
_NO_VALUES = ("keys_schema", "metadata", "serialization")      # keys of a mapping are texts in JSON


def _exact(schema: Any) -> Any:
    """A core schema whose numbers and booleans take their own type alone."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_exact, schema))
    if not isinstance(schema, dict):
        return schema
    inner = {key: value if key in _NO_VALUES else _exact(value) for key, value in schema.items()}
    if inner.get("type") in _EXACT:
        inner["strict"] = True
    if inner.get("type") == "literal" and any(type(value) is int for value in inner["expected"]):
        allowed = [value for value in inner["expected"] if value is not None]
        return core_schema.no_info_before_validator_function(lambda value: _whole(value, allowed), inner)
    return inner


def _whole(value: object, allowed: list[object]) -> object:
    """For Literal[0, 1]: Python holds True and 1.0 for equal to 1. Raises ValueError."""
    if isinstance(value, bool | float):
        raise ValueError(f"one of the whole numbers {', '.join(map(str, allowed))}")
    return value


class Strict(BaseModel):
    """A frozen model that refuses unknown keys, and takes a number for a number and nothing else.

    `true` is no 1, "3" in quotes is no 3, 2.0 is no whole number, and 1 or yes is no `true`: a value of another type is
    a slip of the pen, and what it was turned into would run without a word. Lists are still taken for tuples, so
    pydantic's own strict mode does not do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        exact: CoreSchema = _exact(handler(source))
        return exact
