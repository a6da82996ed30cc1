"""os-ken's BGPSpeaker for its sessions and its codec, without its tables.

Its tables, and the queues between them, are made for threads that do not interrupt each other. With native threads
routes are lost there in bursts, without an error (docs/decisions/016-bgp-in-a-process-of-its-own.md). So what this
speaker announces and what it has learned is kept here, and given to each session and taken from it directly:

    announce() ──> queue of each session ──> peer        peer ──> session ──> learned
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

os.environ["OSKEN_HUB_TYPE"] = "native"     # read when os_ken.lib.hub is first imported

from os_ken.lib import hub
from os_ken.services.protocols.bgp.base import Sink
from os_ken.services.protocols.bgp.bgpspeaker import BGPSpeaker
from os_ken.services.protocols.bgp.core_manager import CORE_MANAGER
from os_ken.services.protocols.bgp.core_managers.peer_manager import PeerManager
from os_ken.services.protocols.bgp.core_managers.table_manager import TableCoreManager
from os_ken.services.protocols.bgp.info_base.base import Path
from os_ken.services.protocols.bgp.model import OutgoingRoute
from os_ken.services.protocols.bgp.peer import Peer
from os_ken.services.protocols.bgp.utils import thrding

from controller.bgp import bgp_codec
from controller.bgp.bgp_lines import Key, key
from controller.evpn.evpn import Route

LOST_WAKE_UP = 0.1      # seconds after which a sleeping session looks for itself whether there is anything to send
Heard = Callable[[str, Route, bool], None]      # peer, route, whether it is gone
Changed = Callable[[str, bool], None]           # peer, whether its session is up


class _Queue:
    """In place of a linked list that two threads break."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()

    def append(self, item: Any) -> None:
        self._items.append(item)

    def prepend(self, item: Any) -> None:
        self._items.appendleft(item)

    def pop_first(self) -> Any:
        try:
            return self._items.popleft()
        except IndexError:
            return None


class _Event(threading.Event):
    """In place of an event that can miss its wake-up: whoever waits looks again after a moment, in a loop."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(LOST_WAKE_UP if timeout is None else timeout)


class Sessions:
    """The speaker. One in a process, as os-ken has it."""

    def __init__(self, asn: int, router_id: str, heard: Heard, changed: Changed) -> None:
        self._lock = threading.Lock()
        self._announced: dict[Key, Route] = {}
        self._heard, self._changed = heard, changed
        self._repair()
        self._speaker = BGPSpeaker(asn, router_id, bgp_server_hosts=["0.0.0.0"],    # noqa: S104 - of its namespace
                                   adj_rib_in_change_handler=self._on_route,
                                   peer_up_handler=None, peer_down_handler=None)
        bus = CORE_MANAGER.get_core_service()._signal_bus
        for signal, up in ((bus.BGP_ADJ_UP, True), (bus.BGP_ADJ_DOWN, False)):
            bus.register_listener(signal, lambda _, info, up=up: changed(info["peer"].ip_address, up))

    def _repair(self) -> None:
        start = hub.HubThread.__init__

        def daemon(thread: Any, *args: Any, **kwargs: Any) -> None:
            start(thread, *args, **kwargs)
            thread.daemon = True

        hub.HubThread.__init__ = daemon
        bgp_codec.read_any_segment()
        thrding.ThreadingIOFactory.create_custom_event = staticmethod(_Event)
        Sink.OutgoingMsgList = _Queue
        TableCoreManager.learn_path = lambda _manager, _path: None
        TableCoreManager.remember_sent_route = lambda _manager, _sent: None
        Peer.comm_all_best_paths = lambda peer, _tables: self._tell_all(peer)               # a session is up
        PeerManager.resend_sent = lambda _manager, _family, peer: self._tell_all(peer)      # a peer asks for a refresh

    def add(self, ip: str, asn: int) -> None:
        """Speak with a peer from now on; it may be there later."""
        self._speaker.neighbor_add(ip, asn, enable_ipv4=False, enable_evpn=True)

    def announce(self, routes: Iterable[Route]) -> None:
        """Make these all that is announced: what is new or different is sent, what is missing is withdrawn."""
        with self._lock:
            before, self._announced = self._announced, {key(r): r for r in routes}
            paths = [*(bgp_codec.path(r, withdraw=True) for k, r in before.items() if k not in self._announced),
                     *(bgp_codec.path(r) for k, r in self._announced.items() if before.get(k) != r)]
            for peer in CORE_MANAGER.get_core_service().peer_manager.iterpeers:
                if peer.in_established():
                    _tell(peer, paths)

    def _tell_all(self, peer: Any) -> None:
        with self._lock:
            _tell(peer, [bgp_codec.path(route) for route in self._announced.values()])

    def _on_route(self, event: Any, peer: str, _asn: int) -> None:
        route = bgp_codec.route(event.path)
        if route is not None:
            self._heard(peer, route, event.path.is_withdraw)


def _tell(peer: Any, paths: Iterable[Path]) -> None:
    for path in paths:
        peer.enque_outgoing_msg(OutgoingRoute(path))
