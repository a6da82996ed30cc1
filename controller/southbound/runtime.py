"""os-ken, started by hand: since 4.0 it has no manager program any more.

Two repairs for its native threads: they must not keep the process alive, and a lost connection must
be noticed (os-ken 4.2 leaves the datapath in its last state and its sending thread waiting for ever).
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterable
from typing import Any

os.environ["OSKEN_HUB_TYPE"] = "native"     # read when os_ken.lib.hub is first imported

import os_ken.base.app_manager  # isort: skip
from os_ken import cfg
from os_ken.base.app_manager import OSKenApp
from os_ken.controller import controller as os_ken_controller
from os_ken.controller import ofp_event, ofp_handler
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib import hub

from controller.desired_state import DesiredState
from controller.southbound.app import FabricApp
from controller.southbound.openflow import read_replies_here
from topologies.model.inventory import Inventory


class _UnixStream(socket.socket):
    """A unix stream that forgives the TCP options that os-ken sets."""

    def setsockopt(self, level: int, *args: Any) -> None:
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, *args)


def _repair_threads() -> None:
    """Daemon threads; and a lost connection ends its sending thread and is reported as dead."""
    start = hub.HubThread.__init__
    receive = os_ken_controller.Datapath._recv_loop

    def daemon(thread: Any, *args: Any, **kwargs: Any) -> None:
        start(thread, *args, **kwargs)
        thread.daemon = True

    def receive_to_the_end(datapath: Any) -> None:
        try:
            receive(datapath)
        finally:
            datapath.set_state(DEAD_DISPATCHER)
            datapath.send(b"", close_socket=True)

    hub.HubThread.__init__ = daemon
    os_ken_controller.Datapath._recv_loop = receive_to_the_end


class _Handler(ofp_handler.OFPHandler):  # type: ignore[misc]
    """os-ken's handshake, listening on a unix socket only."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__()
        self._listener = listener

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            stream = _UnixStream(fileno=connection.detach())
            hub.spawn(os_ken_controller.datapath_connection_factory, stream, "unix")

    def start(self) -> Any:
        super(ofp_handler.OFPHandler, self).start()     # not OFPHandler's own: it would listen on TCP
        return hub.spawn(self._accept)


def _manager() -> Any:
    """os-ken's keeper of applications, ready for the first one."""
    warnings.filterwarnings("ignore", message="Datapath#ports is kept for compatibility")   # we read it once
    _repair_threads()
    cfg.CONF(args=[], project="os_ken", version="aifab", default_config_files=[], default_config_dirs=[])
    return os_ken.base.app_manager.AppManager.get_instance()


class _Connected(OSKenApp):  # type: ignore[misc]
    """Says once that all of some switches are connected."""

    def __init__(self, expected: frozenset[int], tell: Callable[[], object]) -> None:
        super().__init__()
        self._missing, self._tell = set(expected), tell

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER])  # type: ignore[untyped-decorator]
    def connected(self, event: Any) -> None:
        known = event.datapath.id in self._missing
        self._missing.discard(event.datapath.id)
        if known and not self._missing:
            self._tell()


def start_applications(applications: Iterable[type[OSKenApp]], switches: socket.socket, expected: frozenset[int],
                       tell: Callable[[], object]) -> None:
    """Run others' applications on the switches that connect to the listening socket, in daemon threads.

    expected: datapath ids; tell is called once when all of them are connected.
    """
    manager = _manager()
    started = [manager.instantiate(application) for application in applications]
    started += [manager.instantiate(_Connected, expected, tell), manager.instantiate(_Handler, switches)]
    for each in started:
        each.start()


def start(inventory: Inventory, desired: DesiredState, switches: socket.socket) -> FabricApp:
    """Take the switches that connect to the listening socket and keep them right, in daemon threads."""
    read_replies_here()
    manager = _manager()
    app: FabricApp = manager.instantiate(FabricApp, inventory, desired)
    handler = manager.instantiate(_Handler, switches)
    app.start()
    handler.start()
    return app
