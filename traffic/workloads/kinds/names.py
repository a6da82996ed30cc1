"""What the spec of a workload names, held against the fabric and the disk: hosts, placements, pairs, traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from topologies.model.document import KeyPath, Problem, nearest, show
from topologies.model.fabric import Fabric, Role
from topologies.model.inputs import not_regular
from traffic.workloads.placement import WITHOUT_RAILS
from traffic.workloads.specs import Placement

ANYWHERE: tuple[Role, ...] = ("host", "outside")


def host_problems(fabric: Fabric, name: str, at: KeyPath, roles: tuple[Role, ...] = ANYWHERE) -> Iterator[Problem]:
    """A host of one of the roles."""
    names = [n.name for n in fabric.of(*roles)]
    if name not in names:
        node = fabric.by_name.get(name)
        kind = {"host": "workload host", "outside": "outside host"}
        yield Problem(at, f"a {' or '.join(kind[r] for r in roles)} of the fabric, from {names[0]} to {names[-1]}"
                      if names else "a host (the fabric has none of that kind)",
                      f"{name}, a {node.role}" if node else name, nearest(name, names))


def doubled_problems(names: Sequence[str], at: KeyPath) -> Iterator[Problem]:
    """Each name once."""
    for n, name in enumerate(names):
        if name in names[:n]:
            yield Problem((*at, n), "each host once", f"{name} again")


def placement_problems(fabric: Fabric, placement: Placement, at: KeyPath) -> Iterator[Problem]:
    """A placement that the fabric has, or hosts of it."""
    where = (*at, "placement")
    if placement == "rail" and fabric.spec.topology != "rail-optimized":
        yield Problem(where, f"{WITHOUT_RAILS} on a fabric without rails", "rail",
                      "rails come with `topology: rail-optimized`")
    if isinstance(placement, str):
        return
    for n, name in enumerate(placement):
        yield from host_problems(fabric, name, (*where, n), ("host",))
    yield from doubled_problems(placement, where)


def pair_problems(fabric: Fabric, pairs: Sequence[tuple[str, str]], at: KeyPath) -> Iterator[Problem]:
    """Pairs of two different hosts."""
    for n, pair in enumerate(pairs):
        for k, name in enumerate(pair):
            yield from host_problems(fabric, name, (*at, "pairs", n, k))
        if pair[0] == pair[1]:
            yield Problem((*at, "pairs", n), "two different hosts", f"{pair[0]} twice")


def client_problems(fabric: Fabric, clients: Sequence[str] | None, at: KeyPath) -> Iterator[Problem]:
    """Clients that are named, or outside hosts, which are the clients by default."""
    if clients is None and not fabric.of("outside"):
        yield Problem((*at, "clients"), "clients, or a fabric with outside hosts", "neither",
                      "give the fabric a border, such as `border: {hosts: 2, rate: 20mbit}`")


def window_problems(window: tuple[float, float] | None, at: KeyPath) -> Iterator[Problem]:
    """A part of a trace that is not empty."""
    if window is not None and window[0] >= window[1]:
        yield Problem((*at, "window"), "a window [from, to) that is not empty", f"{window[0]:g}s to {window[1]:g}s")


def trace_problems(trace: str, at: KeyPath, *, directory: bool = False) -> Iterator[Problem]:
    """A regular file, or where `directory` is allowed one of those: not what blocks, or never ends, when it is read."""
    path = Path(trace)
    name = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):     # a name that is too long, say
        yield Problem((*at, "trace"), "a trace that exists", f"{show(name)}, which does not",
                      "a relative path starts at the scenario file; in --set it starts where you are")
        return
    odd = not_regular(mode)
    if odd and not (directory and path.is_dir()):
        yield Problem((*at, "trace"), "a trace, a regular file" + " or a directory of them" * directory,
                      f"{show(name)}, {odd}")
