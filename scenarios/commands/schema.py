"""aifab schema: JSON Schema of the files, for editors that complete and check while one types."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scenarios.spec.scenario import Scenario
from scenarios.study.spec import Study
from topologies.access import files
from topologies.model.errors import LabError
from topologies.model.spec import FabricSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Kind(StrEnum):
    """What a schema is of."""

    fabric = "fabric"
    scenario = "scenario"
    study = "study"


def schema(
    kind: Annotated[Kind, typer.Argument(help="which kind of file")] = Kind.scenario,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="default: print it")] = None,
) -> None:
    """Write the JSON Schema of scenario, fabric or study files.

    Example, with the YAML extension of an editor:

      aifab schema scenario -o scenario.schema.json
    """
    text = json.dumps(schema_of(kind), indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        files.write_whole(output, text.encode())
    except OSError as error:
        raise LabError(str(output), "a file that can be written", error.strerror or str(error)) from None


def schema_of(kind: Kind) -> dict[str, object]:
    """JSON Schema (draft 2020-12) of what the loader takes, short forms included."""
    if kind is Kind.study:
        return {"$schema": DIALECT, **Study.model_json_schema()}
    if kind is Kind.fabric:
        return {"$schema": DIALECT, **FabricSpec.model_json_schema()}
    result = {"$schema": DIALECT, **Scenario.model_json_schema()}
    fabric = result["$defs"]["FabricSpec"]
    over_base = {**fabric, "properties": {"base": {"type": "string"}, **fabric["properties"]}, "required": ["base"],
                 "title": "FabricOverBase", "description": "A named fabric with some keys changed."}
    result["$defs"]["FabricOverBase"] = over_base
    name = {"type": "string", "description": "a name of the catalog, or a path beside this file"}
    result["properties"]["fabric"] = {
        "anyOf": [name, {"$ref": "#/$defs/FabricOverBase"}, {"$ref": "#/$defs/FabricSpec"}]}
    return result
