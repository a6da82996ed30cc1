"""What pydantic found wrong, in words that a user understands: one Problem for each mistake."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Annotated, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from topologies.model.document import KeyPath, Problem, nearest, show
from topologies.model.errors import Violations

_PLAIN = {      # pydantic's error type -> what was expected
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "bool_type": "true or false", "bool_parsing": "true or false", "string_type": "text",
    "list_type": "a list", "tuple_type": "a list", "dict_type": "a mapping of names to values",
    "model_type": "a mapping of keys to values", "model_attributes_type": "a mapping of keys to values",
    "missing": "a value: this key is required", "value_error": "{error}",
    "greater_than": "a number above {gt:.10g}", "greater_than_equal": "a number of at least {ge:.10g}",
    "less_than": "a number below {lt:.10g}", "less_than_equal": "a number of at most {le:.10g}",
    "too_short": "at least {min_length} of them", "too_long": "at most {max_length} of them",
    "string_pattern_mismatch": "text of the form {pattern}",
}

_NO_TEXT = ("int_type", "float_type", "bool_type")
_YAML_1_1 = ("yes", "no", "on", "off", "y", "n")
MOST_REPORTED = 200         # mistakes of a file; nobody reads more, and each is compared with all keys that there are



def explain(error: ValidationError, model: type[BaseModel], data: object) -> list[Problem]:
    """Every mistake in `data`, one Problem a place; `model` is what the data should have been."""
    details = error.errors(include_url=False)
    more, details = len(details) - MOST_REPORTED, details[:MOST_REPORTED]
    found = [(detail, _clean(detail["loc"], data)) for detail in details]
    paths = [path for _, path in found]
    problems: dict[KeyPath, Problem] = {}
    for detail, path in found:
        # One alternative of a union fitted as far as its parts, or a list is short because of its wrong
        # entries: what the parts say is enough.
        shallow = _in_union(detail["loc"]) or detail["type"] == "too_short"
        if shallow and any(len(p) > len(path) and p[: len(path)] == path for p in paths):
            continue
        for problem in _problems(detail, path, model):
            first = problems.get(problem.path)
            problems[problem.path] = problem if first is None else _joined(first, problem)
    rest = [Problem((), "fewer mistakes", f"{more:,} more that are not reported",
                    "fix these first")] if more > 0 else []
    return [*problems.values(), *rest]


def _joined(first: Problem, second: Problem) -> Problem:
    """Two things wrong at one place: alternatives of a union, or two rules of one model."""
    return Problem(first.path, f"{first.expected}, or {second.expected}", first.found, first.hint or second.hint)


def _in_union(loc: tuple[int | str, ...]) -> bool:
    return any(isinstance(part, str) and part.endswith("]") and part != "[key]" for part in loc)


def _clean(loc: tuple[int | str, ...], data: object) -> KeyPath:
    """pydantic's location without the names of union members that it puts in between."""
    path: list[int | str] = []
    here: object = data
    for n, part in enumerate(loc):
        last = n == len(loc) - 1
        if isinstance(here, dict) and part in here:
            here = here[part]
        elif isinstance(here, list | tuple) and isinstance(part, int):
            here = here[part] if part < len(here) else None
        elif not (last and isinstance(here, dict) and _is_name(part)):
            continue
        path.append(part)
    return tuple(path)


def _is_name(part: int | str) -> bool:
    return isinstance(part, str) and part.isidentifier()


def _problems(detail: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> list[Problem]:
    kind, context = detail["type"], detail.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, Violations):
        return [Problem((*path, *m.at), m.expected, m.found, m.hint) for m in cause.violations]
    if kind == "missing":
        return [Problem(path, _PLAIN[kind], "nothing")]
    special = _SPECIAL.get(kind)
    if special is not None:
        return [special(detail, path, model)]
    value = detail["input"]
    if isinstance(value, str) and kind in _NO_TEXT:
        return [Problem(path, _expected(kind, detail["msg"], context), f"the text {show(value)}", _unquoted(value))]
    return [Problem(path, _expected(kind, detail["msg"], context), show(value))]


def _unquoted(text: str) -> str:
    """What to do about a text in the place of a number or of true and false."""
    if text.strip().lower() in _YAML_1_1:
        return "YAML 1.2 has true and false alone: yes, no, on and off are texts"
    try:
        float(text)
    except ValueError:
        return "remove the quotes" if text in ("true", "false") else ""
    return "remove the quotes"


def _expected(kind: str, message: str, context: dict[str, object]) -> str:
    template = _PLAIN.get(kind)
    return template.format(**context) if template else message[:1].lower() + message[1:]


def _unknown_key(detail: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> Problem:
    key = str(path[-1])
    names = sorted(_fields_at(model, detail["loc"][:-1]) - {key})       # in a union, another member may have it
    return Problem(path, f"one of the keys {', '.join(names)}", f"the unknown key {key}", nearest(key, names))


def _literal(detail: ErrorDetails, path: KeyPath, _model: type[BaseModel]) -> Problem:
    expected = detail["ctx"]["expected"].replace("'", "")
    value = show(detail["input"])
    return Problem(path, expected, value, nearest(value, expected.replace(" or ", ", ").split(", ")))


def _tag(detail: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> Problem:
    key = detail["ctx"]["discriminator"].strip("'")
    tags = sorted(_tags(_annotation_at(model, detail["loc"]), key))
    if detail["type"] == "union_tag_not_found" and not isinstance(detail["input"], dict):
        return Problem(path, f"a mapping with a {key}", show(detail["input"]))
    tag = detail["ctx"].get("tag")
    return Problem((*path, key), f"one of {', '.join(tags)}", "nothing" if tag is None else show(tag),
                   nearest(str(tag), tags))


_SPECIAL: dict[str, Callable[[ErrorDetails, KeyPath, type[BaseModel]], Problem]] = {
    "extra_forbidden": _unknown_key, "literal_error": _literal,
    "union_tag_invalid": _tag, "union_tag_not_found": _tag,
}


def _annotation_at(model: object, loc: tuple[int | str, ...]) -> object:
    """The annotation that a location of pydantic's leads to."""
    here: object = model
    for part in loc:
        here = _step(here, part)
    return here


def _step(annotation: object, part: int | str) -> object:
    tagged = _tagged(annotation, part)
    if tagged is not None:
        return tagged
    for choice in _choices(annotation):
        if _is_model(choice):
            field = next((f for name, f in choice.model_fields.items() if part == (f.alias or name)), None)
            if field is not None:
                return Annotated[field.annotation, field] if field.discriminator else field.annotation
            if any(part in get_args(f.annotation) for f in choice.model_fields.values()):
                return choice       # the tag of this member of a discriminated union
        elif get_origin(choice) is dict:
            return get_args(choice)[1]
        elif get_origin(choice) in (tuple, list) and isinstance(part, int):
            inner = [a for a in get_args(choice) if a is not Ellipsis]
            return inner[min(part, len(inner) - 1)]
    return annotation


def _tagged(annotation: object, part: int | str) -> object:
    """The member of a union whose members have names (pydantic.Tag) that has this one."""
    if get_origin(annotation) is Annotated:
        if any(isinstance(m, Tag) and m.tag == part for m in get_args(annotation)[1:]):
            return get_args(annotation)[0]
        return _tagged(get_args(annotation)[0], part)
    if get_origin(annotation) in (Union, types.UnionType):
        return next((found for a in get_args(annotation) if (found := _tagged(a, part)) is not None), None)
    return None


def _choices(annotation: object) -> list[object]:
    """What an annotation may be, without Annotated and Union around it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _choices(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [c for a in get_args(annotation) for c in _choices(a)]
    return [annotation]


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> set[str]:
    return {name for c in _choices(_annotation_at(model, loc)) if _is_model(c) for name in keys_of(c)}


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a model as a file has them: a field's alias where its name is a word of Python's."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _tags(annotation: object, key: str) -> set[str]:
    literals = [c.model_fields[key].annotation for c in _choices(annotation) if _is_model(c)]
    return {str(tag) for literal in literals for tag in get_args(literal)}
