"""Fields of other people's files that have no effect in the lab: read, reported, and forgotten; or refused with the
reason.

    vlan: Annotated[int | None, Ignored("a host's port carries one subnet, untagged")] = None      read, and forgotten
    staticRoutes: Refused("leaves forward by routes of hosts") = None                               empty, or an error

Only what changes nothing here is ignored. A null is a key that was left out, as Kubernetes has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, WithJsonSchema, model_validator

from topologies.model.document import Document, KeyPath, Problem, show
from topologies.model.errors import SpecErrors
from topologies.model.fields import Strict


@dataclass(frozen=True)
class Ignored:
    """Mark of a field that has no effect, and why."""

    why: str


def Refused(why: str) -> Any:  # noqa: N802 - it stands where a type stands
    """The type of a field that has to be empty: `why` the lab cannot do what it asks for."""
    def empty(value: Any) -> None:
        if value:
            raise ValueError(f"nothing here: {why}")

    return Annotated[Any, BeforeValidator(empty), WithJsonSchema({"description": f"to be left empty: {why}"})]


class Lenient(Strict):
    """A model that takes null for a key left out, and forgets what its ignored fields say once it is of their type."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _forget(self) -> Lenient:
        for name in ignored_fields(type(self)).keys() & self.model_fields_set:
            object.__setattr__(self, name, type(self).model_fields[name].get_default())     # it is frozen to all others
        return self


def ignored_fields(model: type[BaseModel]) -> dict[str, str]:
    """Field -> why it has no effect."""
    return {name: mark.why for name, field in model.model_fields.items()
            for mark in field.metadata if isinstance(mark, Ignored)}


@dataclass(frozen=True)
class Note:
    """Something that a file says and that has no effect."""

    path: KeyPath
    why: str


def notes_of(model: Any, data: Any, path: KeyPath = ()) -> Iterator[Note]:
    """What was ignored of `data` when it became `model`; what is empty says nothing that could be ignored."""
    if isinstance(model, BaseModel) and isinstance(data, Mapping):
        ignored = ignored_fields(type(model))
        for name in type(model).model_fields:
            if name in ignored and data.get(name):
                yield Note((*path, name), ignored[name])
            elif data.get(name) is not None:
                yield from notes_of(getattr(model, name), data[name], (*path, name))
    elif isinstance(model, Mapping) and isinstance(data, Mapping):
        for key in model:
            yield from notes_of(model[key], data.get(key), (*path, key))
    elif isinstance(model, tuple) and isinstance(data, list | tuple):
        for n, (item, its) in enumerate(zip(model, data, strict=False)):
            yield from notes_of(item, its, (*path, n))


def refuse(document: Document, notes: list[Note]) -> None:
    """For --strict. Raises SpecErrors with everything that would be ignored."""
    if notes:
        raise SpecErrors(document.errors([
            Problem(n.path, "only what has an effect here (--strict)", show(document.value(n.path)), n.why)
            for n in notes]))


def note_lines(document: Document, notes: list[Note]) -> Iterator[str]:
    """One line for each key that is ignored, with its first place, in the order of these."""
    by_key: dict[tuple[str, str], list[Note]] = {}
    for n in sorted(notes, key=lambda n: document.place(n.path).line):
        key = str(n.path[-1]) if isinstance(n.path[-1], str) else str(document.value((*n.path, "kind")))
        by_key.setdefault((key, n.why), []).append(n)
    for (key, why), found in by_key.items():
        place = document.place(found[0].path)
        count = f" ({len(found)} times)" if len(found) > 1 else ""
        yield f"{place.source}:{place.line} ignored: {key}{count}: {why}"
