"""Study file -> Plan: every design loaded and compiled, every metric known, before anything runs.

Errors are those of scenarios: each with file, line, path, what was expected and what was found, all at once.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scenarios.cost.study import check_prices
from scenarios.evidence.old_names import renamed
from scenarios.spec.compiling import compiled, located
from scenarios.spec.duration import span
from scenarios.spec.extents import totals
from scenarios.spec.load_scenario import CHOOSES_FABRIC, LIBRARY, read_scenario
from scenarios.spec.scenario import Scenario
from scenarios.study.spec import Cell, MetricChoice, Settings, Study
from topologies.model.document import Document, Problem, nearest, read_document
from topologies.model.errors import LabError, SpecError, SpecErrors
from topologies.model.fabric import Fabric
from topologies.model.load import (
    CATALOG,
    Override,
    apply_overrides,
    find_spec,
    key_path,
    parse_overrides,
    ready_files,
    validate,
)
from traffic.metrics.known import definitions, unit_of

SUFFIX = ".study.yml"
MAX_STUDY_OPS = 250_000         # of all designs, which are compiled one after another
MAX_STUDY = 30 * 86_400         # s: of all runs of a study
PERCENTILE = re.compile(r"_p\d+$")


@dataclass(frozen=True)
class Planned:
    """A design that is ready to run. settings: dotted path -> value, all that the study changes in the scenario;
    seconds: of one run, as it is expected and where paths collide."""

    name: str
    scenario: Scenario
    fabric: Fabric
    settings: Settings
    reference: bool
    description: str
    seconds: tuple[float, float]

    def with_seed(self, seed: int) -> Scenario:
        return self.scenario.model_copy(update={"seed": seed})


@dataclass(frozen=True)
class Plan:
    """A study that is ready to run. order: (design, seed) of every run, seed after seed."""

    study: Study
    quick: bool
    designs: dict[str, Planned]
    baseline: str
    seeds: tuple[int, ...]
    order: tuple[tuple[str, int], ...]
    directory: Path

    @property
    def seconds(self) -> tuple[float, float]:
        """Of all runs, none done again, as it is expected and where paths collide."""
        least, most = (sum(self.designs[name].seconds[n] for name, _ in self.order) for n in (0, 1))
        return least, most


def find_study(name: str) -> tuple[Path, str]:
    """A study by path or by its name in the library -> (file, how errors call it). Raises SpecError."""
    path, shown = find_spec(name, LIBRARY, "study", suffix=SUFFIX)
    if not path.name.endswith(SUFFIX):
        raise SpecError(shown, f"a study, whose file's name ends in {SUFFIX}", path.name,
                        f"a scenario is run by: aifab run {name}")
    return path, shown


def load_study(name: str, overrides: Sequence[str] = (), *, quick: bool = False) -> Plan:
    """A study, with `--set` options applied to its file. Raises SpecError or SpecErrors with all that is wrong."""
    path, shown = find_study(name)
    document = read_document(path, shown)
    apply_overrides(document, [_whole(o) for o in parse_overrides(overrides)])
    study, problems = validate(document, Study)
    if study is None:
        raise SpecErrors(document.errors(problems))
    if quick and study.quick is None:
        raise SpecError(f"{shown} quick", "a quick form: what --quick makes smaller", "none",
                        "run it without --quick, or write one, such as quick: {repeats: 3}")
    cells, repeats = study.of_quick(quick)
    designs = _designs(document, cells)
    baseline = study.baseline or cells[0].name
    problems = [*_scale_problems(designs, baseline), *_metric_problems(study.metrics, designs)]
    if baseline not in designs:
        problems.append(Problem(("quick", "designs"), f"the baseline {baseline} among them", ", ".join(designs)))
    if problems:
        raise SpecErrors(document.errors(problems))
    _check_prices(document, study, designs)
    seeds = tuple(range(study.seed, study.seed + repeats))
    plan = Plan(study, quick, designs, baseline, seeds, order_of(tuple(designs), seeds), document.directory)
    if plan.seconds[0] > MAX_STUDY:
        at = ("repeats",)
        raise SpecError(document.place(at).where(at), f"a study of at most {MAX_STUDY // 86_400} days",
                        f"{len(plan.order)} runs, which take {span(plan.seconds)}",
                        "fewer designs or repeats, or shorter workloads")
    return plan


def _check_prices(document: Document, study: Study, designs: dict[str, Planned]) -> None:
    """Raises LabError where a study names prices and a part of some design has none."""
    if study.prices is None:
        return
    try:
        check_prices(study.prices, document.directory, study.priced_as, {n: d.scenario for n, d in designs.items()})
    except SpecErrors:
        raise
    except SpecError as error:
        at = ("prices",)
        where = document.place(at).where(at) if error.where == study.prices else error.where
        raise SpecError(where, error.expected, error.found, error.hint) from None


def order_of(designs: tuple[str, ...], seeds: tuple[int, ...]) -> tuple[tuple[str, int], ...]:
    """Randomised blocks: all designs of one seed in an order that this seed draws, then the next seed.

    Runs that are compared are near in time, no design is always first, and more repeats leave the order of
    those before them as it was.
    """
    found: list[tuple[str, int]] = []
    for seed in seeds:
        names = list(designs)
        random.Random(f"order {seed}").shuffle(names)       # noqa: S311 - no secret
        found += [(name, seed) for name in names]
    return tuple(found)


def _whole(override: Override) -> Override:
    """A dotted path below `set` or `axes` is one key there: set.fabric.spines=4 sets {fabric.spines: 4}."""
    path = override.path
    held = {"set": 1, "axes": 1, "quick": 2, "designs": 3}.get(str(path[0]), 0)     # keys up to `set` or `axes`
    if not held or len(path) <= held or path[held - 1] not in {"set", "axes"}:
        return override
    return Override((*path[:held], ".".join(str(p) for p in path[held:])), override.value, override.option)


def _designs(document: Document, cells: Sequence[Cell]) -> dict[str, Planned]:
    """Every design loaded and compiled. Raises SpecErrors with everything wrong in any of them."""
    found: dict[str, Planned] = {}
    errors: list[LabError] = []
    ops = 0
    for cell in cells:
        try:
            found[cell.name] = planned = _planned(document, cell)
            ops += totals(planned.scenario, planned.fabric)[0]
        except SpecErrors as several:
            errors += [_of_design(document, cell.name, e) for e in several.errors]
        except LabError as error:
            errors.append(_of_design(document, cell.name, error))
        if ops > MAX_STUDY_OPS:
            errors.append(SpecError(
                document.place(()).where(()), f"at most {MAX_STUDY_OPS:,} computes and transfers in all designs",
                f"more in the first {len(found)} of {len(cells)} designs", "fewer designs, or smaller workloads"))
            break
    if errors:
        raise SpecErrors(list({str(e): e for e in errors}.values()))
    return found


def _of_design(document: Document, name: str, error: LabError) -> LabError:
    """With the design's name, unless the place in the study file says it already."""
    if error.where.startswith(f"{document.places[()].source}:"):
        return error
    return SpecError(f"design {name}: {error.where}", error.expected, error.found, error.hint)


def _planned(document: Document, cell: Cell) -> Planned:
    # what a scenario has checked at its end is about its own phases; a study has findings instead
    overrides, settings = [Override(("validate",), {}, "")], {}
    for at, text, value in cell.settings:
        where = document.place(at).where(at)
        path = key_path(text)
        if path == ("seed",):
            raise SpecError(where, "no seed: every design runs with the study's seeds", str(value),
                            "remove it; `seed` of the study is the first repeat's")
        settings[text] = value
        overrides.append(Override(path, _beside(document.directory, path, value), where))
    scenario, fabric, source = read_scenario(_base(document, cell), overrides)
    with located(source):
        made = compiled(scenario, fabric)
    return Planned(cell.name, scenario, fabric, settings, cell.reference, cell.description, made.duration.total)


def _base(document: Document, cell: Cell) -> str:
    """A name of the library, or the path of a file that lies beside the study."""
    try:
        path, _ = find_spec(cell.scenario, LIBRARY, "scenario", document.directory)
    except SpecError as error:
        named = next((at for at in (("designs", cell.name, "scenario"), ("scenario",)) if at in document.places), ())
        raise SpecError(document.place(named).where(named), error.expected, error.found, error.hint) from None
    return cell.scenario if path.parent == LIBRARY and "/" not in cell.scenario else str(path)


def _beside(directory: Path, path: tuple[str | int, ...], value: object) -> object:
    """A relative trace or fabric file that a study names lies beside the study."""
    names_file = path in CHOOSES_FABRIC or path[-1] == "trace"
    if not names_file or not isinstance(value, str) or value in ready_files(CATALOG):
        return value
    return str((directory / value).absolute())


def _scale_problems(designs: dict[str, Planned], baseline: str) -> Iterator[Problem]:
    """Emulated seconds and bits of two scales are not the same seconds and bits."""
    if baseline not in designs:
        return
    wanted = designs[baseline].scenario.fabric.scale
    for name, design in designs.items():
        scale = design.scenario.fabric.scale
        if scale != wanted:
            yield Problem(("designs", name), f"the scale of {baseline}, rate {wanted.rate:g} and size {wanted.size:g}: "
                          "runs of different scale cannot be compared, for TCP's timers, frames and the machine's "
                          "noise do not scale", f"rate {scale.rate:g} and size {scale.size:g}",
                          "give all designs one fabric.scale")


def _metric_problems(metrics: Sequence[MetricChoice], designs: dict[str, Planned]) -> Iterator[Problem]:
    """A metric starts with a workload of some design or with `fabric`, and ends with a tag that there is."""
    owners = list(dict.fromkeys(["fabric", *(w for d in designs.values() for w in d.scenario.workloads)]))
    for n, choice in enumerate(metrics):
        owner, _, rest = choice.metric.partition(".")
        tag = PERCENTILE.sub("", rest.rsplit(".", 1)[-1])
        if owner not in owners:
            yield Problem(("metrics", n, "metric"), f"a key WORKLOAD.TAG, of one of {', '.join(owners)}", choice.metric,
                          nearest(owner, {o: f"{o}.{rest}" for o in owners}))
        elif unit_of(rest.rsplit(".", 1)[-1]) is None:
            known = {t: f"{owner}.{t}" for t in sorted(definitions())}
            yield Problem(("metrics", n, "metric"), "a tag of docs/reference/methods.md after the workload's name",
                          rest or "nothing", renamed(rest) or nearest(tag, known))
