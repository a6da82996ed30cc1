"""YAML -> spec: every mistake at once, each with file:line and dotted path.

    read_document -> options (--set) -> pydantic -> expansion; each stage tells all it finds
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml.error import YAMLError

from topologies.document import Document, KeyPath, Problem, nearest, parse_yaml, read_document
from topologies.errors import LabError, SpecError, SpecErrors
from topologies.expansion import expand
from topologies.explain import explain
from topologies.spec import FabricSpec

CATALOG = Path(__file__).parent / "catalog"
LARGEST, SMALLEST = 10**18, 1e-18    # of any number in a spec, so that nothing that is made of some overflows
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Override:
    """`--set a.b=value`, taken apart."""

    path: KeyPath
    value: Any
    option: str


def parse_override(text: str) -> Override:
    """'a.b.0=value' -> path and YAML value. Raises SpecError."""
    option = f"--set {text}"
    left, equals, right = text.partition("=")
    parts = left.strip().split(".")
    if not equals or not all(parts):
        raise SpecError(option, "PATH=VALUE with a dotted path, such as fabric.host_rate=20mbit", left or "nothing")
    try:
        value = parse_yaml(right)
    except (YAMLError, ValueError, RecursionError) as error:
        raise SpecError(option, "a YAML value", str(error).splitlines()[0]) from None
    return Override(key_path(left.strip()), value, option)


def key_path(text: str) -> KeyPath:
    """'events.0.at' -> ('events', 0, 'at')."""
    return tuple(int(part) if part.isdigit() else part for part in text.split("."))


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """All options. Raises SpecErrors with every one that cannot be read."""
    overrides: list[Override] = []
    errors: list[LabError] = []
    for text in texts:
        try:
            overrides.append(parse_override(text))
        except SpecError as error:
            errors.append(error)
    if errors:
        raise SpecErrors(errors)
    return overrides


def apply_overrides(document: Document, overrides: Sequence[Override]) -> None:
    for override in overrides:
        document.set(override.path, override.value, override.option)


def ready_files(catalog: Path, suffix: str = ".yml") -> dict[str, Path]:
    """Name -> file of everything in a catalog that has just this suffix: NAME.study.yml is no NAME.yml."""
    found = {p.name.removesuffix(suffix): p for p in sorted(catalog.glob(f"*{suffix}"))}
    return {name: path for name, path in found.items() if "." not in name}


def find_spec(name: str, catalog: Path, what: str, relative_to: Path | None = None,
              suffix: str = ".yml") -> tuple[Path, str]:
    """A catalog's name or a path -> (the file, how errors call it). Raises SpecError."""
    ready = ready_files(catalog, suffix)
    if name in ready:
        return ready[name], f"{catalog.name}/{name}{suffix}"
    path = (relative_to or Path()) / name
    try:
        is_file = path.exists()
    except (OSError, ValueError):      # a name that no file system takes
        is_file = False
    if is_file or "/" in name or name.endswith((".yml", ".yaml")):
        return path, str(path)
    raise SpecError(name or what, f"a file, or a {what} of the {catalog.name}: {', '.join(ready)}",
                    "neither", nearest(name, list(ready)))


def validate(document: Document, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """The model, or everything that is wrong with the data."""
    odd = {problem.path: problem for problem in _odd_numbers(document.data, ())}
    data = _without(document.data, (), odd) if odd else document.data
    try:
        value, problems = model.model_validate(data), []
    except ValidationError as error:
        value, problems = None, explain(error, model, data)
    return None if odd else value, [*odd.values(), *(p for p in problems if p.path not in odd)]


def _without(data: Any, path: KeyPath, odd: Container[KeyPath]) -> Any:
    """The data with a 1 in the place of odd numbers, so that the rest is checked as well."""
    if isinstance(data, dict):
        return {key: _without(value, (*path, key), odd) for key, value in data.items()}
    if isinstance(data, list):
        return [_without(value, (*path, n), odd) for n, value in enumerate(data)]
    return 1 if path in odd else data


def _odd_numbers(data: object, path: KeyPath) -> Iterator[Problem]:
    """Numbers that no quantity of a network has."""
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _odd_numbers(value, (*path, key))
    elif isinstance(data, int | float) and data and not SMALLEST <= abs(data) <= LARGEST:
        yield Problem(path, f"0, or a number from {SMALLEST:g} to {float(LARGEST):g}",
                      f"a whole number of {data.bit_length()} bits" if isinstance(data, int) else f"{data:g}")


def load_model(path: Path, model: type[Model], overrides: Sequence[str] = (), name: str = "") -> Model:
    """One YAML file as `model`. Raises SpecError or SpecErrors."""
    document = read_document(path, name)
    apply_overrides(document, parse_overrides(overrides))
    value, problems = validate(document, model)
    if value is None:
        raise SpecErrors(document.errors(problems))
    return value


def fabric_problems(spec: FabricSpec, at: KeyPath = ()) -> list[Problem]:
    """What only the expansion shows: links that the fabric does not have."""
    fabric = expand(spec.model_copy(update={"links": {}}))
    names = list(fabric.links_by_name)
    return [Problem((*at, "links", name), "a link of this fabric, such as leaf1-spine1 or h1-leaf1", name,
                    nearest(name, names)) for name in spec.links if name not in fabric.links_by_name]


def load_fabric(name: str, overrides: Sequence[str] = ()) -> FabricSpec:
    """A fabric by path or by its name in the catalog. Raises SpecError or SpecErrors."""
    path, shown = find_spec(name, CATALOG, "fabric")
    document = read_document(path, shown)
    apply_overrides(document, parse_overrides(overrides))
    spec, problems = validate(document, FabricSpec)
    if spec is not None:
        problems = fabric_problems(spec)
    if problems or spec is None:
        raise SpecErrors(document.errors(problems))
    return spec
