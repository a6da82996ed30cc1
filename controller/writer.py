"""Changes of intent, of learned routes and of rates, one at a time: check, remember, install. No os-ken, no HTTP."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from controller.control import Control
from controller.evpn.bgp_import import Learned, importable
from controller.evpn.evpn import Route
from controller.intent.intent import Intent, IntentObject
from controller.intent.intent_checks import intent_problems
from controller.intent.vpc import allocate, macs_of, resolve
from controller.record import Record
from controller.rules.compile import Compiler
from controller.rules.state import State
from controller.stages import RuleSource, stages
from topologies.model.document import Problem, nearest

# seconds for all switches to confirm a stage; one that does not is reported, and does not hold it up
CONFIRM = 5.0


class Conflict(Exception):  # noqa: N818 - it is how HTTP calls it
    """Somebody else has changed the intent since; `version` is what it is now."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


class IntentViolation(Exception):     # noqa: N818 - it is a description, not a failure
    """An intent that cannot be, with everything that is wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


class Follower(Protocol):
    """Sends what a new source of rules asks for; each future is a switch's barrier."""

    def follow(self, source: RuleSource) -> Iterable[Future[Any]]: ...


@dataclass(frozen=True)
class Plan:
    """What a new intent would change.

    objects: '+ VPC a', '- VPCAttachment x', '~ VPCPeering y'; flows: switch -> (rules that come, rules that go).
    """

    record: Record
    compiler: Compiler
    objects: tuple[str, ...]
    flows: dict[str, tuple[int, int]]


class Writer:
    """The one way in for intent."""

    def __init__(self, control: Control, follower: Follower, path: Path,
                 announce: Callable[[Iterable[Route]], None] = lambda _: None) -> None:
        self._control, self._follower, self._path, self._announce = control, follower, path, announce
        self._writing = threading.Lock()
        announce(control.compiler.originated)

    def plan(self, intent: Intent) -> Plan:
        """Raises IntentViolation."""
        control = self._control
        problems = intent_problems(intent, control.fabric)
        if problems:
            raise IntentViolation(problems)
        old = control.record
        if intent == old.intent:
            return Plan(old, control.compiler, (), {})
        allocation = allocate(intent, old.allocation, macs=macs_of(control.fabric))
        record = old.model_copy(update={"version": old.version + 1, "intent": intent, "allocation": allocation})
        compiler = self._compiler(record)
        return Plan(record, compiler, tuple(_changed(old.intent, intent)), _flows(control.compiler, compiler))

    def apply(self, intent: Intent, version: int | None = None) -> tuple[Plan, float]:
        """Install an intent; the plan, and the seconds until all switches held it. Raises IntentViolation or Conflict.

        version: apply only if this is still the version that counts.
        """
        with self._writing:
            if version is not None and version != self._control.record.version:
                raise Conflict(self._control.record.version)
            started = time.monotonic()
            plan = self.plan(intent)
            if plan.record is not self._control.record:
                plan.record.write(self._path)
                self._install(plan.record, plan.compiler)
            return plan, time.monotonic() - started

    def learn(self, learned: tuple[Learned, ...]) -> None:
        """From now on these are the routes that BGP peers have announced: install what follows from them.

        Nothing is compiled while VRFs would import what they import anyway.
        """
        with self._writing:
            control, compiler = self._control, self._control.compiler
            control.learned = learned
            imported = importable(control.fabric, compiler.tenancy, learned)
            if imported != compiler.imported or not control.is_settled:
                self._install(control.record, Compiler(control.fabric, compiler.tenancy, previous=compiler,
                                                       imported=imported))

    def rated(self, rates: Mapping[str, float]) -> float:
        """From now on these links have another rate than the fabric's: link -> bit/s. Seconds until all switches
        held what follows from it. A controller that is started again in their place knows them. Raises
        IntentViolation."""
        known = self._control.fabric.links_by_name
        problems = [Problem(("rates", name), "the name of a link", name, nearest(name, list(known)))
                    for name in rates if name not in known]
        problems += [Problem(("rates", name), "bit/s over 0", f"{rate:g}") for name, rate in rates.items()
                     if not 0 < rate < math.inf]
        if problems:
            raise IntentViolation(problems)
        with self._writing:
            started = time.monotonic()
            record = self._control.record.model_copy(update={"rates": dict(rates)})
            record.write(self._path)
            _wait(list(self._follower.follow(self._control.rated(record))), CONFIRM)
            return time.monotonic() - started

    def _compiler(self, record: Record) -> Compiler:
        control = self._control
        tenancy = resolve(record.intent, control.fabric, record.allocation)
        return Compiler(control.fabric, tenancy, previous=control.compiler,
                        imported=importable(control.fabric, tenancy, control.learned))

    def _install(self, record: Record, compiler: Compiler) -> None:
        """In stages, each on all switches before the next; then it is announced."""
        for source in stages(self._control.compiler, compiler):
            _wait(list(self._follower.follow(source)), CONFIRM)
        self._control.settle(record, compiler)
        self._announce(compiler.originated)


def _wait(barriers: list[Future[Any]], timeout: float) -> None:
    """Until all have come back or were given up (a lost switch's are cancelled), at most `timeout` seconds."""
    done = threading.Semaphore(0)
    for barrier in barriers:
        barrier.add_done_callback(lambda _: done.release())
    deadline = time.monotonic() + timeout
    for _ in barriers:
        done.acquire(timeout=max(deadline - time.monotonic(), 0))


def _changed(old: Intent, new: Intent) -> list[str]:
    before, after = _by_name(old), _by_name(new)
    return [*(f"- {kind} {name}" for kind, name in before if (kind, name) not in after),
            *(f"{'~' if (kind, name) in before else '+'} {kind} {name}" for (kind, name), item in after.items()
              if before.get((kind, name)) != item)]


def _by_name(intent: Intent) -> dict[tuple[str, str], IntentObject]:
    return {(item.kind, item.metadata.name): item for item in intent.objects}


def _flows(old: Compiler, new: Compiler) -> dict[str, tuple[int, int]]:
    """Switch -> (rules that come, rules that go), where there are any."""
    before, after = old.rules(State()), new.rules(State())
    found = {}
    for switch, rules in after.items():
        if rules.steady is before[switch].steady:
            continue
        had, has = {f.cookie for f in before[switch].flows}, {f.cookie for f in rules.flows}
        if had != has:
            found[switch] = len(has - had), len(had - has)
    return found
