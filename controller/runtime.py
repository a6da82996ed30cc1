"""os-ken, started by hand: since 4.0 it has no manager program any more.

Two repairs for its native threads: they must not keep the process alive, and a lost connection must
be told (os-ken 4.2 leaves the datapath in its last state and its sending thread waiting for ever).
"""

from __future__ import annotations

import os
import socket
import warnings
from pathlib import Path
from typing import Any

os.environ["OSKEN_HUB_TYPE"] = "native"     # read when os_ken.lib.hub is first imported

import os_ken.base.app_manager  # isort: skip
from os_ken import cfg
from os_ken.controller import controller as os_ken_controller
from os_ken.controller import ofp_handler
from os_ken.controller.handler import DEAD_DISPATCHER
from os_ken.lib import hub

from controller.app import FabricApp
from controller.control import Control
from controller.openflow import read_replies_here
from topologies.errors import LabError
from topologies.inventory import Inventory


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


def claim(path: str) -> None:
    """Make room for a listening unix socket: remove a dead one. Raises LabError if it is in use."""
    if not Path(path).parent.is_dir():
        raise LabError(path, "a socket in the directory of a running lab", "no such directory")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        Path(path).unlink()
        return
    raise LabError(path, "a free socket", "another process that listens there",
                   "this lab has a controller already")


class _Handler(ofp_handler.OFPHandler):  # type: ignore[misc]
    """os-ken's handshake, listening on a unix socket only."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._server = hub.StreamServer((path, 0), self._serve)

    @staticmethod
    def _serve(connection: socket.socket, _: object) -> None:
        os_ken_controller.datapath_connection_factory(_UnixStream(fileno=connection.detach()), "unix")

    def start(self) -> Any:
        super(ofp_handler.OFPHandler, self).start()     # not OFPHandler's own: it would listen on TCP
        return hub.spawn(self._server.serve_forever)


def start(inventory: Inventory, control: Control) -> FabricApp:
    """Listen for the switches of a lab and keep them right, in daemon threads. Raises LabError."""
    claim(inventory.controller_socket)
    warnings.filterwarnings("ignore", message="Datapath#ports is kept for compatibility")   # we read it once
    _repair_threads()
    read_replies_here()
    cfg.CONF(args=[], project="os_ken", version="aifab")
    manager = os_ken.base.app_manager.AppManager.get_instance()
    app: FabricApp = manager.instantiate(FabricApp, inventory, control)
    handler = manager.instantiate(_Handler, inventory.controller_socket)
    app.start()
    handler.start()
    return app
