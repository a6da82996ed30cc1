"""What the controller wants, what each switch holds, and whether the two agree. No os-ken, no sockets.

    ports, replies ──> DesiredState ──> changes to send        (all calls under `lock`: controller/change.py sends
                             └────────> health, names, drops    before anybody else decides)
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.evpn.bgp_import import Learned
from controller.intent.vpc import resolve
from controller.persisted_intent import PersistedIntent
from controller.rules.compile import Compiler
from controller.rules.rules import RuleSet, SwitchRules, apart
from controller.rules.state import LinkState, State
from controller.southbound.reconcile import (
    AddFlow,
    Change,
    Changes,
    DeleteFlows,
    Installed,
    difference,
    reconcile,
)
from controller.stages import RuleSource
from topologies.model.fabric import Fabric

FOREIGN = "foreign"     # the name of counters of rules that are none of ours


@dataclass
class Session:
    """One switch's connection. `held` is what it has been sent; None until its rules have been read."""

    held: SwitchRules | None = None
    sent: int = 0           # number of the last batch of changes
    confirmed: int = 0      # number of the last batch that a barrier has confirmed
    flow_mods: int = 0      # messages since it connected
    group_mods: int = 0
    errors: list[str] = field(default_factory=list)


class DesiredState:
    """The rules that a fabric's switches shall hold, and how far each of them is."""

    def __init__(self, fabric: Fabric, persisted: PersistedIntent = PersistedIntent()) -> None:     # noqa: B008 - frozen
        self.lock = threading.RLock()
        self.fabric = fabric
        self.persisted = persisted
        self.learned: tuple[Learned, ...] = ()      # what BGP peers have announced
        self.compiler = Compiler(fabric, resolve(persisted.intent, fabric, persisted.allocation))
        self._links = LinkState(fabric)
        self._links.set_rates(persisted.rates)
        self._source: RuleSource = self.compiler    # another one while the tenancy changes
        self.wanted: RuleSet = self._source.rules(self._links.state)
        self.sessions: dict[str, Session] = {}
        self.generation = 1
        self.changed = time.time()
        # names by cookie, kept for good: a rule's last counters come after the rule is gone
        self._names = {f.cookie: f.name for rules in self.wanted.values() for f in rules.flows}
        self._retired: dict[str, Counter[tuple[str, str]]] = {s.name: Counter() for s in fabric.switches}

    @property
    def state(self) -> State:
        return self._links.state

    def name(self, cookie: int) -> str:
        return self._names.get(cookie, FOREIGN)

    def connected(self, switch: str) -> None:
        """A switch is there; what it holds is not known yet."""
        with self.lock:
            self.sessions[switch] = Session()

    def gone(self, switch: str) -> None:
        """Its connection is lost. It forwards on by the rules it has, and its links may well be up."""
        with self.lock:
            self.sessions.pop(switch, None)

    def died(self, switch: str) -> Changes:
        """Its process has ended, and its connection with it: its links carry nothing. Changes as from ports()."""
        with self.lock:
            self.gone(switch)
            return self._recompile() if self._links.died(switch) else {}

    def ports(self, switch: str, up: Mapping[int, bool]) -> Changes:
        """Port reports of a switch -> changes to send now, by switch."""
        with self.lock:
            return self._recompile() if self._links.report(switch, up) else {}

    def replace(self, source: RuleSource) -> Changes:
        """From now on somebody else says what is wanted. Changes as from ports()."""
        with self.lock:
            self._source, before = source, self.wanted
            changes = self._recompile()
            self._names.update((f.cookie, f.name) for switch, rules in self.wanted.items()
                               for f in apart(rules.parts, before[switch].parts))
            return changes

    def set_rates(self, persisted: PersistedIntent) -> RuleSource:
        """From now on links have these rates. What says what is wanted then; replace() by it brings the switches
        there."""
        with self.lock:
            self.persisted = persisted
            self._links.set_rates(persisted.rates)
            return self._source

    @property
    def is_settled(self) -> bool:
        """Whether no change of tenancy is under way, nor one has stopped half way."""
        return self._source is self.compiler

    def settle(self, persisted: PersistedIntent, compiler: Compiler) -> None:
        """A change of tenancy has come to its end."""
        with self.lock:
            self.persisted, self.compiler = persisted, compiler

    def _recompile(self) -> Changes:
        """Compile for the links' new state."""
        self.wanted = self._source.rules(self._links.state)
        self.generation += 1
        self.changed = time.time()
        self._names.update((f.cookie, f.name) for rules in self.wanted.values() for f in rules.passing)
        changes = {s: self._behind(s, session) for s, session in self.sessions.items()}
        return {s: changes[s] for s in self.wanted if changes.get(s)}

    def _behind(self, switch: str, session: Session) -> tuple[Change, ...]:
        if session.held is None:
            return ()       # being read; installed() will compare with what is wanted by then
        changes = difference(session.held, self.wanted[switch])
        self._note(session, switch, changes)
        return changes

    def installed(self, switch: str, installed: Installed) -> tuple[Change, ...]:
        """What was read from a switch -> changes that make it right."""
        with self.lock:
            changes = reconcile(self.wanted[switch], installed)
            self._note(self.sessions[switch], switch, changes)
            return changes

    def _note(self, session: Session, switch: str, changes: tuple[Change, ...]) -> None:
        session.held = self.wanted[switch]
        flows = sum(isinstance(c, AddFlow | DeleteFlows) for c in changes)
        session.flow_mods += flows
        session.group_mods += len(changes) - flows
        session.sent += 1 if changes else 0

    def confirm(self, switch: str, batch: int) -> Changes:
        """A barrier after batch number `batch` has come back. Changes as from ports().

        A switch that was dead gets its links back here and not when it connects: it has to hold its
        rules before anybody sends it a packet.
        """
        with self.lock:
            session = self.sessions.get(switch)
            if session is None:
                return {}
            session.confirmed = max(session.confirmed, batch)
            holds_all = session.held is not None and session.confirmed == session.sent
            return self._recompile() if holds_all and self._links.revived(switch) else {}

    def failed(self, switch: str, error: str) -> None:
        """The switch has refused something: it does not hold what is wanted until it connects again."""
        with self.lock:
            if switch in self.sessions:
                self.sessions[switch].errors.append(error)

    def removed(self, switch: str, cookie: int, packets: int, octets: int) -> None:
        """The last counters of a drop rule that went."""
        with self.lock:
            name = self.name(cookie)
            self._retired[switch].update({(name, "packets"): packets, (name, "bytes"): octets})

    def retired(self, switch: str) -> dict[str, dict[str, int]]:
        """Counters of drop rules that are no more: name -> packets, bytes."""
        with self.lock:
            counters = self._retired[switch]
            return {name: {"packets": counters[name, "packets"], "bytes": counters[name, "bytes"]}
                    for name, _ in counters}

    def converged(self) -> bool:
        """Every switch that is not dead is there, and holds exactly what is wanted."""
        with self.lock:
            living = [switch for switch in self.wanted if switch in self.sessions or switch not in self._links.dead]
            return bool(self.sessions) and all(s in self.sessions and self._settled(s) for s in living)

    def _settled(self, switch: str) -> bool:
        session = self.sessions[switch]
        return (session.held is self.wanted[switch] and session.confirmed == session.sent
                and not session.errors)

    def unsettled(self) -> list[str]:
        """Connected switches that do not hold exactly what is wanted yet."""
        with self.lock:
            return [switch for switch in self.sessions if not self._settled(switch)]

    def health(self) -> dict[str, object]:
        """See api.py."""
        with self.lock:
            switches = {name: self._session(name) for name in self.wanted}
            return {"expected": len(self.wanted), "connected": len(self.sessions), "converged": self.converged(),
                    "generation": self.generation, "changed": self.changed, "down": sorted(self.state.down),
                    "rates": dict(sorted(self.state.rates)),
                    "dead": sorted(self._links.dead),
                    "switches": switches}

    def _session(self, switch: str) -> dict[str, object]:
        session = self.sessions.get(switch)
        if session is None:
            return {"connected": False, "settled": False}
        return {"connected": True, "settled": self._settled(switch), "flow_mods": session.flow_mods,
                "group_mods": session.group_mods, "errors": session.errors}
