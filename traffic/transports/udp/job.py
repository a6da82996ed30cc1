"""The process of streams: sets up, starts its two children, follows orders, writes the records.

    stdin   "go", then perhaps "stop"          stdout   events (topologies/access/events.py)

A stop ends the schedules early but in peace: the tail is waited for. SIGINT and SIGTERM do the same,
mark the records as interrupted and exit with 130.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Protocol, TypeVar

from pydantic import TypeAdapter

from topologies.access.events import Done, Progress, Ready, emit
from topologies.model.errors import RunError
from topologies.model.inventory import Inventory
from traffic.runtime.command import run_job
from traffic.runtime.protocol import INTERRUPTED
from traffic.runtime.records import InterruptedRecord, RecordWriter
from traffic.transports.udp import children
from traffic.transports.udp.board import RECEIVED, SENT, Board, board
from traffic.transports.udp.clock import StepWatch
from traffic.transports.udp.outcome import StreamEnd, summary, write_stream
from traffic.transports.udp.plan import MAX_PACKETS, Job, source_ports
from traffic.transports.udp.receiver import Inlet, Source, receive_all
from traffic.transports.udp.records import StreamRecord, StreamsRecord
from traffic.transports.udp.sender import Flow, send_all
from traffic.transports.udp.wire import allow_sockets, open_receiver, open_sender, socket_drops

TICK = 0.25             # seconds between progress lines and looks at the clock
IMPATIENCE = 1.0        # drain time at most when interrupted
PATIENCE = 30.0         # beyond drain, for a child to report after it was told to end
SIGNALS = (signal.SIGINT, signal.SIGTERM)
J = TypeVar("J", bound=Job)
_ERRORS = TypeAdapter(list[dict[str, int]])     # of each stream, by their names


class PacketProcess:
    """A sender, a receiver and the protocol around them; what they send is the matter of a subclass.

    A subclass opens its sockets and sets `board`, then calls `start`; it gives `_send`, `_receive`, `_write`.
    """

    names = ("sender", "receiver")      # under which the sampler watches the two
    board: Board

    def __init__(self, job: Job) -> None:
        self.job = job
        self.interrupted = ""
        self._orders = b""
        self._stdin_open = True
        self._poll = selectors.PollSelector()       # epoll refuses files, and stdin may be one
        self._shown = (0.0, -1)

    def start(self) -> None:
        """Fork both children."""
        self.receiver = children.start("receiver", self._receive, self.job.realtime)
        self.sender = children.start("sender", self._send, self.job.realtime)

    def _send(self, line: children.Line) -> None:
        """The sender child's life."""
        raise NotImplementedError

    def _receive(self, line: children.Line) -> None:
        """The receiver child's life."""
        raise NotImplementedError

    def _write(self, writer: RecordWriter, watch: StepWatch) -> Iterator[StreamRecord]:
        """Write all of each stream, whatever happened; its record."""
        raise NotImplementedError

    def interrupt(self, number: int, _frame: FrameType | None) -> None:
        """Signal handler: end early, keep everything."""
        self.interrupted = signal.Signals(number).name
        self.board.stop[0] = 1

    def run(self) -> int:
        """Follow the protocol to its end; the exit code. Raises LabError after the records are written."""
        for child in (self.receiver, self.sender):
            self._poll.register(child.report, selectors.EVENT_READ, child)
        self._poll.register(0, selectors.EVENT_READ)
        self._until(lambda: all(c.said("ready") or c.over for c in (self.sender, self.receiver)))
        self._check()
        emit(Ready(dict(zip(self.names, (self.sender.pid, self.receiver.pid), strict=True))))
        self._until(lambda: self._ordered("go") or self._leaving)
        if self._ordered("go"):
            return self._traffic()
        if self.interrupted:
            with RecordWriter(self.job.records) as writer:
                self._note_interruption(writer)
            return INTERRUPTED
        return 0

    def _traffic(self) -> int:
        watch, start = StepWatch(), time.monotonic()
        self.sender.order("go")
        self._until(lambda: self.sender.over or self.receiver.over, watch)
        self.board.stop[0] = 1
        drain = min(self.job.drain, IMPATIENCE) if self.interrupted else self.job.drain
        self.receiver.order(str(drain))
        self._until(lambda: self.sender.over and self.receiver.over, watch, drain + PATIENCE)
        self._progress(always=True)
        watch.look()
        ended = []
        with RecordWriter(self.job.records) as writer:
            for record in self._write(writer, watch):
                writer.flush()
                ended.append(summary(record))
            writer.write(self._cost(start))
            self._note_interruption(writer)
        self._check()
        if self.interrupted:
            return INTERRUPTED
        emit(Done(ended))
        return 0

    def _ordered(self, order: str) -> bool:
        return order.encode() in self._orders.split(b"\n")[:-1]

    @property
    def _leaving(self) -> bool:
        return bool(self.interrupted) or not self._stdin_open or self._ordered("stop")

    def _until(self, done: Callable[[], object], watch: StepWatch | None = None, timeout: float = float("inf")) -> None:
        """Serve stdin and the children until `done`, looking at the clock on the way. Returns late at worst."""
        deadline = time.monotonic() + timeout
        while not done() and time.monotonic() < deadline:
            for key, _ in self._poll.select(TICK / 2):
                self._serve(key)
            if watch is not None:
                watch.look()
                self._progress()

    def _serve(self, key: selectors.SelectorKey) -> None:
        if isinstance(key.data, children.Child):
            key.data.listen()
            if not key.data.alive:
                self._poll.unregister(key.fd)
            return
        piece = os.read(0, 4096)
        self._orders += piece
        self._stdin_open = bool(piece)
        if not piece:
            self._poll.unregister(0)
        endless = any(s.packets is None for s in self.job.streams)
        if self._ordered("stop") or (endless and not self._stdin_open):     # with stdin closed, nobody could stop it
            self.board.stop[0] = 1

    def _progress(self, always: bool = False) -> None:
        """Bytes of frames that arrived, by workload, at most 4 times a second."""
        now, received = time.monotonic(), sum(k.count[RECEIVED] for k in self.board.lanes)
        if not always and (now - self._shown[0] < TICK or received == self._shown[1]):
            return
        self._shown = (now, received)
        for workload in dict.fromkeys(s.workload for s in self.job.streams):
            mine = [(s, k) for s, k in zip(self.job.streams, self.board.lanes, strict=True) if s.workload == workload]
            endless = any(s.packets is None for s, _ in mine)
            emit(Progress(
                workload, sum(k.count[RECEIVED] * s.frame for s, k in mine),
                None if endless else sum((s.packets or 0) * s.frame for s, _ in mine),
                sum(k.count[SENT] for _, k in mine), sum(k.count[RECEIVED] for _, k in mine)))

    def _check(self) -> None:
        """Raise what a child failed of."""
        for child in (self.sender, self.receiver):
            if failed := child.said("failed"):
                raise RunError(*(str(failed[key]) for key in ("where", "expected", "found", "hint")))
            if crashed := child.said("crashed"):
                raise RuntimeError(f"the {child.name} of packet streams crashed:\n{crashed['traceback']}")
            if not child.alive and child.said("finished") is None:
                raise RunError(f"packet streams, process {child.pid}", f"the {child.name} to live until its end",
                               "it was killed", "was the machine out of memory?")

    def _note_interruption(self, writer: RecordWriter) -> None:
        if self.interrupted:
            writer.write(InterruptedRecord(
                phase=self.job.phase, t=time.monotonic() - self.job.t0, reason=self.interrupted))

    def _cost(self, start: float) -> StreamsRecord:
        sender, receiver = self.sender, self.receiver
        return StreamsRecord(
            phase=self.job.phase, start=start - self.job.t0, end=time.monotonic() - self.job.t0,
            sender_cpu=sender.cpu, receiver_cpu=receiver.cpu, sender_scheduler=sender.scheduler,
            receiver_scheduler=receiver.scheduler)

    def close(self) -> None:
        """End both children, by their pids."""
        for child in (self.sender, self.receiver):
            child.end()


class Sending(Protocol):
    """What sends one stream, and counts what it could not send by the name of the error."""

    errors: Counter[str]


class UdpProcess(PacketProcess):
    """Streams whose packets carry their stream's number and their own; a subclass opens sockets and sends.

    ports     source ports of each stream          dports  destination port of each
    inlets    what is received from                flows   what is sent by, one a stream
    """

    ports: Sequence[tuple[int, ...]]
    dports: Sequence[int]
    inlets: Sequence[Source]
    flows: Sequence[Sending]

    def _play(self) -> None:
        """Send everything, until done or board.stop is set."""
        raise NotImplementedError

    def _drops(self, i: int) -> int:
        """Packets that the kernel dropped at the socket of stream i, of which each is reported once."""
        raise NotImplementedError

    def _send(self, line: children.Line) -> None:
        """The sender child's life."""
        if line.wait() == "go":
            try:
                self._play()
            finally:
                line.tell("errors", errors=[dict(flow.errors) for flow in self.flows])

    def _receive(self, line: children.Line) -> None:
        """The receiver child's life."""
        receive_all(self.inlets, self.board, line.control, lambda: float(line.wait() or 0))

    def _write(self, writer: RecordWriter, watch: StepWatch) -> Iterator[StreamRecord]:
        job, said = self.job, self.sender.said("errors")
        errors = _ERRORS.validate_python(said["errors"]) if said else [{}] * len(job.streams)
        for i, (stream, lane) in enumerate(zip(job.streams, self.board.lanes, strict=True)):
            yield write_stream(writer, stream, lane, StreamEnd(
                phase=job.phase, t0=job.t0, offset=watch.first, number=i, sport=self.ports[i],
                dport=self.dports[i], send_errors=errors[i], socket_drops=self._drops(i),
                clock_step=watch.step, latency_invalid=watch.why_invalid, interrupted=bool(self.interrupted)))


class Streams(UdpProcess):
    """One job of UDP streams, from sockets to records."""

    def __init__(self, job: Job, inventory: Inventory) -> None:
        super().__init__(job)
        self.ports = tuple(source_ports(job.streams))
        self.dports = range(job.first_port, job.first_port + len(job.streams))
        allow_sockets(len(job.streams) + sum(s.flows for s in job.streams))
        self.board = board([(s.packets or MAX_PACKETS, s.flows) for s in job.streams])
        self.inlets = [Inlet(i, lane, open_receiver(inventory, s, self.dports[i]), self.ports[i])
                       for i, (s, lane) in enumerate(zip(job.streams, self.board.lanes, strict=True))]
        self.flows = self._flows = [Flow(i, s, self.board.lanes[i], self._ways(inventory, i))
                                    for i, s in enumerate(job.streams)]
        self.start()

    def _ways(self, inventory: Inventory, i: int) -> tuple[socket.socket, ...]:
        stream = self.job.streams[i]
        return tuple(open_sender(inventory, stream, port, self.dports[i]) for port in self.ports[i])

    def _play(self) -> None:
        send_all(self._flows, self.board)

    def _drops(self, i: int) -> int:
        return socket_drops(self.inlets[i].sock)


def command_line(arguments: list[str], module: str, model: type[J], process: Callable[[J, Inventory], PacketProcess]
                 ) -> int:
    """`python -m MODULE JOB.json`. Exit code: 0 done, 1 an error that was reported, 130 interrupted."""
    def work(job: J, inventory: Inventory) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)       # until there is something that can be interrupted
        packets = process(job, inventory)
        try:
            for number in SIGNALS:
                signal.signal(number, packets.interrupt)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            return packets.run()
        finally:
            packets.close()
    return run_job(arguments, module, model, work)
