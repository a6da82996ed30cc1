"""YAML -> spec: every mistake at once, each with file:line and dotted path.

    read_document -> options (--set) -> pydantic -> expansion; each stage tells all it finds
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml.error import YAMLError

from topologies.model.addressing import ETHERNET_HEADER, VXLAN_OVERHEAD
from topologies.model.document import Document, KeyPath, Problem, nearest, parse_yaml, read_document
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.explain import explain
from topologies.model.fabric import Fabric
from topologies.model.spec import FabricSpec

CATALOG = Path(__file__).parents[1] / "catalog"
LARGEST, SMALLEST = 10**18, 1e-18    # of any number in a spec, so that nothing that is made of some overflows
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Override:
    """`--set a.b=value`, taken apart."""

    path: KeyPath
    value: object
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
    value: Model | None = None
    problems: list[Problem] = []
    try:
        value = model.model_validate(data)
    except ValidationError as error:
        problems = explain(error, model, data)
    return None if odd else value, [*odd.values(), *(p for p in problems if p.path not in odd)]


def _without(data: object, path: KeyPath, odd: Container[KeyPath]) -> object:
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


def plain(spec: FabricSpec) -> FabricSpec:
    """The same fabric without what its links have of their own or lose: it expands whatever is wrong with that."""
    return spec.model_copy(update={"links": {}, "jitter": 0.0, "reorder": 0.0})


def expanded(spec: FabricSpec, at: KeyPath = ()) -> tuple[Fabric, list[Problem]]:
    """The fabric, and what only the expansion shows: links that it does not have, delays and queues that cannot be.

    Where links or delays are wrong it is that of `plain`, so that what else names its parts is checked as well.
    """
    try:
        fabric = expand(spec)
    except SpecError:
        fabric = expand(plain(spec))
    return fabric, _problems(spec, fabric, at)


def _problems(spec: FabricSpec, fabric: Fabric, at: KeyPath) -> list[Problem]:
    names = list(fabric.links_by_name)
    found = [Problem((*at, "links", name), "a link of this fabric, such as leaf1-spine1 or h1-leaf1", name,
                     nearest(name, names)) for name in spec.links if name not in fabric.links_by_name]
    found += [Problem((*at, *p.path), p.expected, p.found, p.hint) for p in (*_delays(spec), *_queues(spec, fabric))]
    return found


def _delays(spec: FabricSpec) -> Iterator[Problem]:
    """Jitter and reordering need a delay: of the whole fabric, or of a link that has its own."""
    whole: KeyPath = ()
    for at, own in ((whole, None), *((("links", name), over) for name, over in spec.links.items())):
        delay, jitter, reorder = (getattr(spec, key) if own is None or getattr(own, key) is None else getattr(own, key)
                                  for key in ("delay", "jitter", "reorder"))
        says = {key for key in ("delay", "jitter", "reorder") if own is None or getattr(own, key) is not None}
        if jitter > delay and says & {"delay", "jitter"}:
            yield Problem((*at, "jitter" if "jitter" in says else "delay"),
                          f"a jitter of at most the delay, {delay:g} s", f"a jitter of {jitter:g} s")
        if reorder and not delay and says & {"delay", "reorder"}:
            yield Problem((*at, "reorder" if "reorder" in says else "delay"),
                          "a delay, which reordered packets overtake", "no delay")


def _queues(spec: FabricSpec, fabric: Fabric) -> Iterator[Problem]:
    """A queue in bytes holds one full frame at least: no shorter one ever lets one through."""
    host, uplink = (spec.mtu + ETHERNET_HEADER, spec.mtu + ETHERNET_HEADER + VXLAN_OVERHEAD)
    kinds = {link.name: link.kind for link in fabric.links}
    queues = [(("queue",), spec.queue, host), (("uplink_queue",), spec.uplink_queue, uplink),
              *((("links", name, "queue"), over.queue, uplink if kinds.get(name) == "fabric" else host)
                for name, over in spec.links.items())]
    for at, queue, frame in queues:
        if queue is not None and queue.bytes is not None and queue.bytes < frame:
            yield short_queue(at, queue.bytes, frame, spec.mtu)


def short_queue(at: KeyPath, size: int, frame: int, mtu: int) -> Problem:
    return Problem(at, f"a queue of at least {frame} B, one full frame at MTU {mtu}", f"{size} B")


def load_fabric(name: str, overrides: Sequence[str] = ()) -> FabricSpec:
    """A fabric by path or by its name in the catalog. Raises SpecError or SpecErrors."""
    path, shown = find_spec(name, CATALOG, "fabric")
    document = read_document(path, shown)
    apply_overrides(document, parse_overrides(overrides))
    spec, problems = validate(document, FabricSpec)
    if spec is not None:
        _, problems = expanded(spec)
    if problems or spec is None:
        raise SpecErrors(document.errors(problems))
    return spec
