"""The sending end of queue pairs: packets at their pace, ACKs and NAKs as they come, time-outs.

    due = last due + 1 / pps; who is behind sends at most BURST in a row, close to each other, and
    rests until these have taken half as long as they should have: lost time is made up for at twice the pace
"""

from __future__ import annotations

import errno
import heapq
import os
import random
import select
import socket
import time
from collections import Counter
from collections.abc import Sequence

from topologies.model.errors import RunError
from traffic.transports.rocev2.gobackn import Requester
from traffic.transports.rocev2.outcome import SenderEnd
from traffic.transports.rocev2.packets import AckTemplate, DataTemplate, Heard, icrc_is_right
from traffic.transports.rocev2.plan import FIRST_QPN, MOST_REPEATS, QueuePair
from traffic.transports.udp.board import SENT, SLOTS, Board, Lane
from traffic.transports.udp.sender import FATAL, LEAD

BURST = 8
NEAR = 0.6                  # of a period: closer packets are one burst, at half a period in records of whole us too
ACK_BATCH = 64              # taken from a socket before packets have their turn again
TICK = 5_000_000            # ns between looks at time-outs
COARSE = 2_000_000          # ns; shorter waits are slept, as a poll counts in milliseconds


class Outgoing:
    """One queue pair on its way."""

    def __init__(self, number: int, pair: QueuePair, lane: Lane, addresses: tuple[str, str],
                 sock: socket.socket) -> None:
        src, self._dst = addresses
        self.pair, self.lane, self._socket = pair, lane, sock
        self.template = DataTemplate(src, self._dst, FIRST_QPN + number, pair.mtu, pair.service,
                                     pair.dscp)
        self._acks = AckTemplate(self._dst, src, FIRST_QPN + number).icrc
        self.requester = Requester(pair.packets or 0, pair.message, pair.first_psn, pair.service == "rc")
        self.ports = pair.ports()
        self.errors: Counter[str] = Counter()
        self.blocked = self.bad_icrc = 0
        self._burst = 0             # packets in a row so far, the first of them at, the last at (ns)
        self._burst_at = self._last_at = 0
        self.period = 1e9 / pair.pps
        self.due = 0.0
        self.scheduled = True
        self.heard_at = 0

    def start_at(self, start: int) -> float:
        """Place the first packet; the seeded phase keeps pairs of one rate from sending in step."""
        phase = random.Random(f"phase {self.pair.seed} {self.pair.name}").random()  # noqa: S311 - repeatable
        self.due = start + phase * self.period
        return self.due

    def send(self) -> float:
        """Send the next packet; when to come again (CLOCK_MONOTONIC ns), 0 if there is nothing to send.

        Raises RunError where the host cannot send at all, or has repeated itself too often.
        """
        count, lane, requester = self.lane.count, self.lane, self.requester
        if requester.next == requester.total or requester.failed:
            self.scheduled = False
            return 0.0
        transmission = count[SENT]
        if transmission == lane.capacity:
            raise RunError(f"queue pair {self.pair.name}", f"at most {MOST_REPEATS} transmissions of each packet",
                           f"{transmission} for {requester.total} packets",
                           "the path loses most of what it is given; lower the rate")
        highest = requester.highest
        packet = requester.take()
        way = transmission % len(self.ports)
        data = self.template.packet(self.ports[way], packet.psn, packet.opcode, packet.ack_request, transmission,
                                    time.clock_gettime_ns(time.CLOCK_REALTIME))
        now = time.monotonic_ns()
        try:
            self._socket.sendto(data, (self._dst, 0))
        except OSError as error:
            requester.next, requester.highest = requester.next - 1, highest
            self._failed(error)
            self.due = now + self.period
            return self.due
        lane.late[count[SLOTS] % lane.capacity] = max(now - int(self.due), 0)
        count[SLOTS] += 1
        lane.sent[transmission] = now
        lane.port_sent[way] += 1
        count[SENT] = transmission + 1
        if requester.next == requester.total:
            self.heard_at = now         # the wait for what is missing begins
        return self._after(now)

    def _after(self, now: int) -> float:
        """When the next packet may leave, after one at `now`."""
        self.due += self.period
        if now - self._last_at >= NEAR * self.period:
            self._burst, self._burst_at = 0, now
        self._burst += 1
        self._last_at = now
        if self._burst < BURST:
            return self.due
        return max(self.due, now + NEAR * self.period, self._burst_at + BURST / 2 * self.period)

    def hear(self, data: bytes, sport: int, now: int) -> None:
        """An ACK or NAK of this queue pair has come."""
        if not icrc_is_right(self._acks, sport, data):
            self.bad_icrc += 1
            return
        heard = Heard(data)
        if self.requester.hear(heard.psn, heard.syndrome):
            self.heard_at = now

    def look_at_clock(self, now: int) -> None:
        """Begin again if nothing was heard of outstanding packets for too long."""
        requester = self.requester
        if requester.done or requester.failed or requester.acked == requester.highest:
            self.heard_at = now
        elif now - self.heard_at > self.pair.timeout * 1e9:
            requester.time_out()
            self.heard_at = now

    @property
    def wakes(self) -> bool:
        """It rests, and has something to send again."""
        return not self.scheduled and not self.requester.failed and self.requester.next < self.requester.total

    @property
    def over(self) -> bool:
        return self.requester.done or self.requester.failed

    def _failed(self, error: OSError) -> None:
        code = error.errno or 0
        if code in (errno.EAGAIN, errno.ENOBUFS):      # the host's own queue is full: it holds us back, as a card does
            self.blocked += 1
            return
        name = errno.errorcode.get(code, str(code))
        self.errors[name] += 1
        if code in FATAL:
            raise RunError(f"queue pair {self.pair.name}, host {self.pair.src}", "a host that can send",
                           f"{name}: {os.strerror(code)}", "is its interface up? What was recorded so far is kept")

    def reported(self) -> SenderEnd:
        """What the parent gets at the end."""
        r = self.requester
        return SenderEnd(
            errors=dict(self.errors), acked=r.acked, highest=r.highest, go_backs=r.go_backs,
            retransmission_timeouts=r.retransmission_timeouts, blocked=self.blocked, bad_icrc=self.bad_icrc,
            status="ok" if r.done else "retries exceeded" if r.failed else "interrupted")


class Sender:
    """All queue pairs of a process, and the sockets on which their ACKs come."""

    def __init__(self, outgoing: Sequence[Outgoing], acks: Sequence[socket.socket], board: Board) -> None:
        self._outgoing, self._board = outgoing, board
        self._reliable = [o for o in outgoing if o.requester.reliable]
        self._by_fd = {sock.fileno(): sock for sock in acks}
        self._heap: list[tuple[float, int]] = []
        self._ticked = 0

    def run(self) -> None:
        """Until every queue pair is over, or board.stop is set. Raises RunError."""
        poll = select.epoll()
        for fd in self._by_fd:
            poll.register(fd, select.EPOLLIN)
        start = time.monotonic_ns() + LEAD
        self._heap = [(o.start_at(start), k) for k, o in enumerate(self._outgoing)]
        heapq.heapify(self._heap)
        sent = 0
        while not self._board.stop[0] and not (not self._heap and all(o.over for o in self._outgoing)):
            wait = self._heap[0][0] - time.monotonic_ns() if self._heap else TICK
            if wait > 0 or sent >= BURST:
                sent = 0
                self._listen(poll, wait)
                continue
            sent += 1
            k = self._heap[0][1]
            following = self._outgoing[k].send()
            if following:
                heapq.heapreplace(self._heap, (following, k))
            else:
                heapq.heappop(self._heap)
        poll.close()

    def _listen(self, poll: select.epoll, wait: float) -> None:
        """Take ACKs for at most `wait` ns, look at time-outs, wake who has to repeat."""
        if not self._reliable:
            if wait > 0:
                time.sleep(min(wait, 10 * TICK) / 1e9)
            return
        # An epoll counts in milliseconds and rounds up: it takes the whole ones, sleep the rest.
        pause = max(min(wait, TICK) - COARSE, 0) // 1_000_000 / 1000
        ready = poll.poll(pause)
        now = time.monotonic_ns()
        for fd, _ in ready:
            self._take(self._by_fd[fd], now)
        if now - self._ticked > TICK:
            self._ticked = now
            for outgoing in self._reliable:
                outgoing.look_at_clock(now)
        for k, outgoing in enumerate(self._outgoing):
            if outgoing.wakes:
                outgoing.scheduled = True
                outgoing.due = max(outgoing.due, float(now))
                heapq.heappush(self._heap, (outgoing.due, k))
        if not ready and not pause and wait > 0:
            time.sleep(min(wait, COARSE) / 1e9)

    def _take(self, sock: socket.socket, now: int) -> None:
        for _ in range(ACK_BATCH):
            try:
                data, source = sock.recvfrom(2048)
            except BlockingIOError:
                return
            number = Heard(data).qpn - FIRST_QPN
            if 0 <= number < len(self._outgoing):
                self._outgoing[number].hear(data, source[1], now)
