"""The process of queue pairs. It speaks the protocol of the UDP streams and writes the same records, and its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TypeVar

from pydantic import TypeAdapter

from topologies.model.inventory import Inventory
from traffic.runtime.records import RecordWriter
from traffic.transports.rocev2.outcome import ReceiverEnd, SenderEnd, roce_record
from traffic.transports.rocev2.plan import FIRST_QPN, RoceJob
from traffic.transports.rocev2.ports import open_endpoint, open_raw
from traffic.transports.rocev2.receiver import Incoming, Port
from traffic.transports.rocev2.sender import Outgoing, Sender
from traffic.transports.rocev2.wire import ROCE_PORT
from traffic.transports.udp import children
from traffic.transports.udp.board import board
from traffic.transports.udp.clock import StepWatch
from traffic.transports.udp.job import PacketProcess
from traffic.transports.udp.outcome import StreamEnd, write_stream
from traffic.transports.udp.receiver import receive_all
from traffic.transports.udp.records import StreamRecord
from traffic.transports.udp.wire import allow_sockets, socket_drops

T = TypeVar("T")


class QueuePairs(PacketProcess):
    """One job of queue pairs, from sockets to records."""

    names = ("roce-sender", "roce-receiver")

    def __init__(self, job: RoceJob, inventory: Inventory) -> None:
        super().__init__(job)
        self.pairs = job.streams
        hosts = dict.fromkeys(h for pair in self.pairs for h in (pair.src, pair.dst))
        allow_sockets(3 * len(hosts) + len(self.pairs))
        self.endpoints = {host: open_endpoint(inventory, host) for host in hosts}
        self.board = board([(pair.room, pair.flows) for pair in self.pairs])
        self.outgoing: list[Outgoing] = []
        self.incoming: dict[int, Incoming] = {}
        for k, (pair, lane) in enumerate(zip(self.pairs, self.board.lanes, strict=True)):
            addresses = (inventory.fabric.host(pair.src).ip, inventory.fabric.host(pair.dst).ip)
            outgoing = Outgoing(k, pair, lane, addresses, open_raw(inventory, pair.src))
            self.outgoing.append(outgoing)
            self.incoming[FIRST_QPN + k] = Incoming(k, pair, lane, addresses, outgoing.template.icrc,
                                                    self.endpoints[pair.dst].answers)
        self.start()

    def _send(self, line: children.Line) -> None:
        """The sender child's life."""
        if line.wait() == "go":
            try:
                Sender(self.outgoing, [e.acks for e in self.endpoints.values()], self.board).run()
            finally:
                line.tell("pairs", pairs=[asdict(o.reported()) for o in self.outgoing])

    def _receive(self, line: children.Line) -> None:
        """The receiver child's life."""
        ports = [Port(e.data, self.incoming) for e in self.endpoints.values()]
        receive_all(ports, self.board, line.control, lambda: float(line.wait() or 0))
        line.tell("pairs", pairs=[asdict(i.reported()) for i in self.incoming.values()])

    def _write(self, writer: RecordWriter, watch: StepWatch) -> Iterator[StreamRecord]:
        job, senders, receivers = self.job, _ends(self.sender, SenderEnd), _ends(self.receiver, ReceiverEnd)
        for k, (pair, lane) in enumerate(zip(self.pairs, self.board.lanes, strict=True)):
            sender, receiver = senders[k] if senders else None, receivers[k] if receivers else None
            record = write_stream(writer, pair, lane, StreamEnd(
                phase=job.phase, t0=job.t0, offset=watch.first, number=FIRST_QPN + k, sport=pair.ports(),
                dport=ROCE_PORT, send_errors=sender.errors if sender else {},
                socket_drops=socket_drops(self.endpoints[pair.dst].data), clock_step=watch.step,
                latency_invalid=watch.why_invalid, interrupted=bool(self.interrupted)))
            if sender and receiver:
                writer.write(roce_record(pair, record, sender, receiver, watch.first + round(job.t0 * 1e9)))
            yield record


def _ends(child: children.Child, kind: type[T]) -> Sequence[T]:
    """What a child has told of each queue pair; nothing if it has crashed, which is reported after this."""
    said = child.said("pairs")
    return TypeAdapter(list[kind]).validate_python(said["pairs"]) if said else ()  # type: ignore[valid-type]
