"""aifab replay: a capture played again on a fabric, with the proof of every run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenarios.spec.scenario import Scenario
    from topologies.model.errors import SpecError
    from topologies.model.fabric import Fabric

Settings = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="override a fabric value")]


def replay(
    file: Annotated[Path, typer.Argument(help="a capture, pcap or pcapng")],
    maps: Annotated[list[str] | None, typer.Option(
        "--map", metavar="ADDRESS=HOST", help="a host for an address of the capture; once for each address")] = None,
    fabric: Annotated[str, typer.Option(help="a fabric file, or a name of the catalog")] = "small",
    settings: Settings = None,
    speedup: Annotated[float, typer.Option(metavar="FACTOR", help="divides the times between packets")] = 1.0,
    runs: Annotated[Path, typer.Option(help="where the run directory goes")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
    no_lock: Annotated[bool, typer.Option(
        "--no-lock", help="run beside another measuring run; the result is SUSPECT")] = False,
) -> None:
    """Replay a capture (as root) with its original timing, and judge the run.

    Its TCP and UDP packets are sent at their times and with their sizes and ports, as UDP, between the hosts that
    have their addresses. What is lost, late or out of order is measured as for UDP streams.

    Examples:

      sudo aifab replay capture.pcap --map 192.0.2.1=h1 --map 192.0.2.2=h5

      sudo aifab replay capture.pcap --map 192.0.2.1=h1 --map 192.0.2.2=h5 --fabric spines4 --speedup 2 --json

    Exit codes: 0 VALID, 1 error, 2 usage, 3 INVALID, 4 SUSPECT, 130 interrupted.
    """
    from scenarios.commands.run import finish

    finish(*scenario_of(file, maps or [], fabric, settings or [], speedup), runs, as_json=as_json, no_lock=no_lock)


def scenario_of(file: Path, maps: Sequence[str], fabric: str, settings: Sequence[str],
                speedup: float) -> tuple[Scenario, Fabric]:
    """The scenario of one replay, and its fabric.

    Raises SpecError, SpecErrors, LabError for whatever the options have wrong."""
    import re

    from pydantic import ValidationError

    from scenarios.run.phases import traffic_of
    from scenarios.spec.references import reference_problems
    from scenarios.spec.scenario import Scenario
    from topologies.model.errors import SpecError, SpecErrors
    from topologies.model.expansion import expand
    from topologies.model.load import load_fabric
    from traffic.workloads.specs import ReplaySpec

    spec = load_fabric(fabric, settings)
    if not speedup > 0:
        raise SpecError("--speedup", "a factor above zero", f"{speedup:g}")
    if not maps:
        raise SpecError("--map", "a host for each address of the capture", "no --map", "such as --map 10.0.0.1=h1")
    try:
        workload = ReplaySpec(kind="replay", trace=str(file.absolute()), hosts=_hosts(maps), speedup=speedup)
    except ValidationError as error:
        first = error.errors()[0]       # of the map: the rest has been looked at
        raise SpecError("--map", first["msg"].removeprefix("Value error, "), str(first["input"])) from None
    slug = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:40]
    scenario = Scenario(name=f"replay-{slug}" if slug else "replay", fabric=spec, workloads={"replay": workload},
                        question=f"How does the traffic of {file.name} fare on fabric {spec.name}?")
    expanded = expand(spec)
    wrong = list(reference_problems(scenario, expanded))
    if wrong:
        raise SpecErrors([_of_option(p.path, p.expected, p.found, p.hint, file) for p in wrong])
    try:
        traffic_of(scenario, scenario.phases[0], expanded)
    except SpecError as error:
        raise _of_option(error.where.split("."), error.expected, error.found, error.hint, file) from None
    return scenario, expanded


def _of_option(path: Sequence[str | int], expected: str, found: str, hint: str, file: Path) -> SpecError:
    """What is wrong at a path of the scenario, as the command line calls it."""
    from topologies.model.errors import SpecError

    where = " ".join(["--map", *map(str, path[3:])]) if "hosts" in path else str(file)
    missing = found.endswith("which does not")      # a hint about relative paths of a scenario is none here
    return SpecError(where, expected, "no such file" if missing else found, "" if missing else hint)


def _hosts(maps: Sequence[str]) -> dict[str, str]:
    """Address -> host. Raises SpecError."""
    from topologies.model.errors import SpecError

    found: dict[str, str] = {}
    for option in maps:
        address, equals, host = option.partition("=")
        if not (address and equals and host):
            raise SpecError(f"--map {option}", "ADDRESS=HOST, such as 10.0.0.1=h1", option)
        if address in found:
            raise SpecError(f"--map {option}", "each address once", f"{address} is {found[address]} already")
        found[address] = host
    return found
