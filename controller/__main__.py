"""The controller as a process: python -m controller --inventory PATH [--switches FD]

It serves the switches on the inventory's OpenFlow socket and the API on its API socket until SIGTERM,
SIGINT, or the end of the thread that started it. With --switches it is started while the lab comes up: it is handed
the OpenFlow socket, where the first switches may wait already, and reads the inventory after a line on standard input.
Its log is standard error.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from controller.bgp.bgp_link import BgpLink
from controller.change import IntentTransactions
from controller.desired_state import DesiredState
from controller.northbound import sockets
from controller.northbound.api import build
from controller.persisted_intent import FILE, PersistedIntent
from controller.southbound import runtime
from controller.southbound.app import FabricApp
from topologies.access.process import die_with_parent
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory

_STOP = (signal.SIGTERM, signal.SIGINT)
RENEW_NEIGHBOURS = 600.0    # seconds; switches forget an unused neighbour after an hour


def _serve(api: FastAPI, listener: socket.socket) -> None:
    """In a daemon thread."""
    server = uvicorn.Server(uvicorn.Config(api, log_level="warning", access_log=False))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()


def _renew_for_ever(app: FabricApp) -> None:
    while True:
        time.sleep(RENEW_NEIGHBOURS)
        app.renew_all_neighbours()


def serve(inventory: Inventory, switches: socket.socket | None = None) -> None:
    """Until a signal says stop. switches: listens already on the inventory's socket for them.

    Raises LabError before it serves.
    """
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)     # before any thread: sigwait below takes them
    path = Path(inventory.directory) / FILE
    desired = DesiredState(inventory.fabric, PersistedIntent.read(path))
    app = runtime.start(inventory, desired, switches or sockets.listener(inventory.controller_socket))
    link = BgpLink(inventory)
    transactions = IntentTransactions(app.rollout, path, link.announce)
    link.start(transactions.learn)
    _serve(build(desired, app, transactions, link.peers), sockets.listener(inventory.api_socket))
    threading.Thread(target=_renew_for_ever, args=(app,), daemon=True).start()
    signal.sigwait(_STOP)
    for address in (inventory.controller_socket, inventory.api_socket):
        Path(address).unlink(missing_ok=True)
    os._exit(0)     # os-ken's threads cannot be joined


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 after a stop, 1 for an error, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m controller", description="The fabric controller of a running lab.")
    parser.add_argument("--inventory", type=Path, required=True, help="inventory.json of a running lab")
    parser.add_argument("--switches", metavar="FD", type=int, help="a listening OpenFlow socket")
    chosen = parser.parse_args(arguments)
    die_with_parent()
    if chosen.switches is not None and not sys.stdin.readline():
        return 0        # there will be no lab
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("os_ken").setLevel(logging.WARNING)
    try:
        handed = None if chosen.switches is None else socket.socket(fileno=chosen.switches)
        serve(Inventory.read(chosen.inventory), handed)
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
