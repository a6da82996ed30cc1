"""Scenario file -> Scenario: its fabric found, its options applied, its names checked against the fabric.

`fabric:` is a name of the catalog, a path beside the scenario, a mapping, or a mapping with
`base: NAME` and the keys that differ from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from scenarios.spec.references import reference_problems
from scenarios.spec.scenario import Scenario
from topologies.model.document import Document, KeyPath, Problem, dotted, nearest, read_document, show
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.explain import keys_of
from topologies.model.fabric import Fabric
from topologies.model.fields import Strict
from topologies.model.load import (
    CATALOG,
    Override,
    apply_overrides,
    expanded,
    find_spec,
    parse_overrides,
    validate,
)
from topologies.model.spec import FabricSpec
from traffic.workloads.kinds.registry import KINDS

LIBRARY = Path(__file__).parents[1] / "library"
FABRIC: KeyPath = ("fabric",)
CHOOSES_FABRIC = (FABRIC, ("fabric", "base"))
KEYS = keys_of(Scenario)


class Loaded(NamedTuple):
    """A scenario, its fabric expanded, and the document, which knows the line of everything (compiling.located)."""

    scenario: Scenario
    fabric: Fabric
    document: Document


def load_scenario(name: str, overrides: Sequence[str | Override] = ()) -> Scenario:
    """A scenario by path or by its name in the library, with `--set` options applied; ready ones come last.

    Raises SpecError or SpecErrors: all that is wrong with its shape, with its names (hosts, links, ranks, traces) and,
    if anything is, with its traffic.
    """
    return read_scenario(name, overrides).scenario


def read_scenario(name: str, overrides: Sequence[str | Override] = ()) -> Loaded:
    """As load_scenario, with what loading it has made besides."""
    path, shown = find_spec(name, LIBRARY, "scenario")
    if path.name.endswith(".study.yml"):
        raise SpecError(shown, "a scenario", "a study of several", f"run it by: aifab compare {name}")
    return scenario_of(read_document(path, shown), overrides)


def scenario_of(document: Document, overrides: Sequence[str | Override] = ()) -> Loaded:
    """The scenario that a document describes. Raises SpecError or SpecErrors, as above."""
    options = _addressed(document, [*parse_overrides([o for o in overrides if isinstance(o, str)]),
                                    *(o for o in overrides if isinstance(o, Override))])
    apply_overrides(document, [o for o in options if o.path in CHOOSES_FABRIC])
    problems, errors = _resolve_fabric(document)
    if problems or errors:
        document.data["fabric"] = {}        # so that the rest of the scenario is checked as well
    apply_overrides(document, [o for o in options if o.path not in CHOOSES_FABRIC])
    _resolve_traces(document)
    scenario, wrong = validate(document, Scenario)
    problems += wrong
    whole = scenario if scenario is not None else _sound_part(document, wrong)
    fabric: Fabric | None = None
    if whole is not None and not errors and len(problems) == len(wrong):     # with its own fabric
        fabric, wrong = expanded(whole.fabric, FABRIC)
        problems += [*wrong, *reference_problems(whole, fabric)]
        errors += _others(whole, fabric, document, problems)
    if scenario is None or fabric is None or problems or errors:
        raise SpecErrors([*document.errors(problems), *errors])
    return Loaded(scenario, fabric, document)


def _sound_part(document: Document, wrong: Sequence[Problem]) -> Scenario | None:
    """The scenario without what has a wrong shape, so that the names in the rest are checked in the same go."""
    if any(p.path[:1] == FABRIC or p.path in ((), ("workloads",)) for p in wrong):
        return None
    data = deepcopy(document.data)
    data.update({key: "unnamed" for key in ("name", "question") if any(p.path[0] == key for p in wrong)})
    for problem in wrong:
        first, second, *_ = (*problem.path, None)
        if first == "workloads":
            data["workloads"].pop(second, None)
            for key in ("phases", "events", "schedule", "validate"):    # they may name it
                data.pop(key, None)
        elif first not in ("name", "question"):
            data.pop(str(first), None)
    try:
        return Scenario.model_validate(data)
    except ValidationError:
        return None


def _others(scenario: Scenario, fabric: Fabric, document: Document,
            problems: Sequence[Problem]) -> Sequence[LabError]:
    """Where some names are wrong: what is wrong with the traffic of the workloads whose names are right."""
    if not problems:
        return []       # reported when the traffic is made
    from scenarios.spec.compiling import located, workload_errors  # noqa: PLC0415 - needless for a file that is right

    wrong = {str(p.path[1]) for p in problems if p.path[0] == "workloads" and len(p.path) > 1}
    try:
        with located(document):
            workload_errors(scenario, fabric, wrong)
    except SpecErrors as several:
        return several.errors
    return []


def _resolve_fabric(document: Document) -> tuple[list[Problem], list[LabError]]:
    """Put the named fabric's keys in the place of its name.

    Returns what is wrong with the name, and with the named file.
    """
    fabric = document.data.get("fabric")
    named = isinstance(fabric, str)
    if not named and not (isinstance(fabric, dict) and "base" in fabric):
        return [], []
    at = FABRIC if named else ("fabric", "base")
    name = document.value(at)
    if not isinstance(name, str):
        return [Problem(at, "the name of a fabric", show(name))], []
    # What an option names lies where the user stands; what a file names lies beside the file.
    beside = None if document.place(at).line == 0 else document.directory
    try:
        path, shown = find_spec(name, CATALOG, "fabric", beside)
        base = read_document(path, shown)
    except SpecErrors as several:
        return [], list(several.errors)
    except SpecError as error:
        missing = error.where in (name, "fabric") or error.found == "no such file"
        return ([Problem(at, error.expected, name, error.hint)], []) if missing else ([], [error])
    if not named:
        del document.data["fabric"]["base"]
    document.graft(FABRIC, base)
    return [], []


def _resolve_traces(document: Document) -> None:
    """Relative traces of the file lie beside it; those of `--set` lie where the user stands."""
    workloads = document.data.get("workloads")
    for name, workload in workloads.items() if isinstance(workloads, dict) else ():
        trace = workload.get("trace") if isinstance(workload, dict) else None
        if isinstance(trace, str):
            option = document.place(("workloads", name, "trace")).line == 0
            workload["trace"] = str((Path() if option else document.directory).absolute() / trace)


def _addressed(document: Document, overrides: Sequence[Override]) -> list[Override]:
    """Options with whole paths. Raises SpecErrors for those that address nothing."""
    found: list[Override] = []
    errors: list[LabError] = []
    for override in overrides:
        try:
            found.append(_address(document, override))
        except SpecError as error:
            errors.append(error)
    if errors:
        raise SpecErrors(errors)
    return found


def _address(document: Document, override: Override) -> Override:
    """`size=8MB` means the one workload that has a size; `workloads.x.size` has to name a workload."""
    first = str(override.path[0])
    workloads = document.data.get("workloads")
    specs = {kind.name: kind.spec for kind in KINDS.values()}
    kinds = {str(name): specs.get(str(w.get("kind"))) for name, w in workloads.items()
             if isinstance(w, dict)} if isinstance(workloads, dict) else {}
    if first in KEYS:
        if first == "workloads" and len(override.path) > 2 and str(override.path[1]) not in kinds:
            raise SpecError(override.option, f"a workload of this scenario: {', '.join(kinds)}", str(override.path[1]),
                            nearest(str(override.path[1]), list(kinds)))
        return override
    owners: list[KeyPath] = [("workloads", name, *override.path) for name, model in kinds.items()
                             if model is not None and first in model.model_fields]
    if len(owners) == 1:
        return Override(owners[0], override.value, override.option)
    if owners:
        raise SpecError(override.option, f"one of {', '.join(dotted(p) for p in owners)}",
                        f"{first}, which {len(owners)} workloads have", "write the whole path")
    raise _unknown_path(override, kinds)


def _unknown_path(override: Override, kinds: Mapping[str, type[Strict] | None]) -> SpecError:
    first = str(override.path[0])
    paths = {name: name for name in KEYS}
    paths |= {key: f"fabric.{key}" for key in FabricSpec.model_fields}
    paths |= {key: f"workloads.{name}.{key}" for name, model in kinds.items() if model for key in model.model_fields}
    return SpecError(override.option, f"a path that starts with one of {', '.join(KEYS)}, "
                     "or a key of a workload", first, nearest(first, paths))
