"""Texts that are compared with files: what users read and what specs expand to.

`python -m tests.golden` (make golden) writes them anew; review the diff.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from scenarios.load_scenario import load_scenario
from topologies.errors import SpecError
from topologies.fabric import Fabric, expand
from topologies.load import load_fabric
from topologies.units import show_rate, show_size

HERE = Path(__file__).parent
EXPANDED = ("border", "scaled400g")


def error_text(path: Path) -> str:
    """What a user reads about a wrong file; a file named fabric-* is a fabric, scenario-* a scenario."""
    load = load_fabric if path.name.startswith("fabric-") else load_scenario
    with chdir(path.parent):
        try:
            load(path.name)
        except SpecError as error:
            return f"{error}\n"
    return "accepted\n"


def expansion(fabric: Fabric) -> str:
    """Nodes and links as a table."""
    lines = [f"fabric {fabric.spec.name}"]
    for n in fabric.nodes:
        switch = f" dpid {n.dpid:#x}" if n.dpid else f" on {n.leaf}"
        aliases = f" aliases {' '.join(n.aliases)}" if n.aliases else ""
        lines.append(f"{n.name} {n.role} {n.index} {n.ip or '-'} {n.mac or '-'}{switch}{aliases}")
    lines += [f"{k.name} {k.kind} {k.a.port}:{k.a.number} {k.b.port}:{k.b.number} {show_rate(k.rate)} "
              f"queue {show_size(k.queue)} delay {k.delay:g} s mtu {k.mtu}" for k in fabric.links]
    return "\n".join(lines) + "\n"


def cases() -> Iterator[tuple[Path, str]]:
    """(golden file, the text as it is now)."""
    for path in sorted((HERE / "errors").glob("*.yml")):
        yield path.with_suffix(".txt"), error_text(path)
    for name in EXPANDED:
        yield HERE / "fabrics" / f"{name}.txt", expansion(expand(load_fabric(name)))
