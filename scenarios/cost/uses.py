"""What the workloads of a run used: GPUs, hosts, and how long their work took, in real time.

The plan says who used what, the run's metrics say how long. `work` tells whether two runs did the same work, for
only then their costs can be compared: it is what is exchanged and asked for, not where, how or how fast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from scenarios.cost.running import Serving, Training, Use
from scenarios.report.measured import Json, number_of, value_of
from scenarios.spec.scenario import Scenario
from topologies.model.fabric import Fabric
from topologies.model.fields import Strict
from traffic.inference import plan
from traffic.metrics.serving.inference import GOOD_TOKENS, TOKENS_MET
from traffic.metrics.steps import STEP_TIME
from traffic.metrics.utilisation import IDEAL
from traffic.workloads.kinds.engine import Operations
from traffic.workloads.kinds.registry import build, kind_of
from traffic.workloads.kinds.serving import Served
from traffic.workloads.specs import ServingSpec
from traffic.workloads.workload import Collective, Transfer, Workload

Work = tuple[object, ...]
Plans = Mapping[str, Workload | plan.Serving | None]


def plans_of(scenario: Scenario, fabric: Fabric) -> Plans:
    """Workload -> who does what; None of a kind that has neither steps nor tokens.

    Raises LabError for a trace that can no longer be read.
    """
    return {name: _plan(scenario, fabric, name) for name in scenario.workloads}


def gpus_named(scenario: Scenario, default: str) -> dict[str, str]:
    """Workload with steps or tokens -> the type of its GPUs."""
    return {name: _gpu(scenario, name) or default for name, spec in scenario.workloads.items()
            if _computes(spec)}


def uses_of(scenario: Scenario, fabric: Fabric, plans: Plans, metrics: Mapping[str, Json], gpu: str
            ) -> list[tuple[Training | Serving, Work]]:
    """Every workload with steps or tokens, in each phase that has its metrics, and what work it did.

    gpu: of workloads that name none.
    """
    found = []
    for phase in scenario.phases:
        together = {n: hosts for n in phase.run if (p := plans[n]) is not None and (hosts := _hosts(p, fabric))}
        for name, hosts in together.items():
            share = _share(hosts, together, len(fabric.hosts))
            use = Use(name, phase.name, _gpu(scenario, name) or gpu, _gpus(plans[name]), share)
            done = _done(use, plans[name], _metrics(scenario, metrics, name, phase.name), fabric)
            if done is not None:
                found.append((done, _work(plans[name])))
    return found


def _plan(scenario: Scenario, fabric: Fabric, name: str) -> Workload | plan.Serving | None:
    spec = scenario.workloads[name]
    built = build(spec, fabric, name, scenario.seed) if _computes(spec) else None
    if isinstance(built, Operations):
        return built.workload
    return built.serving if isinstance(built, Served) else None


def _computes(spec: Strict) -> bool:
    """Whether it has steps or tokens."""
    return isinstance(spec, ServingSpec) or kind_of(spec).has_ranks


def _hosts(planned: Workload | plan.Serving, fabric: Fabric) -> set[str]:
    """Workload hosts that it takes; clients stand for the world outside."""
    names = planned.hosts if isinstance(planned, Workload) else _serving_hosts(planned)
    return {h.name for h in fabric.hosts} & set(names)


def _serving_hosts(planned: plan.Serving) -> set[str]:
    """The gateway, every worker of every replica, stores, agents and the servers of their tools."""
    agent = planned.spec.agent
    return {planned.gateway, *_workers(planned), *planned.stores, *(agent.hosts + agent.servers if agent else ())}


def _workers(planned: plan.Serving) -> set[str]:
    """Hosts with GPUs: all of a replica's."""
    return {host for hosts in planned.workers.values() for host in hosts}


def _share(hosts: set[str], together: Mapping[str, set[str]], of: int) -> float:
    """Of the fabric; a host that several workloads of a phase use is divided among them."""
    users = Counter(h for other in together.values() for h in other)
    return sum(1 / users[h] for h in hosts) / of


def _gpu(scenario: Scenario, name: str) -> str | None:
    """The type that a workload names; None where it names none, or describes one."""
    named = getattr(scenario.workloads[name], "gpu", None)
    return named if isinstance(named, str) else None


def _gpus(planned: Workload | plan.Serving | None) -> int:
    """One a rank; of serving, those of every worker."""
    if isinstance(planned, Workload):
        return len(planned.hosts)
    return 0 if planned is None else planned.spec.gpus * len(_workers(planned))


def _metrics(scenario: Scenario, metrics: Mapping[str, Json], name: str, phase: str) -> dict[str, Json]:
    """Tag -> metric of a workload in one phase: 'job.main.step_time', or 'job.step_time' where it has one phase."""
    phases = [p.name for p in scenario.phases if name in p.run]
    prefix = f"{name}.{phase}." if len(phases) > 1 else f"{name}."
    return {tag: m for key, m in metrics.items()
            if key.startswith(prefix) and "." not in (tag := key.removeprefix(prefix))}


def _done(use: Use, planned: Workload | plan.Serving | None, tags: Mapping[str, Json], fabric: Fabric
          ) -> Training | Serving | None:
    common = (use.workload, use.phase, use.gpu, use.gpus, use.share)
    if isinstance(planned, Workload):
        step = _real(tags.get(STEP_TIME.tag))
        return None if step is None else Training(*common, step=step, ideal=_real(tags.get(IDEAL.tag)))
    tokens, met = value_of(tags, GOOD_TOKENS), value_of(tags, TOKENS_MET)
    if tokens is None:
        return None
    return Serving(*common, tokens_per_second=tokens * fabric.spec.scale.scale.time,
                   missed_share=0.0 if met is None else 1 - met)


def _real(metric: Json | None) -> float | None:
    """A time's value in real units; where the fabric is not scaled that is the value."""
    if metric is None:
        return None
    real = number_of({"value": metric.get("real")})
    return number_of(metric) if real is None else real


def _work(planned: Workload | plan.Serving | None) -> Work:
    if isinstance(planned, Workload):
        return (len(planned.hosts), *sorted(_exchanged(planned)))
    return tuple((r.input, r.output) for r in planned.requests) if planned else ()


def _exchanged(workload: Workload) -> Iterator[tuple[str, int, int]]:
    for op in workload.ops:
        if isinstance(op, Collective):
            yield op.kind, op.size, len(op.ranks)
        elif isinstance(op, Transfer):
            yield "transfer", op.size, 2
