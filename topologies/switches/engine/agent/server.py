"""The agent's loop: one connection to the engine, one to the controller for each switch that has power.

A controller that goes is called again every second; the switches keep what they hold meanwhile.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from topologies.switches.engine.agent import changes
from topologies.switches.engine.agent.link import EngineLink
from topologies.switches.engine.agent.replies import Port
from topologies.switches.engine.agent.session import Session
from topologies.switches.engine.agent.switch import Switch

AGAIN = 1.0         # seconds between two attempts to reach the controller, and between looks at timeouts


class Agent:
    """Runs until it is stopped or the engine goes (RunError)."""

    def __init__(self, engine: Path, controller: Path, switches: dict[str, tuple[int, Sequence[Port]]]) -> None:
        self._engine = EngineLink(engine, self._event)
        self._controller = str(controller)
        self._switches = {name: Switch(name, dpid, ports, self._engine) for name, (dpid, ports) in switches.items()}
        self._sessions: dict[str, Session] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._engine.socket, selectors.EVENT_READ, self._engine)
        self._engine.ask("subscribe *", lambda answer: None)
        self._next = 0.0

    def run(self, go_on: Callable[[], bool] = lambda: True) -> None:
        while go_on():
            self._every_second()
            for key, events in self._selector.select(max(self._next - time.monotonic(), 0.0)):
                peer: EngineLink | Session = key.data
                if events & selectors.EVENT_READ:
                    peer.read()
                if events & selectors.EVENT_WRITE:
                    peer.write()
            self._settle()

    def _settle(self) -> None:
        """Write what can be written, watch what cannot, let go of what is closed."""
        for name, session in list(self._sessions.items()):
            if not session.closed and session.wants_to_write:
                session.write()
            if session.closed:
                del self._sessions[name]
        if self._engine.wants_to_write:
            self._engine.write()
        alive = {s.socket: s for s in self._sessions.values()}
        for key in list(self._selector.get_map().values()):
            peer: EngineLink | Session = key.data
            if peer is not self._engine and key.fileobj not in alive:
                self._selector.unregister(key.fileobj)
                continue
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.wants_to_write else 0)
            if key.events != wanted:
                self._selector.modify(key.fileobj, wanted, peer)

    def _every_second(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + AGAIN
        for name, switch in self._switches.items():
            if switch.powered and name not in self._sessions:
                self._connect(switch)
        for name, session in self._sessions.items():
            switch = self._switches[name]
            if switch.flows.timed:
                switch.rule_counts(partial(_expire, session, now))

    def _connect(self, switch: Switch) -> None:
        """Not yet, if nobody listens."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connected.setblocking(False)
        try:
            connected.connect(self._controller)
        except OSError:         # nobody there, or its queue of callers is full
            connected.close()
            return
        session = Session(switch, connected)
        self._sessions[switch.name] = session
        self._selector.register(connected, selectors.EVENT_READ, session)

    def _event(self, words: list[str]) -> None:
        """What the engine says unasked."""
        kind, name, *rest = words
        switch, session = self._switches[name], self._sessions.get(name)
        if kind == "port":
            number, state = int(rest[0]), rest[1] == "up"
            if number in switch.ports and switch.up[number] != state:
                switch.up[number] = state
                if session is not None:
                    session.port_changed(number)
        elif kind == "power" and rest[0] == "off":
            switch.lose_power()
            if session is not None:
                session.close()
        elif kind == "power":
            switch.powered, self._next = True, 0.0
        elif kind == "packet-in" and session is not None:
            port, reason, table, cookie, length = (int(word, 0) for word in rest[:5])
            session.packet_in(port, reason, table, cookie, length, bytes.fromhex(rest[5] if len(rest) > 5 else ""))


def _expire(session: Session, now: float, counts: dict[int, tuple[int, int]]) -> None:
    """Rules whose timeouts are over go, as the specification has it."""
    flows = session.switch.flows
    for number, rule in flows.timed.items():
        packets = counts.get(number, (0, 0))[0]
        if packets != rule.seen:
            rule.seen, rule.used = packets, now
    for rule, reason in list(flows.expired(now)):
        changes.remove(session, rule, reason)
