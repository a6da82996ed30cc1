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

from traffic.inference.kv.shipping import Shipment, Transfer
from traffic.inference.links import CONTROL_BYTES, Links
from traffic.inference.plan import Serving
from traffic.inference.replica import Attempt, Replica
from traffic.inference.requests import Request
from traffic.inference.routing import POLICIES, Ask, least
from traffic.transports.pool import Lease


class Caller(Protocol):
    """Who asked: called with what happens at its own end of the connection."""

    request: Request
    retries_left: int

    def tokens(self, count: int, *, last: bool) -> None: ...
    def refused(self, status: str) -> None: ...


@dataclass(slots=True)
class Call:
    """A request while the gateway has it.

    active   replicas that work on it        planned  the one that will decode what another one prefills
    leases   connections that it holds, but for the client's
    round    grows when a replica failed: what comes of an earlier one is thrown away
    """

    caller: Caller
    lease: Lease                # to the client
    attempts: list[tuple[Replica, Attempt]] = field(default_factory=list)
    active: list[tuple[Replica, Attempt]] = field(default_factory=list)
    planned: list[tuple[Replica, Attempt]] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    transfer: Transfer | None = None
    round: int = 0
    retried: int = 0
    passed: int = 0             # tokens sent on to the client
    is_over: bool = False


class Gateway:
    """One workload's gateway. `calls` come by `receive`."""

    def __init__(self, serving: Serving, replicas: dict[str, Replica], links: Links, seed: int) -> None:
        self._serving, self._replicas, self._links = serving, replicas, links
        self._policy = POLICIES[serving.spec.routing]
        self._seed = seed
        self._routed = 0
        self._open: dict[int, Call] = {}

    def receive(self, caller: Caller, lease: Lease) -> Call:
        """A prompt has arrived in full from a client."""
        call = Call(caller, lease)
        self._open[caller.request.id] = call
        self._route(call)
        return call

    def _alive(self, names: tuple[str, ...]) -> list[Replica]:
        return [r for name in names if (r := self._replicas[name]).is_alive]

    def _route(self, call: Call) -> None:
        request, limit = call.caller.request, self._serving.spec.admission
        alive, decoders = self._alive(self._serving.replicas), self._alive(self._serving.decode)
        free = [r for r in alive if limit is None or r.outstanding < limit]
        if not free or (self._serving.decode and not decoders):
            self._refuse(call, "rejected" if alive and not free else "failed")
            return
        draws = self._draws(call)
        ask = Ask(self._routed, (draws.random(), draws.random()), f"{self._seed}/{request.session}",
                  (request.input + call.passed) / self._serving.spec.block, draws.random())
        self._routed += 1
        chosen = self._replicas[self._policy(ask, [r.view(request) for r in free]).name]
        decoder = least(decoders, lambda r: r.outstanding, draws.random()) if decoders else None
        self._send(call, chosen, decoder)

    def _draws(self, call: Call) -> random.Random:
        """Of one try of one request, so that the draws are the same in whatever order requests arrive."""
        caller = call.caller
        of = f"{self._seed}/{self._serving.name}/routing/{caller.request.id}/{caller.retries_left}"
        return random.Random(of)        # noqa: S311 - no secret

    def _send(self, call: Call, replica: Replica, decoder: Replica | None) -> None:
        """To a replica; with a decoder, which learns of the request at the same time."""
        lease = self._lease(call, replica.name)
        attempt = Attempt(call.caller.request, partial(self._made, call, lease), already=call.passed)
        if decoder is not None and call.caller.request.output - call.passed > 1:
            self._prepare(call, replica, attempt, decoder)
        self._begin(call, replica, attempt)
        size = call.caller.request.size + (self._serving.answer_bytes(call.passed) if call.passed else 0)
        lease.ask(size, partial(self._arrived, call, call.round, replica, attempt))

    def _lease(self, call: Call, name: str) -> Lease:
        lease = self._links.lease(self._serving.gateway, name, partial(self._lost, call, call.round))
        call.leases.append(lease)
        return lease

    @staticmethod
    def _begin(call: Call, replica: Replica, attempt: Attempt) -> None:
        call.attempts.append((replica, attempt))
        call.active.append((replica, attempt))
        replica.expect(attempt)

    @staticmethod
    def _arrived(call: Call, number: int, replica: Replica, attempt: Attempt) -> None:
        if not call.is_over and number == call.round and not attempt.finished:
            replica.submit(attempt)

    # -- prefill here, decode there ------------------------------------------------------------------

    def _prepare(self, call: Call, replica: Replica, prefill: Attempt, decoder: Replica) -> None:
        """Tell the decoder. The KV cache goes over as it is computed, or when it is whole; then decoding begins."""
        lease, number = self._lease(call, decoder.name), call.round
        attempt = Attempt(call.caller.request, partial(self._made, call, lease), already=call.passed, ready=1)
        decoder.assign(attempt)         # counts from now on: the next request is routed with it in mind
        call.planned.append((decoder, attempt))
        missing = {"word", "cache"}

        def have(what: str) -> None:
            missing.discard(what)
            if not missing:
                self._arrived(call, number, decoder, attempt)

        def leased() -> Lease:
            cache = self._links.lease(replica.name, decoder.name, partial(self._lost, call, number))
            call.leases.append(cache)
            return cache

        size = max(round(prefill.prompt * self._serving.kv_bytes), 1)
        shipment = Shipment(Transfer(decoder.name, size), leased, partial(have, "cache"))
        call.transfer = shipment.transfer

        def ship(share: float) -> None:
            if not call.is_over and number == call.round and decoder.is_alive:
                shipment.send(share)

        def hand_over() -> None:
            if call.is_over or number != call.round:
                return
            if not decoder.is_alive:
                self._lost(call, number)
                return
            call.active.remove((replica, prefill))
            call.planned.clear()
            replica.release(prefill)
            self._begin(call, decoder, attempt)
            shipment.send(1.0)

        prefill.hand_over, prefill.ship = hand_over, ship if self._serving.layer_shares else None
        lease.ask(CONTROL_BYTES, partial(have, "word"))

    # -- answers -------------------------------------------------------------------------------------

    def _made(self, call: Call, lease: Lease, tokens: int) -> None:
        """A replica sends a message."""
        if not call.is_over:
            lease.answer(self._serving.answer_bytes(tokens), partial(self._pass, call, call.round, tokens))

    def _pass(self, call: Call, number: int, tokens: int) -> None:
        """A message has come from a replica: on to the client."""
        if call.is_over or number != call.round:
            return
        call.passed += tokens
        last = call.passed >= call.caller.request.output
        if last:
            self._leave(call)
            for lease in call.leases:
                lease.release()
            call.is_over = True
            del self._open[call.caller.request.id]
        call.lease.answer(self._serving.answer_bytes(tokens), partial(call.caller.tokens, tokens, last=last))

    @staticmethod
    def _leave(call: Call) -> None:
        """No replica works on it any more."""
        for replica, attempt in (*call.active, *call.planned):
            replica.release(attempt)
            if not attempt.finished:
                replica.cancel(attempt)
        call.active.clear()
        call.planned.clear()

    def _lost(self, call: Call, number: int) -> None:
        """A connection to a replica, or between two, broke."""
        if call.is_over or number != call.round:
            return
        call.round += 1
        self._abandon(call)
        if call.caller.retries_left > 0:
            call.caller.retries_left -= 1
            call.retried += 1
            self._route(call)
        else:
            self._refuse(call, "failed")

    def _abandon(self, call: Call) -> None:
        self._leave(call)
        for lease in call.leases:
            lease.abandon()
        call.leases.clear()

    def _refuse(self, call: Call, status: str) -> None:
        call.is_over = True
        del self._open[call.caller.request.id]
        call.lease.answer(CONTROL_BYTES, partial(call.caller.refused, status))

    def cancel(self, call: Call) -> None:
        """The client has given up."""
        if call.is_over:
            return
        call.is_over = True
        del self._open[call.caller.request.id]
        self._abandon(call)

    def kill(self, name: str) -> None:
        """A replica dies; the connections to it break."""
        replica = self._replicas[name]
        replica.kill()
        for call in list(self._open.values()):
            if any(r is replica for r, _ in call.active):
                self._lost(call, call.round)
