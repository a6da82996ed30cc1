"""Who may import whom. The rooms stay apart because this fails when they do not."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("topologies", "controller", "traffic", "scenarios")
CORE = {"topologies"} | {f"topologies.{name}" for name in (
    "errors", "fields", "spec", "bgp_spec", "racks", "document", "explain", "load", "units", "scale", "addressing",
    "fabric", "expansion", "files", "inputs", "inventory", "netns", "start", "unixctl", "yaml_bounds")}
CORE_LIBRARIES = {"pydantic", "pydantic_core", "ruamel", "networkx"}
OS_KEN_MODULES = {f"controller.{name}" for name in (
    "__main__", "runtime", "app", "openflow", "bgp", "bgp_sessions", "bgp_codec")}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Full names of all that a module imports, wherever in the file it does."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source, filename=module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            whole = ".".join([*base, *([node.module] if node.module else [])])
            yield whole
            yield from (f"{whole}.{alias.name}" for alias in node.names)


def modules() -> dict[str, list[str]]:
    """Module -> what it imports, over all rooms."""
    return {name_of(p): list(imports(p.read_text(), name_of(p), p.name == "__init__.py"))
            for room in ROOMS for p in sorted((ROOT / room).rglob("*.py"))}


MODULES = modules()


def is_core(name: str) -> bool:
    """A core module, or a name inside of one."""
    return name in CORE or any(name.startswith(f"{core}.") for core in CORE - {"topologies"})


def violations(module: str, imported: list[str]) -> list[str]:
    """Imports of a module that its room forbids."""
    return [name for name in imported if not allowed(module, name)]


def allowed(module: str, name: str) -> bool:
    room, library = module.split(".", maxsplit=1)[0], name.split(".", maxsplit=1)[0]
    everywhere = {
        "tests": False,
        "scenarios": room == "scenarios",
        "mininet": room == "topologies" and module not in CORE,
        "os_ken": module in OS_KEN_MODULES,
    }
    if library in everywhere:
        return everywhere[library]
    if room == "scenarios":
        return True
    if library in ROOMS:
        return is_core(name) or (library == room and module not in CORE)
    if room == "topologies":
        return library in sys.stdlib_module_names | CORE_LIBRARIES | (set() if module in CORE else {"pyroute2"})
    return True


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    assert violations(module, MODULES[module]) == []


@pytest.mark.parametrize(("module", "name"), [
    ("topologies.spec", "mininet.net"), ("topologies.load", "pyroute2"), ("topologies.fabric", "topologies.wires"),
    ("topologies.wires", "controller.rules"), ("topologies.wires", "numpy"), ("controller.rules", "os_ken.lib"),
    ("controller.app", "topologies.switch"), ("controller.app", "mininet.node"), ("controller.paths", "traffic.specs"),
    ("traffic.engine", "controller.rules"), ("traffic.engine", "mininet.net"), ("traffic.specs", "topologies.network"),
    ("scenarios.runner", "mininet.cli"), ("scenarios.runner", "os_ken"), ("traffic.specs", "scenarios.scenario"),
    ("controller.api", "tests.stream_1khz"),
])
def test_the_rules_refuse_what_would_join_two_rooms(module: str, name: str) -> None:
    assert violations(module, [name]) == [name]


@pytest.mark.parametrize(("module", "name"), [
    ("topologies.clos", "mininet.topo"), ("topologies.wires", "pyroute2.netlink"), ("controller.app", "os_ken.base"),
    ("controller.api", "fastapi"), ("traffic.metrics.busbw", "numpy"), ("traffic.workload", "topologies.fabric.Fabric"),
    ("scenarios.runner", "topologies.network"), ("scenarios.runner", "controller.compile"),
])
def test_the_rules_allow_what_a_room_is_for(module: str, name: str) -> None:
    assert violations(module, [name]) == []


def test_relative_and_nested_imports_are_seen() -> None:
    source = "def f():\n    from . import wires\n    from ..traffic import specs\n    import mininet.net\n"
    assert {"topologies.wires", "traffic.specs", "mininet.net"} <= set(imports(source, "topologies.spec", False))


def test_every_core_module_exists() -> None:
    assert set(MODULES) >= CORE


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = {name_of(p) for room in ROOMS for p in (ROOT / room).rglob("__init__.py")}
    assert set(listed) == packages


def test_what_is_slow_to_import_waits_until_it_is_asked_for() -> None:
    """A run starts five processes, and an emulated processor takes twenty times as long to import."""
    slow = ["matplotlib", "networkx", "scapy", *(["setuptools"] if sys.version_info < (3, 12) else [])]
    processes = ["scenarios.runner", "topologies.sampler", "traffic.engine.__main__", "traffic.streams.__main__"]
    program = f"import {', '.join(processes)}, sys; print([m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
