"""What is expected of workloads side by side on the paths that their connections take; see `fluid`.

    step_time_on_paths = median over iterations of the fluid model's step time
    interference_on_paths = JCT of the model in a phase with others / JCT of the model in a phase of its own

Source: docs/reference/methods.md: predictions; max-min fair shares on the observed flow-to-path map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from topologies.model.fabric import Fabric
from traffic.metrics.interference import INTERFERENCE
from traffic.metrics.metric import Definition, Metric, spread, with_real
from traffic.metrics.steps import JCT, STEP_TIME
from traffic.models.fluid import Pair, Path, RateChange, Step, fluid_steps
from traffic.workloads.lowering import lower
from traffic.workloads.workload import Workload

SUFFIX = "_on_paths"    # of a prediction's tag, behind that of the metric which it is held against
_SOURCE = "docs/reference/methods.md: predictions; max-min fair shares (Bertsekas and Gallager 1992, 6.5.2)"
_FORMULA = "fluid model: max-min fair shares of all flows of the phase on the paths that the switches chose"
STEP_ON_PATHS = Definition(STEP_TIME.tag + SUFFIX, "s", "step time by fair shares on the observed paths",
                           f"median over iterations; {_FORMULA}", _SOURCE)
JCT_ON_PATHS = Definition(JCT.tag + SUFFIX, "s", "job completion time by fair shares on the observed paths",
                          f"end of the last iteration - start of the first; {_FORMULA}", _SOURCE)
INTERFERENCE_ON_PATHS = Definition(INTERFERENCE.tag + SUFFIX, "", "interference factor by fair shares",
                                   f"JCT of the model beside others / alone; {_FORMULA}", _SOURCE)


def on_paths(workloads: Sequence[Workload], paths: Mapping[str, Mapping[Pair, Path]], fabric: Fabric,
             changes: Sequence[RateChange] = ()) -> dict[str, dict[str, Metric]]:
    """Workload -> tag -> prediction, all workloads side by side. Raises Unpredictable where the model cannot tell.

    paths: workload -> path of each of its connections; changes: of link rates, seconds of the phase.
    """
    alike = len(workloads) == 1 and not workloads[0].jitter
    steady = alike and all(c.t <= 0 for c in changes)     # then one step is like another
    ran = [replace(w, warmup=0, iterations=1) if steady else w for w in workloads]
    found = fluid_steps([lower(w) for w in ran], paths, fabric, changes)
    scale = fabric.spec.scale.scale
    metrics_of = {w.name: _of(_measured(found[w.name], w, steady=steady)) for w in workloads}
    return {name: {tag: with_real(m, scale) for tag, m in metrics.items()} for name, metrics in metrics_of.items()}


def _measured(steps: list[Step], workload: Workload, *, steady: bool) -> list[Step]:
    if not steady:
        return [s for s in steps if s.iteration >= 0]
    seconds = steps[0].end - steps[0].start
    return [Step(i, i * seconds, (i + 1) * seconds) for i in range(workload.iterations)]


def _of(steps: Sequence[Step]) -> dict[str, Metric]:
    times = [s.end - s.start for s in steps]
    return {STEP_ON_PATHS.tag: STEP_ON_PATHS.of(median(times), len(times), spread(times)),
            JCT_ON_PATHS.tag: JCT_ON_PATHS.of(steps[-1].end - steps[0].start)}
