"""Shares of classes on a running lab: read from its wires, changed on all of them while they carry traffic."""

from __future__ import annotations

import time
from collections.abc import Mapping

from scenarios.evidence.shares import reshared
from scenarios.spec.scenario import ShareChange
from topologies.model.document import nearest
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.inventory import Inventory
from topologies.model.spec import LEAST_SHARE, ClassSpec, share_problems
from topologies.model.units import parse_share
from topologies.switches.datapaths import datapath_of


def _check_share(option: str, text: str, least: float) -> None:
    """Raises SpecError for what is no share such as '30%', or one below the least."""
    try:
        value = parse_share(text)
    except ValueError as error:
        raise SpecError(option, str(error), text) from None
    if value < least:
        raise SpecError(option, f"a share of at least {least:.0%}", text)


def changed(classes: Mapping[str, ClassSpec], name: str, change: ShareChange) -> dict[str, ClassSpec]:
    """All classes, one of them with other shares. Raises SpecError(s): an unknown one, shares that do not fit."""
    if name not in classes:
        raise SpecError(name, f"one of the lab's classes: {', '.join(classes) or 'its fabric has none'}", name,
                        nearest(name, list(classes)))
    found = reshared(classes, {name: change})
    wrong = share_problems({n: (c.min, c.max) for n, c in found.items()})
    errors = [SpecError(f"class {key}" if key else "classes", expected, value) for key, expected, value in wrong]
    if errors:
        raise SpecErrors(errors)
    return found


def change_shares(inventory: Inventory, name: str, least: str | None, most: str | None) -> tuple[ClassSpec, float]:
    """Give a class another min or max ('30%') on every wire: its new shares, and the seconds that it took."""
    if least is None and most is None:
        raise SpecError("aifab class set", "--min, --max or both", "neither")
    for option, text, floor in (("--min", least, LEAST_SHARE), ("--max", most, 0.0)):
        if text is not None:
            _check_share(option, text, floor)
    datapath = datapath_of(inventory)
    classes = changed(datapath.shares(inventory), name, ShareChange.model_validate({"min": least, "max": most}))
    start = time.monotonic()
    datapath.set_shares(inventory, classes)
    return classes[name], time.monotonic() - start
