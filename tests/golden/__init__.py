"""Texts that are compared with files: what users read and what specs expand to.

`python -m tests.golden` (make golden) writes them anew; review the diff.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

from controller.intent.intent import read_intent
from controller.rules.compile import compile_rules
from controller.rules.state import State
from controller.southbound.ofctl import render
from scenarios.run.vpcs import check_intent
from scenarios.spec.compiling import compiled, located
from scenarios.spec.load_scenario import read_scenario
from tests.golden import tenants
from topologies.model.errors import SpecError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.load import load_fabric
from topologies.model.spec import BorderSpec, FabricSpec
from topologies.model.units import show_rate, show_size

HERE = Path(__file__).parent
EXPANDED = ("border", "scaled400g")
RULES = {   # name -> fabric, links that are down
    "2x2x2": (FabricSpec(leaves=2, spines=2, hosts_per_leaf=2), ()),
    "border-4-spines-one-link-down": (
        FabricSpec(leaves=2, spines=4, hosts_per_leaf=1, border=BorderSpec(hosts=1, rate="10mbit")),
        ("leaf2-spine3",)),
    "pinned-2-leaves-3-spines-one-link-down": (
        FabricSpec(leaves=2, spines=3, hosts_per_leaf=2, paths="pinned"), ("leaf2-spine1",)),
    "2x1x1-cut-off": (FabricSpec(leaves=2, spines=1, hosts_per_leaf=1), ("leaf2-spine1",)),
}


def error_text(path: Path) -> str:
    """What a user reads about a wrong file; a file named fabric-* is a fabric, scenario-* a scenario, vpcs-* VPCs."""
    load = {"fabric": load_fabric, "scenario": compile_scenario, "vpcs": load_vpcs}[path.name.split("-")[0]]
    with chdir(path.parent):
        try:
            load(path.name)
        except SpecError as error:
            return f"{error}\n".replace(f"{path.parent}/", "")     # traces are named by their whole path
    return "accepted\n"


def compile_scenario(name: str) -> None:
    """Everything that check finds. Raises SpecError."""
    scenario, fabric, document = read_scenario(name)
    with located(document):
        compiled(scenario, fabric)


def load_vpcs(name: str) -> None:
    """On the fabric that check assumes. Raises SpecError."""
    intent, document = read_intent(Path(name))
    check_intent(intent, document, expand(load_fabric("border")))


def expansion(fabric: Fabric) -> str:
    """Nodes and links as a table."""
    lines = [f"fabric {fabric.spec.name}"]
    for n in fabric.nodes:
        switch = f" dpid {n.dpid:#x}" if n.dpid else f" on {n.leaf}"
        aliases = f" aliases {' '.join(n.aliases)}" if n.aliases else ""
        lines.append(f"{n.name} {n.role} {n.index} {n.ip or '-'} {n.mac or '-'}{switch}{aliases}")
    lines += [f"{k.name} {k.kind} {k.a.interface}:{k.a.ofport} {k.b.interface}:{k.b.ofport} {show_rate(k.rate)} "
              f"queue {show_size(k.queue)} delay {k.delay:g} s mtu {k.mtu}" for k in fabric.links]
    return "\n".join(lines) + "\n"


def rules_text(spec: FabricSpec, down: tuple[str, ...]) -> str:
    """All switches' rules, as ovs-ofctl reads them."""
    return "\n".join(render(r) for r in compile_rules(expand(spec), State(frozenset(down))).values())


def cases() -> Iterator[tuple[Path, str]]:
    """(golden file, the text as it is now)."""
    for path in sorted((HERE / "errors").glob("*.yml")):
        yield path.with_suffix(".txt"), error_text(path)
    for name in EXPANDED:
        yield HERE / "fabrics" / f"{name}.txt", expansion(expand(load_fabric(name)))
    for name, (spec, down) in RULES.items():
        yield HERE / "rules" / f"{name}.txt", rules_text(spec, down)
    for name, text in tenants.texts():
        yield HERE / "rules" / f"{name}.txt", text
