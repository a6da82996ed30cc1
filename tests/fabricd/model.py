"""The engine's laws (docs/engine.md) once more, in plain Python: written from their text, to be compared with it.

It takes what a replay takes: a configuration, frames and commands with their times. Switches forward IPv4 by the
destination; there are no tunnels here.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable
from itertools import count

from tests.fabricd.model_parts import PAUSE_BYTES, Chance, Direction, Packet, Queue

SENT, ARRIVES, SHARE = range(3)
Words, Keys = list[str], dict[str, str]
CARD_FRAMES = 4         # that a host's card takes in of a paused queue


class Model:
    """A fabric in virtual time. `said` collects what a replay writes."""

    def __init__(self, config: Iterable[str]) -> None:
        self.now = 0
        self.said: list[str] = []
        self.directions: list[Direction] = []
        self.hosts: dict[str, deque[Packet]] = {}
        self.switches: dict[str, bool] = {}
        self._mtus: list[int] = []
        self._cables: dict[str, Direction] = {}
        self._ports: dict[tuple[str, int], Direction] = {}
        self._routes: dict[tuple[str, bytes], int] = {}
        self._queue_of_dscp = [0] * 64
        self._seed = 0
        self._due: dict[tuple[int, int], int] = {}
        self._events: list[tuple[int, int, int, int]] = []
        self._serial = count()
        for line in config:
            self.do(line)

    @property
    def largest(self) -> int:
        return max(self._mtus, default=1500) + 64

    # ---- input

    def frame(self, time: int, host: str, frame: bytes) -> None:
        self.run(time)
        self.hosts[host].append(Packet(bytearray(frame)))
        self._fill(host)

    def command(self, time: int, line: str) -> None:
        self.run(time)
        self.do(line)
        self.said.append(f"{time} answer ok")

    def do(self, line: str) -> None:
        name, *words = line.split()
        keys = dict(word.split("=", 1) for word in words if "=" in word)
        getattr(self, f"_do_{name}")(words, keys)

    def _do_option(self, words: Words, keys: Keys) -> None:
        self._seed = int(keys.get("seed", 0))

    def _do_switch(self, words: Words, keys: Keys) -> None:
        self.switches[words[0]] = True

    def _do_host(self, words: Words, keys: Keys) -> None:
        self.hosts[words[0]] = deque()
        self._mtus.append(int(keys["mtu"]))

    def _do_link(self, words: Words, keys: Keys) -> None:
        self._connect(*words[:3])
        for d in self.directions[-2:]:
            _set(d, keys)

    def _do_dscp(self, words: Words, keys: Keys) -> None:
        self._queue_of_dscp[int(words[0])] = int(keys["queue"])

    def _do_direction(self, words: Words, keys: Keys) -> None:
        _set(self._direction(words[0]), keys)
        self._begin(self._direction(words[0]))

    def _do_queue(self, words: Words, keys: Keys) -> None:
        d, number = self._direction(words[0]), int(words[1])
        _set(d.queues[number], keys)
        self._release_pause(d, number)
        self._begin(d)

    def _do_rule(self, words: Words, keys: Keys) -> None:
        address = bytes(map(int, words[5].split("ipv4_dst=")[1].split(".")))
        self._routes[words[0], address] = int(words[-1].removeprefix("output:"))

    def _do_cable(self, words: Words, keys: Keys) -> None:
        self._cable(self._cables[words[0]], words[1] == "up")

    def _do_way(self, words: Words, keys: Keys) -> None:
        self._direction(words[0]).is_way_open = words[1] == "up"

    def _connect(self, name: str, *ends: str) -> None:
        (a, a_port), (b, b_port) = ((e.split(":")[0], int(e.split(":")[1])) for e in ends)
        for near, near_port, far, far_port in ((a, a_port, b, b_port), (b, b_port, a, a_port)):
            number = len(self.directions)
            d = Direction(number, near, far, near_port, far_port, Chance(self._seed, number))
            self.directions.append(d)
            self._ports[near, near_port] = d
        self._cables[name] = self.directions[-2]

    def _direction(self, name: str) -> Direction:
        return next(d for d in self.directions if d.name == name)

    def _reverse(self, d: Direction) -> Direction:
        return self.directions[d.number ^ 1]

    # ---- time

    def run(self, until: int) -> None:
        while self._events and self._events[0][0] <= until:
            time, number, kind, _ = heapq.heappop(self._events)
            if self._due.get((number, kind)) != time:
                continue
            del self._due[number, kind]
            self.now = max(self.now, time)
            (self._sent, self._arrived, self._begin)[kind](self.directions[number])
        self.now = max(self.now, until)

    def run_out(self) -> None:
        """Until nothing is under way."""
        while self._events:
            self.run(self._events[0][0])

    def _set_event(self, d: Direction, kind: int, time: int) -> None:
        self._due[d.number, kind] = time
        heapq.heappush(self._events, (time, d.number, kind, next(self._serial)))

    def _clear_event(self, d: Direction, kind: int) -> None:
        self._due.pop((d.number, kind), None)

    # ---- sending

    def _begin(self, d: Direction) -> None:
        if d.sending:
            return
        if d.control:
            self._start(d, d.control.popleft())
            return
        q, again = d.next_queue(self.now, self.largest)
        if q is None:
            if again is not None:
                self._set_event(d, SHARE, again)
            return
        self._clear_event(d, SHARE)
        p = self._leave(q)
        q.counts.sent_packets += 1
        q.counts.sent_bytes += len(p.frame)
        d.use(q, len(p.frame), self.now)
        self._start(d, p)

    def _start(self, d: Direction, p: Packet) -> None:
        d.sending = p
        self._set_event(d, SENT, self.now + d.time(len(p.frame)))

    def _sent(self, d: Direction) -> None:
        p, d.sending = d.sending, None
        assert p is not None
        if p.pause:
            self._fly(d, p, self.now + d.delay)
        else:
            self._launch(d, p)
        self._begin(d)
        if d.near in self.hosts and not d.sending:
            self._fill(d.near)

    def _launch(self, d: Direction, p: Packet) -> None:
        if d.loss > 0 and d.chance.draw() < d.loss:
            d.lost += 1
            self._drop(d, p, "loss")
            return
        if d.ber > 0 and d.chance.draw() < 1 - (1 - d.ber) ** (8.0 * len(p.frame)):
            d.bit_errors += 1
            self._drop(d, p, "bit_errors")
            return
        copy = None
        if d.duplicate > 0 and d.chance.draw() < d.duplicate:
            copy = Packet(bytearray(p.frame), p.queue)
        if d.reorder > 0 and d.chance.draw() < d.reorder:
            for each in (p, copy):
                if each:
                    self._deliver(d, each)
            return
        delay = d.delay
        if d.jitter:
            delay = max(math.floor(d.delay + (2 * d.chance.draw() - 1) * d.jitter), 0)
        arrival = self.now + delay
        for each in (p, copy):
            if each:
                self._fly(d, each, arrival)

    def _fly(self, d: Direction, p: Packet, arrival: int) -> None:
        p.at = d.last_arrival = max(arrival, d.last_arrival)
        d.flying.append(p)
        if len(d.flying) == 1:
            self._set_event(d, ARRIVES, p.at)

    def _arrived(self, d: Direction) -> None:
        p = d.flying.popleft()
        if d.flying:
            self._set_event(d, ARRIVES, d.flying[0].at)
        self._deliver(d, p)

    def _deliver(self, d: Direction, p: Packet) -> None:
        if not d.is_way_open:
            d.cut_flying += 1
            self._cut(d, p)
        elif p.pause:
            self._take_pause(self._reverse(d), *p.pause)
        elif d.far in self.hosts:
            self.said.append(f"{self.now} out {d.far} {p.frame.hex()}")
        else:
            p.ingress, p.ingress_queue = d, p.queue
            port = self._routes.get((d.far, bytes(p.frame[30:34])))
            if port is not None and port != d.far_port:
                self._join(self._ports[d.far, port], p)

    # ---- queues

    def _join(self, d: Direction, p: Packet) -> None:
        p.queue = self._queue_of_dscp[p.tos >> 2]
        q, size = d.queues[p.queue], len(p.frame)
        if not self._is_alive(d):
            self._cut(d, p)
            return
        if q.beside:
            q.counts.sent_packets += 1
            q.counts.sent_bytes += size
            self._deliver(d, p)
            return
        if not self._has_room(d, q, p):
            return
        if not q.waiting:
            q.turn = max(q.turn, d.turn)
        q.waiting.append(p)
        q.bytes += size
        q.counts.high = max(q.counts.high, q.bytes)
        self._mark(d, q, p)
        self._hold(p)
        self._begin(d)

    def _has_room(self, d: Direction, q: Queue, p: Packet) -> bool:
        size = len(p.frame)
        if p.ingress and (own := p.ingress.queues[p.ingress_queue]).xoff:
            if own.held + size <= own.xoff + own.headroom:
                return True
            own.counts.headroom_drops += 1
            p.queue = p.ingress_queue
            self._drop(p.ingress, p, "headroom")
            return False
        if d.near in self.hosts or q.bytes + size <= q.limit:
            return True
        q.counts.drops += 1
        q.counts.drop_bytes += size
        self._drop(d, p, "limit")
        return False

    def _mark(self, d: Direction, q: Queue, p: Packet) -> None:
        if not q.kmax or q.bytes <= q.kmin:
            return
        if q.bytes <= q.kmax and d.chance.draw() >= q.pmax * (q.bytes - q.kmin) / (q.kmax - q.kmin):
            return
        q.counts.marks += p.mark()

    def _leave(self, q: Queue) -> Packet:
        p = q.waiting.popleft()
        q.bytes -= len(p.frame)
        if p.ingress:
            d, p.ingress = p.ingress, None
            d.queues[p.ingress_queue].held -= len(p.frame)
            self._release_pause(d, p.ingress_queue)
        return p

    # ---- pauses

    def _hold(self, p: Packet) -> None:
        if not p.ingress:
            return
        q = p.ingress.queues[p.ingress_queue]
        if not q.xoff:
            p.ingress = None
            return
        q.held += len(p.frame)
        if not q.has_paused and q.held > q.xoff:
            q.has_paused = self._send_pause(p.ingress, p.ingress_queue, True)

    def _release_pause(self, d: Direction, number: int) -> None:
        q = d.queues[number]
        if q.has_paused and (not q.xoff or q.held <= q.xon):
            q.has_paused = not self._send_pause(d, number, False)

    def _send_pause(self, ingress: Direction, number: int, is_stop: bool) -> bool:
        d = self._reverse(ingress)
        if not self._is_alive(d):
            return False
        d.control.append(Packet(bytearray(PAUSE_BYTES), pause=(number, is_stop)))
        self._begin(d)
        return True

    def _take_pause(self, d: Direction, number: int, is_stop: bool) -> None:
        q = d.queues[number]
        if not is_stop:
            self._end_pause(q)
        elif not q.is_paused:
            q.is_paused, q.paused_at = True, self.now
            q.counts.pauses += 1
        self._begin(d)
        if d.near in self.hosts:
            self._fill(d.near)

    def _end_pause(self, q: Queue) -> None:
        if q.is_paused:
            q.counts.paused_ns += self.now - q.paused_at
        q.is_paused = False

    # ---- hosts, cables, ends

    def _fill(self, host: str) -> None:
        d, device = self._ports[host, 0], self.hosts[host]
        while device and not d.sending and all(len(q.waiting) < CARD_FRAMES for q in d.queues):
            self._join(d, device.popleft())

    def _is_alive(self, d: Direction) -> bool:
        return d.is_cable_in and all(self.switches.get(node, True) for node in (d.near, d.far))

    def _cable(self, d: Direction, is_in: bool) -> None:
        if d.is_cable_in == is_in:
            return
        both = (d, self._reverse(d))
        for each in both:
            each.is_cable_in = is_in
        for each in both:
            self._cut_off(each)
        for each in both:
            if each.near in self.hosts:
                self._fill(each.near)

    def _cut_off(self, d: Direction) -> None:
        d.cut_flying += len(d.flying) + (d.sending is not None)
        for p in d.flying:
            self._cut(d, p)
        if d.sending:
            self._cut(d, d.sending)
        d.flying.clear()
        d.sending, d.last_arrival = None, 0
        for q in d.queues:
            while q.waiting:
                self._cut(d, self._leave(q))
        d.control.clear()
        for kind in (SENT, ARRIVES, SHARE):
            self._clear_event(d, kind)
        for q in d.queues:
            self._end_pause(q)
            q.has_paused = False

    def _cut(self, d: Direction, p: Packet) -> None:
        d.cut += 1
        self._drop(d, p, "cut")

    def _drop(self, d: Direction, p: Packet, reason: str) -> None:
        if not p.pause:
            self.said.append(f"{self.now} drop {d.name} {p.queue} {reason} {p.frame.hex()}")


def _set(target: Direction | Queue, keys: dict[str, str]) -> None:
    for key, value in keys.items():
        setattr(target, key, type(getattr(target, key))(value))
