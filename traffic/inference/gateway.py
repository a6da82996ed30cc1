"""The gateway: takes prompts in whole, chooses a replica for each, passes its tokens on.

    client ══lease══> gateway ══lease══> replica        a prompt is sent on when its last byte is here,
           <═══════           <════════                 a message of tokens likewise

A replica that fails loses its requests: each goes on at another replica, with the tokens that had come as
part of its prompt, while it has retries left; else the client gets an error. A client that gives up has
its request cancelled everywhere at once: half a round trip earlier than a reset would tell.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from traffic.inference.links import Lease, Links
from traffic.inference.plan import Serving
from traffic.inference.replica import Attempt, Replica
from traffic.inference.requests import Request
from traffic.inference.routing import POLICIES, Ask

ERROR_BYTES = 128       # of an answer that says no: status line and headers


class Caller(Protocol):
    """Who asked: what it is told when it happens at its own end of the connection."""

    request: Request
    retries_left: int

    def tokens(self, count: int, *, last: bool) -> None: ...
    def refused(self, status: str) -> None: ...


@dataclass(slots=True)
class Call:
    """A request while the gateway has it."""

    caller: Caller
    lease: Lease                # to the client
    attempts: list[tuple[Replica, Attempt]] = field(default_factory=list)
    upstream: Lease | None = None
    passed: int = 0             # tokens sent on to the client
    is_over: bool = False


class Gateway:
    """One workload's gateway. `calls` come by `receive`."""

    def __init__(self, serving: Serving, replicas: dict[str, Replica], links: Links, seed: int) -> None:
        self._serving, self._replicas, self._links = serving, replicas, links
        self._policy = POLICIES[serving.spec.routing]
        self._draws = random.Random(f"{seed}/{serving.name}/routing")     # noqa: S311 - no secret
        self._routed = 0
        self._open: dict[int, Call] = {}

    def receive(self, caller: Caller, lease: Lease) -> Call:
        """A prompt has arrived in full from a client."""
        call = Call(caller, lease)
        self._open[caller.request.id] = call
        self._route(call)
        return call

    def _route(self, call: Call) -> None:
        request, limit = call.caller.request, self._serving.spec.admission
        alive = [r for r in self._replicas.values() if r.is_alive]
        free = [r for r in alive if limit is None or r.outstanding < limit]
        if not free:
            self._refuse(call, "rejected" if alive else "failed")
            return
        ask = Ask(self._routed, (self._draws.random(), self._draws.random()), request.session,
                  request.input / self._serving.spec.block)
        self._routed += 1
        chosen = self._replicas[self._policy(ask, [r.view(request) for r in free]).name]
        self._send(call, chosen)

    def _send(self, call: Call, replica: Replica) -> None:
        attempt = Attempt(call.caller.request, partial(self._made, call), already=call.passed)
        call.attempts.append((replica, attempt))
        replica.outstanding += 1
        replica.coming += attempt.prompt
        call.upstream = self._links.lease(self._serving.gateway, replica.name, partial(self._lost, call))
        size = call.caller.request.size + (self._serving.answer_bytes(call.passed) if call.passed else 0)
        call.upstream.ask(size, partial(self._arrived, call, replica, attempt))

    @staticmethod
    def _arrived(call: Call, replica: Replica, attempt: Attempt) -> None:
        if not call.is_over and not attempt.finished:
            replica.submit(attempt)

    def _made(self, call: Call, tokens: int) -> None:
        """A replica sends a message; its last one ends the attempt there."""
        attempt = call.attempts[-1][1]
        if call.upstream is not None and not call.is_over:
            call.upstream.answer(self._serving.answer_bytes(tokens), partial(self._pass, call, tokens, attempt))

    def _pass(self, call: Call, tokens: int, attempt: Attempt) -> None:
        """A message has come from a replica: on to the client."""
        if call.is_over or attempt is not call.attempts[-1][1]:
            return
        call.passed += tokens
        last = call.passed >= call.caller.request.output
        if last:
            self._leave(call)
            if call.upstream is not None:
                call.upstream.release()
            call.is_over = True
            del self._open[call.caller.request.id]
        call.lease.answer(self._serving.answer_bytes(tokens), partial(call.caller.tokens, tokens, last=last))

    @staticmethod
    def _leave(call: Call) -> None:
        """The attempt at a replica is over, one way or another."""
        if call.attempts:
            replica, attempt = call.attempts[-1]
            replica.outstanding -= 1
            if not attempt.finished:
                replica.cancel(attempt)

    def _lost(self, call: Call) -> None:
        """The connection to a replica broke."""
        if call.is_over:
            return
        self._leave(call)
        if call.caller.retries_left > 0:
            call.caller.retries_left -= 1
            self._route(call)
        else:
            self._refuse(call, "failed")

    def _refuse(self, call: Call, status: str) -> None:
        call.is_over = True
        del self._open[call.caller.request.id]
        call.lease.answer(ERROR_BYTES, partial(call.caller.refused, status))

    def cancel(self, call: Call) -> None:
        """The client has given up."""
        if call.is_over:
            return
        call.is_over = True
        del self._open[call.caller.request.id]
        self._leave(call)
        if call.upstream is not None:
            call.upstream.abandon()

    def kill(self, name: str) -> None:
        """A replica dies; the connections to it break."""
        replica = self._replicas[name]
        replica.kill()
        for call in list(self._open.values()):
            if call.attempts and call.attempts[-1][0] is replica and call.upstream is not None:
                call.upstream.abandon()
                self._lost(call)
