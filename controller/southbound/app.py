"""os-ken's events -> Control's decisions -> messages. Handlers say what happened and send what is due."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from os_ken.base.app_manager import OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls

from controller.control import Control
from controller.southbound import openflow, processes
from controller.southbound.exchange import Exchange
from controller.southbound.openflow import FlowCounter
from controller.southbound.reconcile import Change, Installed, by_phase
from controller.stages import RuleSource
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory
from topologies.switches.managements import management_of

LOG = logging.getLogger("aifab.controller")
Handler = TypeVar("Handler", bound=Callable[..., None])
REPLY_TIMEOUT = 10.0        # seconds for a switch to describe what it holds


def on(*events: Any, states: tuple[str, ...] = (MAIN_DISPATCHER,)) -> Callable[[Handler], Handler]:
    """os-ken's handler decorator, with types."""
    decorate: Callable[[Handler], Handler] = set_ev_cls(list(events), list(states))
    return decorate


def _tell(done: Future[None]) -> None:
    """A worker's error that nobody expected must not vanish with its future."""
    if not done.cancelled() and (error := done.exception()) is not None:
        LOG.error("bringing up a switch failed", exc_info=error)


class FabricApp(OSKenApp):  # type: ignore[misc]
    """Keeps the switches of one inventory at what its Control wants."""

    OFP_VERSIONS = (openflow.VERSION,)

    def __init__(self, inventory: Inventory, control: Control) -> None:
        super().__init__()
        self.inventory, self.control = inventory, control
        self._management = management_of(inventory)
        self._by_dpid = {s.dpid: s.name for s in inventory.fabric.switches}
        self._datapaths: dict[str, Any] = {}
        self._pids: dict[str, int] = {}
        self._exchange = Exchange()
        self._workers = ThreadPoolExecutor(8, thread_name_prefix="switch")
        for switch, process in inventory.switches.items():
            if self._management.is_switch(process.pid):
                self._follow_process(switch, process.pid)
            else:
                self._on_death(switch)

    # ---- events

    @on(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: Any) -> None:
        datapath = event.datapath
        switch = self._by_dpid.get(datapath.id)
        if switch is None:
            if event.state == MAIN_DISPATCHER:
                LOG.error("a switch with datapath id %#x is none of this lab's", datapath.id)
                datapath.close()
        elif event.state == MAIN_DISPATCHER:
            self._on_connect(switch, datapath)
        elif self._datapaths.get(switch) is datapath:     # else it has connected again already
            LOG.warning("%s: connection lost", switch)
            with self.control.lock:
                self._disconnect(switch)
                self.control.gone(switch)

    def _disconnect(self, switch: str) -> None:
        datapath = self._datapaths.pop(switch, None)
        if datapath is not None:
            self._exchange.forget(datapath)

    def _follow_process(self, switch: str, pid: int) -> None:
        """From now on the switch is process `pid`; another one that it was may end."""
        if self._pids.get(switch) != pid:
            self._pids[switch] = pid
            processes.when_ended(pid, lambda: self._on_end(switch, pid))

    def _on_end(self, switch: str, pid: int) -> None:
        with self.control.lock:
            if self._pids.get(switch) == pid:
                del self._pids[switch]
                self._on_death(switch)

    def _on_death(self, switch: str) -> None:
        LOG.error("%s: its process has ended; its links carry nothing until it is back", switch)
        with self.control.lock:
            self._disconnect(switch)
            self._apply(self.control.died(switch))

    def _on_connect(self, switch: str, datapath: Any) -> None:
        LOG.info("%s: connected", switch)
        with self.control.lock:
            self._datapaths[switch] = datapath
            self.control.connected(switch)
            self._follow_process(switch, processes.peer(datapath.socket))
        self._report(switch, datapath.ports.values())
        self._workers.submit(self._bring_up, switch, datapath).add_done_callback(_tell)

    @on(ofp_event.EventOFPPortStatus)
    def on_port(self, event: Any) -> None:
        switch = self._by_dpid.get(event.msg.datapath.id)
        if switch is not None:
            self._report(switch, [event.msg.desc])

    @on(ofp_event.EventOFPFlowDescStatsReply, ofp_event.EventOFPGroupDescStatsReply,
        ofp_event.EventOFPGroupStatsReply, ofp_event.EventOFPBarrierReply)
    def on_reply(self, event: Any) -> None:
        self._exchange.receive(event.msg)

    @on(ofp_event.EventOFPFlowRemoved)
    def on_removed(self, event: Any) -> None:
        last = openflow.removed_flow(event.msg)
        self.control.removed(self._by_dpid[event.msg.datapath.id], last.cookie, last.packets, last.bytes)

    @on(ofp_event.EventOFPErrorMsg)
    def on_error(self, event: Any) -> None:
        switch = self._by_dpid.get(event.msg.datapath.id, "?")
        text = f"refused message {event.msg.xid:#x}: error type {event.msg.type}, code {event.msg.code}"
        LOG.error("%s: %s", switch, text)
        self.control.failed(switch, text)

    # ---- what is due

    def _report(self, switch: str, ports: Iterable[Any]) -> None:
        """Ports -> link state -> changes on every switch that they touch, sent before anything else is decided."""
        with self.control.lock:
            self._apply(self.control.ports(switch, {p.port_no: openflow.is_up(p) for p in ports}))

    def _apply(self, changes: Mapping[str, tuple[Change, ...]]) -> None:
        """Send what a new state of the links asks for, with a barrier behind. Under the lock."""
        self._send_all(changes)
        if changes:
            LOG.info("down: %s", ", ".join(sorted(self.control.state.down)) or "no link")

    def _send_all(self, changes: Mapping[str, tuple[Change, ...]]) -> list[Future[None]]:
        """Send, phase by phase, with a barrier behind for each switch. Under the lock."""
        for target, due in by_phase(changes):
            self._send(target, due)
        return [self._confirm(switch, changed=True) for switch in changes]

    def _bring_up(self, switch: str, datapath: Any) -> None:
        """A connected switch: tunnel neighbours, what it holds, what it lacks. Runs on a worker."""
        try:
            self.renew_neighbours(switch)
            flows = self._ask(datapath, openflow.flows_request)
            groups = self._ask(datapath, openflow.groups_request)
            installed = Installed(Counter((f.table, f.priority, f.cookie) for f in flows.result(REPLY_TIMEOUT)),
                                  dict(groups.result(REPLY_TIMEOUT)))
            with self.control.lock:
                if self._datapaths.get(switch) is datapath:
                    changes = self.control.installed(switch, installed)
                    self._send(switch, changes)
                    self._confirm(switch, changed=bool(changes))
        except CancelledError:
            return      # it is gone already
        except (LabError, TimeoutError) as error:
            LOG.error("%s: %s", switch, error or "no answer about what it holds")
            datapath.close()    # it connects again, and gets another chance

    def _send(self, switch: str, changes: Iterable[Change]) -> None:
        datapath = self._datapaths[switch]      # there as long as its session is: both go under the lock
        for buffer in openflow.packed(datapath, openflow.messages(datapath, changes)):
            datapath.send(buffer)

    def _confirm(self, switch: str, *, changed: bool) -> Future[None]:
        """A barrier behind a batch of changes, and what has to follow it; done when the switch forwards by them."""
        datapath, batch = self._datapaths[switch], self.control.sessions[switch].sent
        done: Future[None] = Future()

        def confirm() -> None:
            try:
                if changed:
                    self._management.flush_caches(self.inventory.switches[switch])
                with self.control.lock:
                    if self._datapaths.get(switch) is datapath:
                        self._apply(self.control.confirm(switch, batch))
            except LabError as error:
                LOG.error("%s", error)      # it is dying; whoever sees that says so
            finally:
                done.set_result(None)

        def replied(reply: Future[list[Any]]) -> None:
            if reply.cancelled():
                done.cancel()
            else:
                self._workers.submit(confirm).add_done_callback(_tell)

        self._ask(datapath, openflow.barrier).add_done_callback(replied)
        return done

    def _ask(self, datapath: Any, request: Callable[[Any], Any]) -> Future[list[Any]]:
        with self.control.lock:     # os-ken numbers messages without a lock of its own
            return self._exchange.ask(datapath, request(datapath))

    # ---- for the API

    def follow(self, source: RuleSource) -> list[Future[None]]:
        """From now on `source` says what is wanted; for each switch that gets something by it, when it has it."""
        with self.control.lock:
            return self._send_all(self.control.move(source))

    def renew_neighbours(self, switch: str) -> None:
        """Write a switch's tunnel neighbours again, before it forgets them. Raises LabError."""
        neighbours = self.control.wanted[switch].neighbours
        if neighbours:
            self._management.set_neighbours(self.inventory.switches[switch], ((n.ip, n.mac) for n in neighbours))

    def renew_all_neighbours(self) -> None:
        for switch in tuple(self._datapaths):
            try:
                self.renew_neighbours(switch)
            except LabError as error:
                LOG.error("%s", error)

    def read_counters(self) -> dict[str, tuple[list[FlowCounter], list[Any]]]:
        """Flow and group counters of every connected switch. Raises LabError, TimeoutError."""
        asked = {s: self._workers.submit(self._read_switch, s, d) for s, d in tuple(self._datapaths.items())}
        return {switch: future.result(REPLY_TIMEOUT) for switch, future in asked.items()}

    def _read_switch(self, switch: str, datapath: Any) -> tuple[list[FlowCounter], list[Any]]:
        self._management.settle_counters(self.inventory.switches[switch])
        flows = self._ask(datapath, openflow.flows_request)
        groups = self._ask(datapath, openflow.group_counters_request)
        return flows.result(REPLY_TIMEOUT), groups.result(REPLY_TIMEOUT)
