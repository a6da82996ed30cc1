"""aifab: the command line. Commands live in scenarios/commands, one module each.

A command imports what is heavy (Mininet, Matplotlib, os-ken) when it runs, so that `check` and
`--help` answer at once. Errors of the user end here: message on stderr, exit code of the error.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Annotated

import typer
from pydantic import ValidationError

from scenarios.commands.analyse import analyse
from scenarios.commands.bench import bench
from scenarios.commands.check import check
from scenarios.commands.classes import classes
from scenarios.commands.compare import compare
from scenarios.commands.cost import cost
from scenarios.commands.discover import list_things, ps, show
from scenarios.commands.graph import graph
from scenarios.commands.labs import capture, cli, execute, up
from scenarios.commands.lessons import lessons
from scenarios.commands.replay import replay
from scenarios.commands.run import run
from scenarios.commands.schema import schema
from scenarios.commands.starters import new
from scenarios.commands.trace import trace
from scenarios.commands.upkeep import clean, doctor, report
from scenarios.commands.validate import validate
from scenarios.commands.vpc import evpn, verify, vpc
from scenarios.commands.workshop import workshop
from topologies.lab.programs import absolute_path
from topologies.model.errors import LabError

INTERRUPTED = 130       # what a shell expects of a program that Ctrl-C ended

app = typer.Typer(
    name="aifab", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine (run: VALID), 1 error, 2 wrong usage or file, 3 INVALID, 4 SUSPECT, "
           "5 a check failed.")
app.command("list")(list_things)
for command in (show, new, graph, check, run, compare, validate, lessons, bench, replay, report, cost, up, ps, cli,
                capture, analyse, evpn, verify, trace, clean, doctor, schema):
    app.command()(command)
app.command("exec")(execute)
app.add_typer(vpc, name="vpc")
app.add_typer(classes, name="class")
app.add_typer(workshop, name="workshop")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aifab {metadata.version('aifab')}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[bool, typer.Option(
        "--version", callback=_show_version, is_eager=True, help="print the version and exit")] = False,
) -> None:
    """The AI fabric lab: emulate the network of an AI cluster, packet by packet, and prove what was measured."""


def main() -> None:
    """Entry point of `aifab`."""
    os.environ["PATH"] = absolute_path()
    try:
        app(prog_name="aifab")      # also where it is started as a module
    except LabError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except ValidationError as error:        # a model of ours got what nobody had looked at: our bug, not a traceback
        print(_of_model(error), file=sys.stderr)
        sys.exit(LabError.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _of_model(error: ValidationError) -> LabError:
    """What one of our models refused, in a sentence."""
    first = error.errors()[0]
    where = ".".join([error.title, *map(str, first["loc"])])
    return LabError(where, f"what this model takes: {first['msg']}", repr(first["input"])[:80],
                    "this should have been refused earlier: please report it with the file")


if __name__ == "__main__":
    main()
