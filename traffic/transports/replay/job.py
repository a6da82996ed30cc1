"""The process of replays. It speaks the protocol of the UDP streams and writes the same records."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from topologies.access.netns import inside
from topologies.model.errors import LabError
from topologies.model.inventory import Inventory
from traffic.transports.replay.plan import NAMES, ReplayJob, Schedule
from traffic.transports.replay.receiver import Port
from traffic.transports.replay.sender import Outgoing, play
from traffic.transports.rocev2.ports import open_raw
from traffic.transports.udp.board import board
from traffic.transports.udp.job import UdpProcess
from traffic.transports.udp.wire import RECEIVE_BUFFER, SO_RCVBUFFORCE, SO_TIMESTAMPNS, allow_sockets, socket_drops

SEND_BUFFER = 64 * 2**20        # as UDP streams have it: the host's own queue drops, is counted, and holds nobody back


class Replays(UdpProcess):
    """One job of replayed captures, from sockets to records."""

    names = NAMES

    def __init__(self, job: ReplayJob, inventory: Inventory) -> None:
        super().__init__(job)
        streams, fabric = job.streams, inventory.fabric
        self.schedule = Schedule.load(Path(job.schedule))
        self.ports, self.dports = [(s.sport,) for s in streams], [s.dport for s in streams]
        self.board = board([(s.packets or 0, 1) for s in streams])
        self._places = [(s.dst, s.dport) for s in streams]
        sources = dict.fromkeys(s.src for s in streams)
        allow_sockets(len(sources) + len(set(self._places)))
        raw = {host: open_raw(inventory, host, SEND_BUFFER) for host in sources}
        self._sockets = {place: _open(inventory, *place) for place in dict.fromkeys(self._places)}
        self.inlets = [Port(sock, {i: (s, self.board.lanes[i]) for i, s in enumerate(streams)
                                   if self._places[i] == place}) for place, sock in self._sockets.items()]
        self.flows = self._outgoing = [
            Outgoing(i, s, self.board.lanes[i], (fabric.host(s.src).ip, fabric.host(s.dst).ip), raw[s.src])
            for i, s in enumerate(streams)]
        self.start()

    def _play(self) -> None:
        play(self.schedule, self._outgoing, self.board)

    def _drops(self, i: int) -> int:
        place = self._places[i]
        return socket_drops(self._sockets[place]) if self._places.index(place) == i else 0


def _open(inventory: Inventory, host: str, port: int) -> socket.socket:
    """A UDP socket at a host's port, with kernel time stamps. Raises LabError if the port is taken."""
    ip = inventory.fabric.host(host).ip
    with inside(inventory.netns_path(host)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        sock.bind((ip, port))
    except OSError as error:
        raise LabError(f"host {host}", f"UDP port {port} of {ip} free", os.strerror(error.errno or 0),
                       "another workload of this phase receives there: run the two in phases of their own") from None
    return sock
