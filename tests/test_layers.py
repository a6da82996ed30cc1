"""Who may import whom: a folder says what its modules may. They stay apart because this fails when they do not."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("topologies", "controller", "traffic", "scenarios")
MODEL_LIBRARIES = ("pydantic", "pydantic_core", "ruamel", "networkx")
PURE = ("topologies.model",)
BASIS = ("topologies.model", "topologies.access")
MANAGEMENT = ("topologies.switches.management", "topologies.switches.ovs.management",
              "topologies.switches.engine.management")
ENGINE = ("topologies.switches.engine.client", "topologies.switches.engine.counters",
          "topologies.switches.engine.layout")      # how a running engine is asked and read


class May(NamedTuple):
    """What the modules of a folder may import besides each other. libraries: None for any but the guarded ones."""

    own: tuple[str, ...]
    libraries: tuple[str, ...] | None = None


GUARDED = ("mininet", "os_ken", "tests")       # only where a folder names them
FOLDERS = {     # the longest name that fits a module is its folder
    "topologies.model": May((), MODEL_LIBRARIES),
    "topologies.access": May(PURE, ()),
    "topologies.switches.management": May(BASIS, ()),           # a running switch, as the controller may ask it
    "topologies.switches.managements": May((*BASIS, *MANAGEMENT), ()),
    "topologies.switches.ovs.management": May((*BASIS, "topologies.switches.management"), ()),
    **{module: May(BASIS, ()) for module in ENGINE},
    "topologies.switches.engine.management": May((*BASIS, *ENGINE, "topologies.switches.management"), ()),
    "topologies": May(("topologies",), (*MODEL_LIBRARIES, "mininet", "pyroute2")),
    "controller.intent": May(PURE, MODEL_LIBRARIES),
    "controller.evpn": May((*PURE, "controller.intent"), ()),
    "controller.rules": May((*PURE, "controller.intent", "controller.evpn"), ()),
    "controller.verify": May((*PURE, "controller.intent", "controller.rules"), ()),
    "controller.bgp": May((*BASIS, "controller.evpn"), ("os_ken",)),
    "controller.southbound": May((*BASIS, "controller", "topologies.switches.managements"), ("os_ken",)),
    "controller": May((*BASIS, "controller")),
    "traffic": May((*BASIS, "traffic")),
    "scenarios.examples.controllers": May(("topologies.model", "scenarios.examples.controllers"), ("os_ken",)),
    "scenarios": May(PACKAGES),
}


class Backend(NamedTuple):
    """What only one folder knows. words: what would give it away elsewhere; but: file -> why it may say them."""

    words: re.Pattern[str]
    but: dict[str, str]


BACKENDS = {
    "topologies/switches/ovs": Backend(
        re.compile(r"\bovs-(?!kernel\b)\w+|ovsdb|vswitchd|unixctl|\bdpctl\b|\bofproto/|\btnl/|revalidator|upcall|"
                   r"openvswitch"), {
            "controller/southbound/ofctl.py": "rules are shown as ovs-ofctl writes them",
            "controller/northbound/api.py": "tells its users so"}),
    "topologies/switches/engine": Backend(re.compile(r"\bfabricd\b"), {}),
    "topologies/links/htb": Backend(
        re.compile(r"\bhtb\b|\bbfifo\b|qdisc|\bnetem\b|\bsch_\w+|\btc_batch\b|\btc\b", re.IGNORECASE), {
            "topologies/lab/shell.py": "runs tc as it runs ip",
            "topologies/switches/ovs/datapath.py": "has them as its links, and says so in reports",
            "topologies/switches/engine/attach.py": "sets hosts' own devices up with it",
            "topologies/switches/ovs/vtep.py": "silences the kernel behind a tunnel end, which is no wire"}),
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Full names of all that a module imports, wherever in the file it does."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield whole
            yield from (f"{whole}.{alias.name}" for alias in node.names)


TEXTS = {p: p.read_text() for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))}
MODULES = {name_of(p): p for p in TEXTS}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(TEXTS[path], filename=str(path))


@cache
def imported(module: str) -> list[str]:
    """What a module of ours imports."""
    path = MODULES[module]
    return list(imports(tree(path), module, path.name == "__init__.py"))


def within(name: str, folder: str) -> bool:
    return name == folder or name.startswith(f"{folder}.")


def folder_of(module: str) -> str:
    """The folder of FOLDERS that a module is of."""
    return max((f for f in FOLDERS if within(module, f)), key=len)


def violations(module: str, imported: list[str]) -> list[str]:
    """Imports of a module that its folder forbids."""
    return [name for name in imported if not allowed(module, name)]


def allowed(module: str, name: str) -> bool:
    folder, library = folder_of(module), name.split(".", maxsplit=1)[0]
    may = FOLDERS[folder]
    if library in PACKAGES:
        # the package itself is named on the way to a module of it, as in `from topologies.model import addressing`
        return name in PACKAGES or any(within(name, f) for f in (folder, *may.own))
    if may.libraries is None:
        return library not in GUARDED
    return library in may.libraries or library in sys.stdlib_module_names


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_folder_may(module: str) -> None:
    assert violations(module, imported(module)) == []


@pytest.mark.parametrize(("module", "name"), [
    ("topologies.model.spec", "mininet.net"), ("topologies.model.load", "pyroute2"),
    ("topologies.model.fabric", "topologies.links.htb.wires"), ("topologies.links.htb.wires", "controller.rules.rules"),
    ("topologies.links.htb.wires", "numpy"), ("topologies.access.netns", "topologies.lab.shell"),
    ("controller.rules.rules", "os_ken.lib"), ("controller.rules.irb", "controller.southbound.reconcile"),
    ("controller.intent.vpc", "controller.evpn.evpn"), ("controller.change", "os_ken.lib"),
    ("controller.southbound.app", "topologies.switches.ovs.switch"), ("controller.southbound.app", "mininet.node"),
    ("controller.southbound.app", "topologies.switches.datapaths"),
    ("controller.change", "topologies.switches.ovs.management.unixctl"),
    ("topologies.switches.ovs.management.unixctl", "topologies.lab.shell"),
    ("controller.rules.paths", "traffic.workloads.specs"), ("traffic.transports.tcp.network", "controller.rules.rules"),
    ("traffic.transports.tcp.network", "mininet.net"), ("traffic.workloads.specs", "topologies.lab.network"),
    ("traffic.workloads.specs", "scenarios.spec.scenario"), ("scenarios.run.runner", "mininet.cli"),
    ("scenarios.run.runner", "os_ken"), ("controller.northbound.api", "tests.stream_1khz"),
])
def test_the_rules_refuse_what_would_join_two_folders(module: str, name: str) -> None:
    assert violations(module, [name]) == [name]


@pytest.mark.parametrize(("module", "name"), [
    ("topologies.clos", "mininet.topo"), ("topologies.links.htb.wires", "pyroute2.netlink"),
    ("controller.southbound.app", "os_ken.base"),
    ("controller.southbound.app", "topologies.switches.managements"),
    ("controller.northbound.api", "fastapi"),
    ("traffic.metrics.collective", "numpy"), ("traffic.workloads.workload", "topologies.model.fabric.Fabric"),
    ("scenarios.run.runner", "topologies.lab.network"), ("scenarios.run.runner", "controller.rules.compile"),
])
def test_the_rules_allow_what_a_folder_is_for(module: str, name: str) -> None:
    assert violations(module, [name]) == []


def test_relative_and_nested_imports_are_seen() -> None:
    source = "def f():\n    from . import units\n    from ...traffic import engine\n    import mininet.net\n"
    assert {"topologies.model.units", "traffic.engine", "mininet.net"} <= set(
        imports(ast.parse(source), "topologies.model.spec", False))


def test_every_folder_of_the_rules_exists() -> None:
    assert [folder for folder in FOLDERS if not (ROOT / folder.replace(".", "/")).is_dir()
            and not (ROOT / f"{folder.replace('.', '/')}.py").is_file()] == []


@pytest.mark.parametrize("folder", BACKENDS)
def test_what_a_switch_or_a_wire_is_made_of_stays_in_its_folder(folder: str) -> None:
    own, path = BACKENDS[folder], re.compile(re.escape(folder).replace("/", "[./]"))
    said = {str(file.relative_to(ROOT)): sorted(set(own.words.findall(path.sub("", text))))
            for file, text in TEXTS.items()}
    elsewhere = {file: words for file, words in said.items() if words and not file.startswith(f"{folder}/")}
    assert {file: words for file, words in elsewhere.items() if file not in own.but} == {}
    assert [file for file in own.but if file not in elsewhere] == [], "an exception that nobody needs"


def test_a_folder_holds_at_most_twenty_modules() -> None:
    counts = Counter(p.parent.relative_to(ROOT) for p in TEXTS if p.name != "__init__.py")
    assert {str(folder): n for folder, n in counts.items() if n > 20} == {}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """(where, lines) of each function of a module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_modules_and_functions_stay_short() -> None:
    """A module at most 400 lines and half of them at most 120, a function at most 50 and half of them at most 8."""
    paths = [p for p in TEXTS if p.name != "__init__.py"]
    lines = {str(p.relative_to(ROOT)): len(TEXTS[p].splitlines()) for p in paths}
    lengths = dict(of for p in paths for of in functions(p))
    assert {name: n for name, n in lines.items() if n > 400} == {}
    assert {name: n for name, n in lengths.items() if n > 50} == {}
    assert (median(lines.values()) <= 120, median(lengths.values()) <= 8) == (True, True)


# how often a package may say Any: JSON and YAML before a model has looked at them, keywords of matplotlib, tables of
# objects of which each takes its own kind, os-ken's objects
UNTYPED = {"topologies": 4, "traffic": 3, "scenarios": 13, "controller": 89}


@pytest.mark.parametrize("package", UNTYPED)
def test_what_can_have_a_type_has_one(package: str) -> None:
    said = {str(p.relative_to(ROOT)): sum(isinstance(n, ast.Name) and n.id == "Any" for n in ast.walk(tree(p)))
            for p in TEXTS if p.is_relative_to(ROOT / package)
            and not p.is_relative_to(ROOT / "scenarios/examples/controllers")}      # os-ken has no types
    assert sum(said.values()) <= UNTYPED[package], {file: n for file, n in said.items() if n}


def imported_modules(module: str) -> set[str]:
    """The modules of the product that a module imports; a package that is named on the way to one is not meant."""
    whole = {name for name in imported(module) if name in MODULES and name != module}
    return {name for name in whole if not any(within(other, name) for other in whole - {name})}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even for types only: what two modules both need is a third."""
    graph = {module: imported_modules(module) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = {name_of(p) for package in PACKAGES for p in (ROOT / package).rglob("__init__.py")}
    assert set(listed) == packages


def test_what_is_slow_to_import_waits_until_it_is_asked_for() -> None:
    """A run starts five processes, and an emulated processor takes twenty times as long to import."""
    slow = ["matplotlib", "networkx", "scapy", *(["setuptools"] if sys.version_info < (3, 12) else [])]
    processes = ["scenarios.run.runner", "topologies.proof.sampler", "traffic.engine.__main__",
                 "traffic.transports.udp.__main__"]
    program = f"import {', '.join(processes)}, sys; print([m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
