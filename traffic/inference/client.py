"""Clients: a request is sent when it is due, whatever became of the others, and is accounted for in any case.

    due ──> sent ──> tokens ... ──> ok            rejected ──backoff──> sent again, while it has retries
                 └─ timeout: the connection is closed, the request cancelled     └─> rejected, failed
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from traffic.inference.gateway import Call, Gateway
from traffic.inference.links import Links
from traffic.inference.plan import Serving
from traffic.inference.records import ServingRecord
from traffic.inference.requests import Request
from traffic.runtime.timers import Timers
from traffic.transports.pool import Lease

Done = Callable[["Exchange"], None]


class Exchange:
    """One request, from when it is due to its end."""

    def __init__(self, request: Request, due: float, clients: Clients) -> None:
        self.request, self.due, self._clients = request, due, clients
        self.retries_left = self._retries = clients.serving.spec.retries
        self.sent: float | None = None
        self.done: float | None = None
        self.status = ""
        self.attempts = 0
        self.messages: list[tuple[float, int]] = []
        self._lease: Lease | None = None
        self._call: Call | None = None
        self._calls: list[Call] = []

    def start(self) -> None:
        """It is due."""
        self._clients.timers.at(self.due + self._clients.timeout, self._time_out)
        self._send()

    def _send(self) -> None:
        if self.status:
            return
        clients = self._clients
        self.attempts += 1
        if self.sent is None:
            self.sent = monotonic()
        self._call = None
        lease = self._lease = clients.links.lease(self.request.client, clients.serving.gateway, self._broken)
        lease.ask(self.request.size, partial(self._asked, lease))

    def _asked(self, lease: Lease) -> None:
        """The prompt is at the gateway."""
        if not self.status and lease is self._lease:
            call = self._clients.gateway.receive(self, lease)
            self._call = call
            self._calls.append(call)

    def tokens(self, count: int, *, last: bool) -> None:
        """A message of the answer has arrived."""
        if not self.status:
            self.messages.append((monotonic(), count))
            if last:
                self._end("ok")

    def refused(self, status: str) -> None:
        """The gateway says no; what was rejected may be asked again later."""
        if self.status or self._lease is None:
            return
        if status == "rejected" and self.retries_left > 0:
            self._lease.release()
            backoff = self._clients.backoff * 2 ** (self._retries - self.retries_left)
            self.retries_left -= 1
            self._clients.timers.at(monotonic() + backoff, self._send)
        else:
            self._end(status)

    def _broken(self) -> None:
        if self._call is not None:
            self._clients.gateway.cancel(self._call)
        if not self.status:
            self._end("failed")

    def _time_out(self) -> None:
        self._give_up("timeout")

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self._give_up("cancelled")

    def _give_up(self, status: str) -> None:
        if self.status:
            return
        if self._call is not None:
            self._clients.gateway.cancel(self._call)
        if self._lease is not None:
            self._lease.abandon()
        self._end(status)

    def _end(self, status: str) -> None:
        self.status, self.done = status, monotonic()
        if self._lease is not None:
            self._lease.release()
        self._clients.over(self)

    def record(self, phase: str, t0: float) -> ServingRecord:
        """As it ended."""
        request, serving = self.request, self._clients.serving
        record = ServingRecord(
            workload=serving.name, phase=phase, id=request.id, session=request.session, client=request.client,
            status=self.status, attempts=self.attempts, input_tokens=request.input,
            output_tokens=sum(n for _, n in self.messages), wanted_tokens=request.output, request_bytes=request.size,
            response_bytes=sum(serving.answer_bytes(n) for _, n in self.messages), task=request.task,
            scheduled=self.due - t0, sent=_since(self.sent, t0), done=_since(self.done, t0),
            first=_since(self.messages[0][0], t0) if self.messages else None, blocks=len(request.blocks),
            messages=tuple((t - t0, n) for t, n in self.messages))
        self._of_replica(record, t0)
        return record

    def _of_replica(self, record: ServingRecord, t0: float) -> None:
        """Stamps of the attempt that made the first token, or of the last one."""
        attempts = [a for call in self._calls for a in call.attempts]
        if not attempts:
            return
        record.attempts += sum(c.retried for c in self._calls)
        replica, attempt = next(((r, a) for r, a in attempts if a.made is not None), attempts[-1])
        record.replica = replica.name
        record.arrived, record.admitted, record.made = (
            _since(t, t0) for t in (attempt.arrived, attempt.admitted, attempt.made))
        record.computed = next((_since(a.computed, t0) for _, a in reversed(attempts) if a.computed is not None), None)
        record.hit_gpu, record.hit_host, record.hit_store = (attempt.hit.get(t, 0) for t in ("gpu", "host", "store"))
        record.looked, record.fetched = attempt.looked, _since(attempt.fetched, t0)
        record.hit_tokens, record.order, record.kept = attempt.hit_tokens, attempt.order, attempt.kept
        self._of_transfer(record, t0)
        record.prefill_fabric = attempt.fabric
        record.preempted = attempt.sequence.preempted if attempt.sequence is not None else 0

    def _of_transfer(self, record: ServingRecord, t0: float) -> None:
        """The last KV cache that went from one replica to another."""
        for transfer in (t for c in self._calls if (t := c.transfer) is not None and t.start is not None):
            record.decoder, record.kv_bytes, record.kv_parts = transfer.decoder, transfer.size, transfer.parts
            record.kv_start, record.kv_end = _since(transfer.start, t0), _since(transfer.end, t0)


def _since(when: float | None, t0: float) -> float | None:
    return None if when is None else when - t0


class Clients:
    """All clients of one workload."""

    def __init__(self, serving: Serving, gateway: Gateway, links: Links, timers: Timers, over: Done) -> None:
        self.serving, self.gateway, self.links, self.timers = serving, gateway, links, timers
        self.timeout, self.backoff = (t * serving.time for t in (serving.spec.timeout, serving.spec.backoff))
        self._over = over
        self._next = {r.after: r for r in serving.requests if r.after >= 0}

    def start(self, when: float) -> None:
        """The open loop begins at `when`."""
        for request in self.serving.requests:
            if request.after < 0 and request.task < 0:
                self._plan(request, when + request.at)

    def _plan(self, request: Request, due: float) -> None:
        self.timers.at(due, Exchange(request, due, self).start)

    def over(self, exchange: Exchange) -> None:
        """A request has ended; its session goes on after a pause, also after a failure."""
        follower = self._next.get(exchange.request.id)
        if follower is not None:
            self._plan(follower, monotonic() + follower.at)
        self._over(exchange)
