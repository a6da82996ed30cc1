"""aifab bench: a collective over sizes, in the manner of nccl-tests."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Settings = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="override a fabric value")]


class Op(StrEnum):
    """The collectives that there are."""

    all_reduce = "all-reduce"
    all_gather = "all-gather"
    reduce_scatter = "reduce-scatter"
    all_to_all = "all-to-all"
    broadcast = "broadcast"


class Algorithm(StrEnum):
    """How a collective can be done; not every one can be done by each."""

    ring = "ring"
    direct = "direct"
    tree = "tree"
    halving_doubling = "halving-doubling"
    hierarchical = "hierarchical"


def bench(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    op: Annotated[Op, typer.Argument(metavar="COLLECTIVE", help=f"one of {', '.join(Op)}")],
    fabric: Annotated[str, typer.Option(help="a fabric file, or a name of the catalog")] = "small",
    settings: Settings = None,
    smallest: Annotated[str, typer.Option("--min", metavar="SIZE", help="the first size")] = "64KiB",
    largest: Annotated[str, typer.Option("--max", metavar="SIZE", help="the last size at most")] = "1MiB",
    factor: Annotated[float, typer.Option(help="from one size to the next")] = 2.0,
    warmup: Annotated[int, typer.Option(min=0, help="iterations before those that count")] = 1,
    iterations: Annotated[int, typer.Option(min=1, help="iterations that count")] = 5,
    ranks: Annotated[int | None, typer.Option(min=2, help="default: one on every workload host")] = None,
    algorithm: Annotated[Algorithm | None, typer.Option(help="default: direct for all-to-all, else ring")] = None,
    runs: Annotated[Path, typer.Option(help="where the run directory goes")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="print CSV and nothing else")] = False,
    no_lock: Annotated[bool, typer.Option(
        "--no-lock", help="run beside another measuring run; the result is SUSPECT")] = False,
) -> None:
    """Measure a collective over sizes (as root), with one verdict for the sweep.

    Size, time, algbw and busbw are those of nccl-tests; drops, retransmits and Jain's fairness index over
    the links between leaves and spines say why. Sizes are of the buffer S that algbw is about.

    Examples:

      sudo aifab bench all-reduce

      sudo aifab bench all-to-all --fabric spines4 --min 256kB --max 1MB --factor 4 --csv

    Exit codes: 0 VALID, 1 error, 2 usage, 3 INVALID, 4 SUSPECT, 130 interrupted.
    """
    from scenarios.run import bench_collective as sweep
    from scenarios.run.progress import Bars
    from topologies.lab.host_limits import require_root
    from topologies.model.load import load_fabric
    from traffic.workloads.specs import CollectiveSpec

    if as_json and as_csv:
        raise typer.BadParameter("one of --json and --csv, not both", param_hint="--json, --csv")
    sizes = sweep.sizes(_size("--min", smallest), _size("--max", largest), factor)
    collective = CollectiveSpec(kind="collective", op=op.value, algorithm=algorithm.value if algorithm else None,
                                ranks=ranks, size=f"{sizes[0]}B", iterations=iterations, warmup=warmup)
    scenario = sweep.scenario_of(load_fabric(fabric, settings or []), collective, sizes)
    require_root()
    with Bars(quiet=as_json or as_csv or not sys.stderr.isatty()) as bars:
        found = sweep.bench(scenario, runs, lock=not no_lock, argv=sys.argv, listener=bars)
    if as_json:
        print(json.dumps(sweep.as_json(found)))
    else:
        print(sweep.as_csv(found) if as_csv else sweep.text(found), end="" if as_csv else "\n")
    raise typer.Exit(found.result.verdict.exit_code)


def _size(option: str, value: str) -> int:
    """Bytes. Raises SpecError that names the option."""
    from topologies.model.errors import SpecError
    from topologies.model.units import parse_size

    try:
        return parse_size(value)
    except ValueError as error:
        raise SpecError(option, str(error), value) from None
