"""What a direction is set to, as the engine itself says: `show A->B` (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topologies.model.errors import HostError
from topologies.model.inventory import Inventory
from topologies.switches.engine.client import EngineClient
from topologies.switches.engine.management.process import SOCKET


@dataclass(frozen=True)
class QueueSettings:
    """limit in bytes; min and max shares, max 0: none; kmin and kmax bytes; beside: takes no bandwidth."""

    limit: int
    min: float
    max: float
    kmin: int
    kmax: int
    beside: bool


@dataclass(frozen=True)
class Settings:
    """rate bit/s; delay and jitter ns; loss, ber, duplicate and reorder shares."""

    rate: int
    delay: int
    jitter: int
    loss: float
    ber: float
    duplicate: float
    reorder: float
    queues: tuple[QueueSettings, ...]


def parse(answer: str) -> Settings:
    """Of `rate=R delay=D .. queue 0 limit=L .. queue 1 ..`. Raises HostError for what is none."""
    first, *rest = answer.split(" queue ")
    try:
        own = _words(first)
        return Settings(int(own["rate"]), int(own["delay"]), int(own["jitter"]), float(own["loss"]), float(own["ber"]),
                        float(own["duplicate"]), float(own["reorder"]), tuple(_queue(_words(each)) for each in rest))
    except (KeyError, ValueError):
        raise HostError("fabric engine: show", "the settings of a direction", answer[:200]) from None


def _words(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in text.split(" "))}


def _queue(words: dict[str, str]) -> QueueSettings:
    return QueueSettings(int(words["limit"]), float(words["min"]), float(words["max"]), int(words["kmin"]),
                         int(words["kmax"]), words["beside"] == "1")


def settings(inventory: Inventory, direction: str) -> Settings:
    """Of one direction, by the engine's name for it."""
    return all_settings(inventory, [direction])[0]


def all_settings(inventory: Inventory, directions: Sequence[str]) -> list[Settings]:
    """Raises HostError where the engine does not answer."""
    with EngineClient(Path(inventory.directory) / SOCKET) as engine:
        return [parse(answer) for answer in engine.ask_all([f"show {d}" for d in directions])]
