"""Names of drop rules that the controller gives and packet accounting understands."""

from __future__ import annotations

_NO_PATH = "no-path:"


def no_path(leaf: str) -> str:
    """The rule of a leaf for what it would send to another leaf that it cannot reach."""
    return _NO_PATH + leaf


def unreachable_leaf(drop: str) -> str:
    """The leaf that such a rule is for; '' for any other rule."""
    return drop.removeprefix(_NO_PATH) if drop.startswith(_NO_PATH) else ""
