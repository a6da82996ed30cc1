"""YAML that is counted while it is read: values with every alias written out, levels, digits.

    text --events--> nodes, an alias counts as what it stands for --> data
                       └─ too many: the line, before anything is copied
"""

from __future__ import annotations

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import ScalarNode

MAX_VALUES = 50_000         # as if every alias and every merged mapping were written out; some seconds to read
MAX_DEPTH = 60              # levels of lists and mappings, aliases followed
MAX_DIGITS = 40             # of a number as it is written
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class TooLargeError(YAMLError):
    """A file that says more than MAX_VALUES, nests deeper than MAX_DEPTH, or has a number without end, at a line."""

    def __init__(self, line: int, expected: str, found: str) -> None:
        super().__init__(f"{expected}; found {found}")
        self.line, self.expected, self.found = line, expected, found


class _BoundedComposer(Composer):
    """Counts values while the nodes are made: an alias counts as what it stands for, before anything is copied.

    So neither aliases of aliases nor merge keys of merge keys (<<) can ask for more than the file would say if it had
    written all of it out.
    """

    def __init__(self, loader: object = None) -> None:
        super().__init__(loader)
        self._count = self._deepest = 0
        self._sizes: dict[int, tuple[int, int]] = {}    # id of a node with an anchor -> its values, its levels

    def compose_node(self, parent: object, index: object) -> object:
        line = int(self.parser.peek_event().start_mark.line) + 1
        alias, before, level = self.parser.check_event(AliasEvent), self._count, self.depth
        self._count += 1
        if level >= MAX_DEPTH:
            raise _deep(line)
        if not alias:
            self._deepest = level
            node = super().compose_node(parent, index)
            self.depth = level
            if isinstance(node, ScalarNode) and str(node.tag) in NUMBERS and len(node.value) > MAX_DIGITS:
                raise TooLargeError(line, f"a number of at most {MAX_DIGITS} digits", f"one of {len(node.value):,}")
            if node.anchor is not None:
                self._sizes[id(node)] = self._count - before, self._deepest - level
        else:
            node = super().compose_node(parent, index)
            values, levels = self._sizes.get(id(node), (1, 0))      # without: part of itself, refused later
            self._count += values - 1
            self._deepest = max(self._deepest, level + levels)
        if self._deepest >= MAX_DEPTH:
            raise _deep(line)
        if self._count > MAX_VALUES:
            raise TooLargeError(line, f"a file of at most {MAX_VALUES:,} values",
                            "more from this line on (aliases count each time)")
        return node


def _deep(line: int) -> TooLargeError:
    return TooLargeError(line, "a file that a person can read", f"lists and mappings over {MAX_DEPTH} levels deep")


def new_yaml() -> YAML:
    """A reader of YAML 1.2 into plain Python."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _BoundedComposer
    return yaml
