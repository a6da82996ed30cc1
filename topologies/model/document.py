"""A YAML file as plain data that remembers where each value was written.

    text --compose--> nodes --walk-------> places {dotted path: file and line} and every doubled or odd key
                            --construct--> data
    --set a.b=value --> data and places, so that an error names the option that caused it
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from topologies.model.errors import SpecError, SpecErrors
from topologies.model.inputs import read_bounded
from topologies.model.yaml_bounds import TooLargeError, new_yaml

KeyPath = tuple[str | int, ...]
Data = dict[str, Any]       # what a file says, before a model has looked at it
MAX_BYTES = 1_000_000       # a spec is written by hand; what is larger is something else
STRING, MERGE, NULL = (f"tag:yaml.org,2002:{name}" for name in ("str", "merge", "null"))


@dataclass(frozen=True)
class Problem:
    """Something wrong at a path of the data; the document knows the line."""

    path: KeyPath
    expected: str
    found: str
    hint: str = ""


@dataclass(frozen=True)
class Place:
    """Where a value was written: `line` of `source`, or an option (line 0).

    strip: leading keys of the path that the source itself does not have (a fabric of its own file
    inside a scenario is `fabric.leaves` there, `leaves` here).
    """

    source: str
    line: int
    strip: int = 0
    path: KeyPath = ()      # options: the path that they set

    def where(self, path: KeyPath) -> str:
        if self.line:
            return f"{self.source}:{self.line} {dotted(path[self.strip:])}".rstrip()
        return self.source if path == self.path else f"{self.source} ({dotted(path)})"


def dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


def nearest(word: str, names: Sequence[str] | Mapping[str, str]) -> str:
    """'did you mean spines?' or ''. A mapping gives what to show for each name."""
    shown = names if isinstance(names, Mapping) else {name: name for name in names}
    close = get_close_matches(word, list(shown), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(shown[name] for name in close)}?" if close else ""


def show(value: object) -> str:
    """A value as an error names it: as YAML would have it, short, on one line."""
    if value is None:
        return "nothing"
    text = _flow(value) if value != "" else "an empty text"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    return str(value).lower() if isinstance(value, bool) else " ".join(str(value).split())


class Document:
    """Plain data with places. `problems` of the user become SpecErrors sorted by line."""

    def __init__(self, data: Data, places: dict[KeyPath, Place], directory: Path) -> None:
        self.data, self.places, self.directory = data, places, directory

    def place(self, path: KeyPath) -> Place:
        """The place of the longest known part of a path."""
        return next(self.places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.places)

    def error(self, problem: Problem) -> SpecError:
        where = self.place(problem.path).where(problem.path)
        return SpecError(where, problem.expected, problem.found, problem.hint)

    def errors(self, problems: list[Problem]) -> list[SpecError]:
        """Each problem as an error: the file's own by line, then other files', then options'."""
        own = self.places[()].source

        def order(problem: Problem) -> tuple[bool, bool, str, int]:
            place = self.place(problem.path)
            return place.line == 0, place.source != own, place.source, place.line

        return [self.error(p) for p in sorted(problems, key=order)]

    def value(self, path: KeyPath) -> object:
        """The value at a path, None where there is none."""
        here: object = self.data
        for part in path:
            if isinstance(here, dict):
                here = here.get(part)
            elif isinstance(here, list) and isinstance(part, int) and part < len(here):
                here = here[part]
            else:
                return None
        return here

    def set(self, path: KeyPath, value: object, option: str) -> None:
        """Set a value on behalf of an option. Raises SpecError where a list has no such entry."""
        place = Place(option, 0, path=path)
        here: object = self.data
        for n, part in enumerate(path[:-1]):
            inner = _entry(here, part, option)
            if not isinstance(inner, dict | list):
                inner = {}
                _put(here, part, inner, option)
                self.places[path[: n + 1]] = place
            here = inner
        _put(here, path[-1], deepcopy(value), option)
        for old in [p for p in self.places if p[: len(path)] == path]:
            del self.places[old]
        self.places[path] = place

    def graft(self, at: KeyPath, other: Document) -> None:
        """Put another document under `at`; what is written here already goes over it, key by key.

        Mappings are merged, everything else is replaced, and null takes a key away.
        """
        changes = self.value(at)
        _put(self.value(at[:-1]), at[-1], _merged(other.data, changes if isinstance(changes, dict) else {}), "")
        grafted = {(*at, *p): Place(q.source, q.line, q.strip + len(at)) for p, q in other.places.items()}
        self.places = {**grafted, **self.places}


def _entry(here: object, part: str | int, option: str) -> object:
    """What a mapping or a list has at a part of a path; of a mapping None where it has nothing. Raises SpecError."""
    if isinstance(here, dict):
        return here.get(part)
    return here[_index(here, part, option)] if isinstance(here, list) else None


def _put(here: object, part: str | int, value: object, option: str) -> None:
    """Raises SpecError where a list has no such entry."""
    if isinstance(here, dict):
        here[part] = value
    elif isinstance(here, list):
        here[_index(here, part, option)] = value


def _index(here: list[object], part: str | int, option: str) -> int:
    if isinstance(part, int) and part < len(here):
        return part
    raise SpecError(option, f"an entry from 0 to {len(here) - 1}" if here else "a list with entries", str(part))


def _merged(base: Data, changes: Data) -> Data:
    result = deepcopy(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        else:
            result[key] = deepcopy(value)
    return result


def parse_yaml(text: str) -> object:
    """One YAML 1.2 value as plain Python. Raises YAMLError, ValueError or RecursionError."""
    return new_yaml().load(text)


def read_document(path: Path, name: str = "") -> Document:
    """A YAML file that holds a mapping. `name` is how errors call it. Raises SpecError or SpecErrors."""
    name = name or str(path)
    text = _read_text(path, name)
    places, data = _read_mapping(text, name)
    return Document(deepcopy(data), dict(places), path.parent)


@lru_cache(maxsize=64)
def _read_mapping(text: str, name: str) -> tuple[dict[KeyPath, Place], Data]:
    """Places and data of a text, not to be changed: they are kept, for one process may read a file often."""
    with _in_words(name):
        yaml = new_yaml()
        root = yaml.compose(text)
        if root is None:
            raise SpecError(f"{name}:1", "a mapping of keys to values", "an empty file")
        places = _places(_mapping(root, name), name)    # first: it tells doubled keys better than the parser does
        return places, yaml.constructor.construct_document(root)


def read_stream(path: Path, key: str) -> Document:
    """A YAML file of several mappings with --- between them, as one Document: {key: [mapping, ...]}.

    Empty documents are skipped. Raises SpecError or SpecErrors.
    """
    name = str(path)
    text = _read_text(path, name)
    places: dict[KeyPath, Place] = {(): Place(name, 1), (key,): Place(name, 1)}
    with _in_words(name):
        yaml = new_yaml()
        roots = [r for r in yaml.compose_all(text) if r is not None and not _is_empty(r)]
        for index, root in enumerate(roots):
            for at, place in _places(_mapping(root, name), name).items():
                places[key, index, *at] = Place(name, place.line, strip=2)
        data = [yaml.constructor.construct_document(root) for root in roots]
    return Document({key: data}, places, path.parent)


def _is_empty(root: Node) -> bool:
    return isinstance(root, ScalarNode) and root.value == "" and str(root.tag) == NULL     # "" in quotes is a text


def _mapping(root: Node, name: str) -> MappingNode:
    if not isinstance(root, MappingNode):
        raise SpecError(f"{name}:{_line(root)}", "a mapping of keys to values",
                        "a list" if isinstance(root, SequenceNode) else "a single value")
    return root


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """What YAML cannot read, as a SpecError."""
    try:
        yield
    except TooLargeError as error:
        raise SpecError(f"{name}:{error.line}", error.expected, error.found) from None
    except YAMLError as error:
        raise _syntax_error(name, error) from None
    except RecursionError:
        raise SpecError(name, "a file that a person can read", "nesting that is hundreds of levels deep") from None
    except ValueError as error:
        raise SpecError(name, "values that YAML 1.2 knows", str(error), "put quotes around the odd one") from None


def _read_text(path: Path, name: str) -> str:
    with suppress(OSError, ValueError):     # a name that no file system takes is reported below
        if not path.exists():
            raise SpecError(name, "a file", "no such file")
    data = read_bounded(path, "a YAML file", MAX_BYTES, name=name,
                        hint="a trace goes into a workload's `trace:`, not in the place of a spec")
    try:
        if encoding := other_encoding(data):
            raise SpecError(f"{name}:1", "a YAML file in UTF-8", f"one in {encoding}", "save it as UTF-8")
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SpecError(f"{name}:{_lines_before(error) + 1}", "a YAML file in UTF-8",
                        f"byte {error.object[error.start]:#04x} at offset {error.start}",
                        "is this a binary file?") from None


def _lines_before(error: UnicodeDecodeError) -> int:
    return error.object.count(b"\n", 0, error.start)


def other_encoding(data: bytes) -> str:
    """'UTF-16' or 'UTF-32' of text that is in one of them, as Windows and spreadsheets save it; '' for the rest."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    head = data[:64]
    zeros = {n % 2 for n, byte in enumerate(head) if byte == 0}
    half = len(zeros) == 1 and 1 < len(head) < 3 * head.count(0)      # Latin letters: every other byte is 0
    return "UTF-16" if half or data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_error(name: str, error: YAMLError) -> SpecError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{name}:{mark.line + 1}" if mark is not None else name
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    # The error says "expected" and "found" itself: "expected ',', but got ':'" is a ':' for us, in the place of a ','.
    found = re.sub(r"^expected (.+), but (?:found|got) (.+)$", r"\2 in the place of \1", str(problem))
    found = found.removeprefix("but ").removeprefix("found ") + (f" ({context})" if context else "")
    return SpecError(where, "valid YAML", found, _syntax_hint(found))


def _syntax_hint(found: str) -> str:
    if "\\t" in found:
        return "indent with spaces, not with tabs"
    if "undefined alias" in found:
        return "*name stands for what &name has marked before it; a text that starts with * needs quotes"
    if "another document" in found:
        return "a file holds one document: remove the line ---, or make two files"
    return "text with : # { } [ ] or , in it needs quotes"


def _places(root: MappingNode, name: str) -> dict[KeyPath, Place]:
    """The line of every value. Raises SpecErrors with every doubled or odd key."""
    places: dict[KeyPath, Place] = {(): Place(name, _line(root))}
    errors: list[tuple[int, SpecError]] = []
    for path, line, wrong in _walk(root, (), ()):
        if wrong:
            expected, found = wrong
            errors.append((line, SpecError(Place(name, line).where(path), expected, found)))
        places.setdefault(path, Place(name, line))
    if errors:
        raise SpecErrors([error for _, error in sorted(errors, key=lambda item: item[0])])
    return places


Step = tuple[KeyPath, int, tuple[str, str] | None]     # path, line, (expected, found) where it is wrong


def _walk(node: Node, path: KeyPath, above: tuple[Node, ...]) -> Iterator[Step]:
    if any(node is n for n in above):
        yield path, _line(node), ("values without loops", "an alias that contains itself")
    elif isinstance(node, MappingNode):
        yield from _walk_mapping(node, path, above)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), _line(item), None
            yield from _walk(item, (*path, index), (*above, node))


def _walk_mapping(node: MappingNode, path: KeyPath, above: tuple[Node, ...]) -> Iterator[Step]:
    seen: dict[str, int] = {}
    merged: list[Node] = []
    for key, value in node.value:
        line = _line(key)
        if isinstance(key, ScalarNode) and str(key.tag) == MERGE:
            merged += value.value if isinstance(value, SequenceNode) else [value]
            continue
        if not isinstance(key, ScalarNode) or str(key.tag) != STRING:
            found = show(key.value) if isinstance(key, ScalarNode) else "a list or mapping as key"
            yield path, line, ("names as keys (quote a number that is a name)", found)
            continue
        inner = (*path, key.value)
        double = key.value in seen
        wrong = ("each key once", f"{key.value} again; first in line {seen[key.value]}") if double else None
        seen.setdefault(key.value, line)
        yield inner, line, wrong
        yield from _walk(value, inner, (*above, node))
    for value in merged:    # last: what is written here comes before what is merged in
        yield from _walk(value, path, (*above, node))
