"""The way of a change, from what is asked to what every switch forwards by. No os-ken, no HTTP.

    IntentTransactions   1. check      it can be, and nobody has changed the intent since
                         2. compile    the whole rule set of the new tenancy
                         3. plan       what comes and what goes, and the stages on the way (controller/stages.py)
                         4. persist    before the first rule is sent: a controller started again wants the same
    Rollout              5. send       a stage's changes, phase by phase over all switches
                         6. confirm    every switch's barrier; then the next stage, and in the end it is settled

Routes that BGP peers announce enter at 2, rates of links at 4, what switches report of their ports at 5. Whatever
is sent makes before it breaks, on each switch and over all of them (controller/southbound/reconcile.py).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from controller.desired_state import DesiredState
from controller.evpn.bgp_import import Learned, importable
from controller.evpn.evpn import Route
from controller.intent.intent import Intent, IntentObject
from controller.intent.intent_checks import intent_problems
from controller.intent.vpc import allocate, macs_of, resolve
from controller.persisted_intent import PersistedIntent
from controller.rules.compile import Compiler
from controller.rules.rules import changed
from controller.rules.state import State
from controller.southbound.reconcile import Change, Changes, Installed, by_phase
from controller.stages import RuleSource, stages
from topologies.model.document import Problem, nearest
from topologies.model.fabric import Fabric

LOG = logging.getLogger("aifab.controller")
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


@dataclass(frozen=True)
class Plan:
    """What a new intent would change.

    objects: '+ VPC a', '- VPCAttachment x', '~ VPCPeering y'; flows: switch -> (rules that come, rules that go).
    """

    persisted: PersistedIntent
    compiler: Compiler
    objects: tuple[str, ...]
    flows: dict[str, tuple[int, int]]


class IntentTransactions:
    """The one way in for intent, learned routes and rates. One change at a time."""

    def __init__(self, rollout: Rollout, path: Path,
                 announce: Callable[[Iterable[Route]], None] = lambda _: None) -> None:
        self._rollout, self._desired, self._path, self._announce = rollout, rollout.desired, path, announce
        self._changing = threading.Lock()
        announce(self._desired.compiler.originated)

    def apply(self, intent: Intent, version: int | None = None) -> tuple[Plan, float]:
        """Install an intent; the plan, and the seconds until all switches held it. Raises IntentViolation or Conflict.

        version: apply only if this is still the version that counts.
        """
        with self._changing:
            if version is not None and version != self._desired.persisted.version:
                raise Conflict(self._desired.persisted.version)
            started = time.monotonic()
            plan = self.plan(intent)                                # 1 to 3
            if plan.persisted is not self._desired.persisted:
                plan.persisted.write(self._path)                    # 4
                self._install(plan.persisted, plan.compiler)        # 5 and 6
            return plan, time.monotonic() - started

    def plan(self, intent: Intent) -> Plan:
        """What apply() would change. Raises IntentViolation."""
        desired = self._desired
        _check(intent_problems(intent, desired.fabric))
        if intent == desired.persisted.intent:
            return Plan(desired.persisted, desired.compiler, (), {})
        persisted = _next_version(desired.persisted, intent, desired.fabric)
        compiler = _compiled(persisted, desired)
        return Plan(persisted, compiler, tuple(_objects(desired.persisted.intent, intent)),
                    _flows(desired.compiler, compiler))

    def learn(self, learned: tuple[Learned, ...]) -> None:
        """From now on these are the routes that BGP peers have announced: install what follows from them.

        Nothing is compiled while VRFs would import what they import anyway.
        """
        with self._changing:
            desired, compiler = self._desired, self._desired.compiler
            desired.learned = learned
            imported = importable(desired.fabric, compiler.tenancy, learned)
            if imported != compiler.imported or not desired.is_settled:
                self._install(desired.persisted, Compiler(desired.fabric, compiler.tenancy, previous=compiler,
                                                          imported=imported))

    def set_rates(self, rates: Mapping[str, float]) -> float:
        """From now on these links have another rate than the fabric's: link -> bit/s. Seconds until all switches
        held what follows from it. A controller that is started again in their place knows them. Raises
        IntentViolation."""
        _check(list(_rate_problems(rates, self._desired.fabric)))
        with self._changing:
            started = time.monotonic()
            persisted = self._desired.persisted.model_copy(update={"rates": dict(rates)})
            persisted.write(self._path)
            self._rollout.deploy(self._desired.set_rates(persisted))
            return time.monotonic() - started

    def _install(self, persisted: PersistedIntent, compiler: Compiler) -> None:
        """In stages, each on all switches before the next; then it is announced."""
        for stage in stages(self._desired.compiler, compiler):
            self._rollout.deploy(stage)
        self._desired.settle(persisted, compiler)
        self._announce(compiler.originated)


# ---- 1. check

def _check(problems: list[Problem]) -> None:
    if problems:
        raise IntentViolation(problems)


def _rate_problems(rates: Mapping[str, float], fabric: Fabric) -> Iterator[Problem]:
    known = fabric.links_by_name
    yield from (Problem(("rates", name), "the name of a link", name, nearest(name, list(known)))
                for name in rates if name not in known)
    yield from (Problem(("rates", name), "bit/s over 0", f"{rate:g}") for name, rate in rates.items()
                if not 0 < rate < math.inf)


# ---- 2. compile

def _next_version(old: PersistedIntent, intent: Intent, fabric: Fabric) -> PersistedIntent:
    """With the numbers and addresses that it gives out; those given out before stay."""
    allocation = allocate(intent, old.allocation, macs=macs_of(fabric))
    return old.model_copy(update={"version": old.version + 1, "intent": intent, "allocation": allocation})


def _compiled(persisted: PersistedIntent, desired: DesiredState) -> Compiler:
    tenancy = resolve(persisted.intent, desired.fabric, persisted.allocation)
    return Compiler(desired.fabric, tenancy, previous=desired.compiler,
                    imported=importable(desired.fabric, tenancy, desired.learned))


# ---- 3. plan

def _objects(old: Intent, new: Intent) -> list[str]:
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
        gone, come = changed(before[switch].parts, rules.parts)
        if gone or come:
            found[switch] = len(come), len(gone)
    return found


class Southbound(Protocol):
    """Whoever speaks with the switches. Both are called under the lock of the desired state, for connected ones."""

    def send(self, switch: str, changes: Iterable[Change]) -> None:
        """In this order, behind all that was sent before."""

    def barrier(self, switch: str, *, changed: bool) -> Future[None]:
        """Done when the switch forwards by all that it was sent; cancelled when it is lost before.

        changed: it was sent anything since its last barrier.
        """


class Rollout:
    """Brings switches to what is wanted, after a stage of a change as after a report of a switch."""

    def __init__(self, desired: DesiredState, southbound: Southbound) -> None:
        self.desired, self._southbound = desired, southbound

    def deploy(self, source: RuleSource) -> None:
        """From now on `source` says what is wanted. Returns when every switch that gets something by it has it or is
        lost, after CONFIRM seconds at the latest."""
        with self.desired.lock:
            confirmations = self._send(self.desired.replace(source))
        _wait(confirmations, CONFIRM)

    # ---- what switches report

    def ports(self, switch: str, up: Mapping[int, bool]) -> None:
        """Whether ports of a switch can carry packets. What follows is sent before anything else is decided."""
        with self.desired.lock:
            self._follow(self.desired.ports(switch, up))

    def died(self, switch: str) -> None:
        """Its process has ended: its links carry nothing."""
        with self.desired.lock:
            self._follow(self.desired.died(switch))

    def installed(self, switch: str, installed: Installed) -> None:
        """What a switch holds, as read from it after it has connected."""
        with self.desired.lock:
            changes = self.desired.installed(switch, installed)
            self._southbound.send(switch, changes)
            self._confirmation(switch, changed=bool(changes))

    def _follow(self, changes: Changes) -> None:
        """Send what a new state of the links asks for. Under the lock."""
        self._send(changes)
        if changes:
            LOG.info("down: %s", ", ".join(sorted(self.desired.state.down)) or "no link")

    # ---- 5. send

    def _send(self, changes: Changes) -> list[Future[None]]:
        """With a barrier behind for each switch; when they are confirmed. Under the lock."""
        for switch, due in by_phase(changes):
            self._southbound.send(switch, due)
        return [self._confirmation(switch, changed=True) for switch in changes]

    # ---- 6. confirm

    def _confirmation(self, switch: str, *, changed: bool) -> Future[None]:
        """Done when the switch has confirmed all that it was sent and what had to follow is sent, or when it is lost.
        Under the lock."""
        session = self.desired.sessions[switch]
        batch = session.sent
        done: Future[None] = Future()   # of its own: callbacks of the barrier's run after others see it done

        def confirm(barrier: Future[None]) -> None:
            try:
                if not barrier.cancelled():
                    with self.desired.lock:
                        if self.desired.sessions.get(switch) is session:    # else it has connected again since
                            self._follow(self.desired.confirm(switch, batch))
            finally:
                done.set_result(None)

        self._southbound.barrier(switch, changed=changed).add_done_callback(confirm)
        return done


def _wait(confirmations: list[Future[None]], timeout: float) -> None:
    """Until all are done, at most `timeout` seconds."""
    done = threading.Semaphore(0)
    for confirmation in confirmations:
        confirmation.add_done_callback(lambda _: done.release())
    deadline = time.monotonic() + timeout
    for _ in confirmations:
        done.acquire(timeout=max(deadline - time.monotonic(), 0))
