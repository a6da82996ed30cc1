"""A number is a number, and true is true: what is of another type is refused, in every model that a user writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from controller.intent import intent, intent_fields
from scenarios.cost import prices
from scenarios.spec import scenario as scenarios
from scenarios.study import spec as studies
from scenarios.validation import spec as checks
from topologies.model import bgp_spec, fields, spec
from topologies.model.explain import explain
from topologies.model.fields import Strict
from traffic.workloads import agent_specs, specs


class Sample(Strict):
    whole: int = 1
    number: float = 1.0
    truth: bool = False
    one_of: Literal[0, 1, 2] = 0
    maybe: int | None = None
    many: tuple[int, ...] = ()
    named: dict[str, float] = Field({})


@pytest.mark.parametrize(("key", "value", "expected", "found"), [
    ("whole", True, "a whole number", "true"), ("whole", "3", "a whole number", "the text 3"),
    ("whole", 2.0, "a whole number", "2.0"), ("number", True, "a number", "true"),
    ("number", "1.5", "a number", "the text 1.5"), ("truth", 1, "true or false", "1"),
    ("truth", "yes", "true or false", "the text yes"), ("truth", "on", "true or false", "the text on"),
    ("one_of", True, "one of the whole numbers 0, 1, 2", "true"),
    ("one_of", 1.0, "one of the whole numbers 0, 1, 2", "1.0"),
    ("maybe", False, "a whole number", "false"), ("many", [1, True], "a whole number", "true"),
    ("named", {"a": "2"}, "a number", "the text 2"),
])
def test_a_value_of_another_type_is_refused_with_a_sentence(key: str, value: Any, expected: str, found: str) -> None:
    with pytest.raises(ValidationError) as info:
        Sample.model_validate({key: value})
    (problem,) = explain(info.value, Sample, {key: value})
    assert (problem.path[0], problem.expected, problem.found) == (key, expected, found)


def test_right_types_are_taken_a_whole_number_for_a_number_and_a_list_for_a_tuple() -> None:
    right = {"whole": 3, "number": 2, "truth": True, "one_of": 2, "maybe": None, "many": [1, 2], "named": {"a": 1}}
    assert Sample.model_validate(right).many == (1, 2)
    assert Sample.model_validate_json(Sample.model_validate(right).model_dump_json()) == Sample.model_validate(right)


@pytest.mark.parametrize(("text", "hint"), [("yes", "YAML 1.2"), ("off", "YAML 1.2"), ("true", "quotes"),
                                            ("1", "quotes"), ("perhaps", "")])
def test_the_hint_says_what_to_do_about_a_text(text: str, hint: str) -> None:
    with pytest.raises(ValidationError) as info:
        Sample.model_validate({"truth": text})
    assert hint in explain(info.value, Sample, {"truth": text})[0].hint


def models() -> Iterator[type[BaseModel]]:
    """Every model that a user may write."""
    for module in (spec, bgp_spec, specs, agent_specs, scenarios, checks, studies, prices, intent, intent_fields):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel:
                yield value


def test_every_model_that_a_user_writes_is_exact() -> None:
    found = set(models())
    assert len(found) > 40
    assert [m.__name__ for m in found if not issubclass(m, fields.Strict)] == []


def lax(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float", "bool") and not schema.get("strict"):
            yield str(schema["type"])
        for key, value in schema.items():
            if key not in ("keys_schema", "metadata", "serialization"):
                yield from lax(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from lax(value)


def test_no_field_of_them_turns_one_type_into_another() -> None:
    assert {m.__name__: found for m in models() if (found := list(lax(m.__pydantic_core_schema__)))} == {}
