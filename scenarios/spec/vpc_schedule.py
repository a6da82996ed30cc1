"""Who is in which VPC at which moment of a scenario, and what of it cannot be. Pure.

Changes happen in the order of the phases and, inside of a phase, of their times; each follows from the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controller.intent.intent import KEY, AttachmentSpec, Intent, IntentObject, VpcAttachment
from controller.intent.intent_checks import intent_problems
from controller.intent.intent_fields import Metadata
from controller.intent.vpc import Allocation, allocate, macs_of
from controller.verify.reachability import Cell, cells
from scenarios.spec.scenario import Phase, Scenario, Scheduled
from topologies.model.document import KeyPath, Problem
from topologies.model.drop_names import unreachable_leaf
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.fabric import Fabric

Pairs = Mapping[str, Iterable[tuple[str, str]]]     # workload -> (from, to) of what it sends, names of hosts


def moved(intent: Intent, moves: Mapping[str, str]) -> Intent:
    """The same intent with hosts attached elsewhere (host -> vpc/subnet); a host without an attachment gets one."""
    left = dict(moves)
    objects: list[IntentObject] = []
    for item in intent.objects:
        if isinstance(item, VpcAttachment) and item.spec.connection in left:
            spec = AttachmentSpec(connection=item.spec.connection, subnet=left.pop(item.spec.connection))
            objects.append(item.model_copy(update={"spec": spec}))
        else:
            objects.append(item)
    objects += [VpcAttachment(kind="VPCAttachment", metadata=Metadata(name=host),
                              spec=AttachmentSpec(connection=host, subnet=subnet)) for host, subnet in left.items()]
    return Intent(objects=tuple(objects))


def places(intent: Intent) -> dict[str, str]:
    """Attached host -> vpc/subnet."""
    return {a.connection: a.subnet for a in intent.attachments}


def phase_of(scenario: Scenario, change: Scheduled) -> str:
    return change.phase or scenario.phases[0].name


def changes_of(scenario: Scenario, phase: str) -> list[tuple[int, Scheduled]]:
    """The changes of one phase in the order of their times, each with its number in the schedule."""
    its = [(n, c) for n, c in enumerate(scenario.schedule) if phase_of(scenario, c) == phase]
    return sorted(its, key=lambda item: item[1].at)


def intents(scenario: Scenario) -> Iterator[tuple[str, int, Intent]]:
    """(phase, number in the schedule, intent from then on) of every change, in their order."""
    intent = scenario.intent
    for phase in scenario.phases:
        for n, change in changes_of(scenario, phase.name):
            intent = moved(intent, change.move)
            yield phase.name, n, intent


def at_start(scenario: Scenario, phase: str) -> Intent:
    """Who is in which VPC when a phase starts."""
    names = [p.name for p in scenario.phases]
    intent = scenario.intent
    for where, _, after in intents(scenario):
        if names.index(where) < names.index(phase):
            intent = after
    return intent


def untouched(scenario: Scenario, phase: str) -> set[str]:
    """VPCs that have hosts while a phase runs, and no change of it takes a host from or puts one into."""
    before = at_start(scenario, phase)
    at = places(before)
    touched: set[str] = set()
    for _, change in changes_of(scenario, phase):
        touched |= {at[h] for h in change.move if h in at} | set(change.move.values())
        at |= change.move
    return {s.split("/")[0] for s in at.values()} - {s.split("/")[0] for s in touched}


def vpc_problems(scenario: Scenario, fabric: Fabric) -> Iterator[Problem]:
    """What does not fit the fabric: in the VPCs, and in each change that follows. Paths are those of Scenario."""
    for n, change in enumerate(scenario.schedule):
        if change.move and not scenario.vpcs:
            yield Problem(("schedule", n, "move"), "moves between VPCs of the scenario", "a scenario without vpcs")
            return
    first = intent_problems(scenario.intent, fabric)
    yield from (Problem(("vpcs", *p.path[1:]), p.expected, p.found, p.hint) for p in first)
    if first:
        return
    reported: dict[KeyPath, Problem] = {}
    for _, n, intent in intents(scenario):
        change = scenario.schedule[n]
        for problem in intent_problems(intent, fabric):
            at = ("schedule", n, "move", *_host_of(problem.path, intent, change))
            reported.setdefault(at, Problem(at, problem.expected, problem.found, problem.hint))
    yield from reported.values()


def _host_of(path: KeyPath, intent: Intent, change: Scheduled) -> KeyPath:
    """The host of a change whose attachment a problem is about; nothing if it is about all of it."""
    index = path[1] if path[0] == KEY and len(path) > 1 else None
    item = intent.objects[index] if isinstance(index, int) else None
    if isinstance(item, VpcAttachment) and item.spec.connection in change.move:
        return (item.spec.connection,)
    return ()


def check_traffic(scenario: Scenario, fabric: Fabric, traffic: Mapping[str, Pairs]) -> None:
    """Refuse traffic that the VPCs, or a fabric of several sides, cannot carry. traffic: phase -> its workloads' pairs.

    Raises SpecErrors: hosts that may not or cannot speak with each other, and hosts that get another address under a
    workload that uses them, which would cut its connections.
    """
    if not scenario.vpcs and fabric.spec.sides is None:
        return
    errors = [e for phase in scenario.phases for e in _phase_errors(scenario, fabric, phase, traffic[phase.name])]
    if errors:
        raise SpecErrors(errors)


def _phase_errors(scenario: Scenario, fabric: Fabric, phase: Phase, traffic: Pairs) -> Iterator[SpecError]:
    intent = at_start(scenario, phase.name)
    used = dict.fromkeys(pair for pairs in traffic.values() for pair in pairs)
    found = cells(intent, fabric, allocate(intent, Allocation(), macs=macs_of(fabric)), used)
    denied = {(c.source, c.target): c for c in found if not c.allowed}
    moving = {host for _, change in changes_of(scenario, phase.name) for host in change.move}
    for name, pairs in traffic.items():
        where = f"workloads.{name} in phase {phase.name}"
        wanted = sorted(set(pairs))
        for a, b in [p for p in wanted if p in denied][:1]:
            yield _refused(where, denied[a, b])
        for host in sorted(moving & {h for pair in wanted for h in pair})[:1]:
            yield SpecError(where, "hosts that stay where they are while it runs",
                            f"{host}, which the schedule moves meanwhile",
                            "a host that is moved gets another address, which cuts its connections: "
                            "let it move in a phase in which it is not used")


def _refused(where: str, cell: Cell) -> SpecError:
    found = f"{cell.source} -> {cell.target}: {cell.reason}"
    if unreachable_leaf(cell.drop):
        return SpecError(where, "hosts that the fabric joins, of one side", found,
                         "name hosts of one side in its placement, pairs, clients or replicas")
    return SpecError(where, "hosts whose VPCs let them reach each other", found,
                     "choose other hosts, attach them to one subnet, or add a VPCPeering")
