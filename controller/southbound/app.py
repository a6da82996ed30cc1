"""os-ken's events -> what has happened to a switch; changes and barriers -> os-ken's messages. It decides nothing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from os_ken.base.app_manager import OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls

from controller.change import Rollout
from controller.desired_state import DesiredState
from controller.southbound import openflow, processes
from controller.southbound.connection import (
    Datapath,
    Entry,
    FlowCounter,
    GroupCounters,
    Port,
    PortStatus,
    Received,
    Refusal,
    RemovedFlow,
    Request,
)
from controller.southbound.reconcile import Change, Installed
from controller.southbound.transaction_ids import TransactionIds
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory
from topologies.switches.managements import management_of

LOG = logging.getLogger("aifab.controller")
Handler = TypeVar("Handler", bound=Callable[..., None])
Msg_co = TypeVar("Msg_co", bound=Received, covariant=True)
REPLY_TIMEOUT = 10.0        # seconds for a switch to describe what it holds


class Event(Protocol, Generic[Msg_co]):
    """A message has come."""

    @property
    def msg(self) -> Msg_co: ...


class StateChange(Protocol):
    """A connection is up, or lost."""

    datapath: Datapath
    state: str


def on(*events: type, states: tuple[str, ...] = (MAIN_DISPATCHER,)) -> Callable[[Handler], Handler]:
    """os-ken's handler decorator, with types."""
    decorate: Callable[[Handler], Handler] = set_ev_cls(list(events), list(states))
    return decorate


def _report_error(done: Future[None]) -> None:
    """A worker's error that nobody expected must not vanish with its future."""
    if not done.cancelled() and (error := done.exception()) is not None:
        LOG.error("work on a switch failed", exc_info=error)


class FabricApp(OSKenApp):  # type: ignore[misc]
    """The southbound of one inventory's switches."""

    OFP_VERSIONS = (openflow.VERSION,)

    def __init__(self, inventory: Inventory, desired: DesiredState) -> None:
        super().__init__()
        self.inventory, self.desired, self.rollout = inventory, desired, Rollout(desired, self)
        self._management = management_of(inventory)
        self._by_dpid = {s.dpid: s.name for s in inventory.fabric.switches}
        self._datapaths: dict[str, Datapath] = {}       # changed under the desired state's lock, as its sessions are
        self._pids: dict[str, int] = {}
        self._transactions = TransactionIds()
        self._workers = ThreadPoolExecutor(8, thread_name_prefix="switch")
        for switch, process in inventory.switches.items():
            if self._management.is_switch(process.pid):
                self._follow_process(switch, process.pid)
            else:
                self._on_death(switch)

    # ---- events

    @on(ofp_event.EventOFPStateChange, states=(MAIN_DISPATCHER, DEAD_DISPATCHER))
    def on_state(self, event: StateChange) -> None:
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
            self._on_lost(switch)

    def _on_lost(self, switch: str) -> None:
        """A connection's end may be a switch's, whose process is that of others, too."""
        with self.desired.lock:
            self._disconnect(switch)
            if self._management.forwards(self.inventory.switches[switch]):
                self.desired.gone(switch)
            else:
                LOG.error("%s: it has no power; its links carry nothing until it has", switch)
                self.rollout.died(switch)

    def _disconnect(self, switch: str) -> None:
        datapath = self._datapaths.pop(switch, None)
        if datapath is not None:
            self._transactions.forget(datapath)

    def _follow_process(self, switch: str, pid: int) -> None:
        """From now on the switch is process `pid`; another one that it was may end."""
        if self._pids.get(switch) != pid:
            self._pids[switch] = pid
            processes.when_ended(pid, lambda: self._on_end(switch, pid))

    def _on_end(self, switch: str, pid: int) -> None:
        with self.desired.lock:
            if self._pids.get(switch) == pid:
                del self._pids[switch]
                self._on_death(switch)

    def _on_death(self, switch: str) -> None:
        LOG.error("%s: its process has ended; its links carry nothing until it is back", switch)
        with self.desired.lock:
            self._disconnect(switch)
            self.rollout.died(switch)

    def _on_connect(self, switch: str, datapath: Datapath) -> None:
        LOG.info("%s: connected", switch)
        with self.desired.lock:
            self._datapaths[switch] = datapath
            self.desired.connected(switch)
            self._follow_process(switch, processes.peer(datapath.socket))
        self._on_ports(switch, datapath.ports.values())
        self._work(self._bring_up, switch, datapath)

    @on(ofp_event.EventOFPPortStatus)
    def on_port(self, event: Event[PortStatus]) -> None:
        switch = self._by_dpid.get(event.msg.datapath.id)
        if switch is not None:
            self._on_ports(switch, [event.msg.desc])

    def _on_ports(self, switch: str, ports: Iterable[Port]) -> None:
        self.rollout.ports(switch, {p.port_no: openflow.is_up(p) for p in ports})

    @on(ofp_event.EventOFPFlowDescStatsReply, ofp_event.EventOFPGroupDescStatsReply,
        ofp_event.EventOFPGroupStatsReply, ofp_event.EventOFPBarrierReply)
    def on_reply(self, event: Event[Received]) -> None:
        self._transactions.receive(event.msg)

    @on(ofp_event.EventOFPFlowRemoved)
    def on_removed(self, event: Event[RemovedFlow]) -> None:
        last = openflow.removed_flow(event.msg)
        self.desired.removed(self._by_dpid[event.msg.datapath.id], last.cookie, last.packets, last.bytes)

    @on(ofp_event.EventOFPErrorMsg)
    def on_error(self, event: Event[Refusal]) -> None:
        switch = self._by_dpid.get(event.msg.datapath.id, "?")
        text = f"refused message {event.msg.xid:#x}: error type {event.msg.type}, code {event.msg.code}"
        LOG.error("%s: %s", switch, text)
        self.desired.failed(switch, text)

    # ---- a change's Southbound: both under the lock, for a connected switch

    def send(self, switch: str, changes: Iterable[Change]) -> None:
        datapath = self._datapaths[switch]
        for buffer in openflow.packed(datapath, openflow.messages(datapath, changes)):
            datapath.send(buffer)

    def barrier(self, switch: str, *, changed: bool) -> Future[None]:
        """Done, on a worker, when the switch has confirmed and its caches are empty; cancelled when it is lost."""
        done: Future[None] = Future()

        def replied(reply: Future[list[None]]) -> None:
            if reply.cancelled():
                done.cancel()
            else:
                self._work(self._confirm, switch, changed, done)

        self._ask(self._datapaths[switch], openflow.BARRIER).add_done_callback(replied)
        return done

    def _confirm(self, switch: str, changed: bool, done: Future[None]) -> None:
        try:
            if changed:
                self._management.flush_caches(self.inventory.switches[switch])
        except LabError as error:
            LOG.error("%s", error)      # it is dying; whoever sees that says so
            done.cancel()
        except BaseException:
            done.cancel()
            raise
        else:
            done.set_result(None)

    # ---- requests, and what is done on workers

    def _work(self, what: Callable[..., None], *arguments: object) -> None:
        self._workers.submit(what, *arguments).add_done_callback(_report_error)

    def _ask(self, datapath: Datapath, request: Request[Entry]) -> Future[list[Entry]]:
        with self.desired.lock:     # os-ken numbers messages without a lock of its own
            return self._transactions.ask(datapath, request)

    def _bring_up(self, switch: str, datapath: Datapath) -> None:
        """A connected switch: tunnel neighbours, what it holds, what it lacks. Runs on a worker."""
        try:
            self.renew_neighbours(switch)
            flows, groups = self._ask(datapath, openflow.FLOWS), self._ask(datapath, openflow.GROUPS)
            installed = Installed(Counter((f.table, f.priority, f.cookie) for f in flows.result(REPLY_TIMEOUT)),
                                  dict(groups.result(REPLY_TIMEOUT)))
            with self.desired.lock:
                if self._datapaths.get(switch) is datapath:
                    self.rollout.installed(switch, installed)
        except CancelledError:
            return      # it is gone already
        except (LabError, TimeoutError) as error:
            LOG.error("%s: %s", switch, error or "no answer about what it holds")
            datapath.close()    # it connects again, and gets another chance

    def renew_neighbours(self, switch: str) -> None:
        """Write a switch's tunnel neighbours again, before it forgets them. Raises LabError."""
        neighbours = self.desired.wanted[switch].neighbours
        if neighbours:
            self._management.set_neighbours(self.inventory.switches[switch], ((n.ip, n.mac) for n in neighbours))

    def renew_all_neighbours(self) -> None:
        for switch in tuple(self._datapaths):
            try:
                self.renew_neighbours(switch)
            except LabError as error:
                LOG.error("%s", error)

    # ---- for the API

    def read_counters(self) -> dict[str, tuple[list[FlowCounter], list[GroupCounters]]]:
        """Flow and group counters of every connected switch. Raises LabError, TimeoutError."""
        asked = {s: self._workers.submit(self._read_switch, s, d) for s, d in tuple(self._datapaths.items())}
        return {switch: future.result(REPLY_TIMEOUT) for switch, future in asked.items()}

    def _read_switch(self, switch: str, datapath: Datapath) -> tuple[list[FlowCounter], list[GroupCounters]]:
        self._management.settle_counters(self.inventory.switches[switch])
        flows, groups = self._ask(datapath, openflow.FLOWS), self._ask(datapath, openflow.GROUP_COUNTERS)
        return flows.result(REPLY_TIMEOUT), groups.result(REPLY_TIMEOUT)
