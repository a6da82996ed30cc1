"""The part of the northbound API that takes intent, and shows what became of it.

GET    /intent       {version, objects, hosts: {host: {segment, ip, prefix, gateway}},
                      allocation: VNIs and addresses given out}
PUT    /intent       body {objects: [...]}: the whole intent from now on. With If-Match: VERSION only if that version
                     still counts. {version, objects: ['+ VPC a', ...], flows: {switch: [come, go]}, seconds,
                     ignored: [{where, why}], pending: [connected switches that have not confirmed]}. It comes when
                     the switches hold it. Without objects, or with none but namespaces, it would take every tenant
                     away: 422, unless the body has empty: true beside them
POST   /intent/plan  the same body: what PUT would change, and nothing is changed
DELETE /intent       as PUT with no objects
PUT    /rates        body {rates: {link: bit/s}}: the links that have another rate than the fabric's, all of them. Where
                     paths are weighted, leaves follow. {seconds: until all switches held what follows from it}
GET    /evpn         {routes, vnis, macs, arp, peers}: see controller/evpn/evpn_view.py

Errors are application/problem+json (RFC 9457): {title, status, detail}; 422 adds errors: [{where, expected,
found, hint}], all of them, and nothing of the intent is applied; 409 adds the version that counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from controller.change import Conflict, IntentTransactions, IntentViolation, Plan
from controller.desired_state import DesiredState
from controller.evpn import evpn_view
from controller.evpn.bgp_import import judge
from controller.intent.intent import (
    KEY,
    Intent,
    as_objects,
    empty_problem,
    ignored_in,
    problems_in_words,
    with_reasons,
)
from controller.intent.lenient import Note
from topologies.model.document import MAX_BYTES, Problem
from topologies.model.explain import explain
from topologies.model.fields import Strict

Json = dict[str, Any]
Asked = TypeVar("Asked")


def problem(status: HTTPStatus, detail: str = "", **more: Any) -> JSONResponse:
    """An error as RFC 9457 has it."""
    return JSONResponse({"title": status.phrase, "status": int(status), "detail": detail, **more}, int(status),
                        media_type="application/problem+json")


class _Refused(Exception):  # noqa: N818 - an answer
    def __init__(self, answer: JSONResponse) -> None:
        self.answer = answer


def add(api: FastAPI, desired: DesiredState, transactions: IntentTransactions, peers: Callable[[], list[Json]]) -> None:
    """Add the routes above."""

    @api.get("/intent")
    def get() -> Json:
        return {"version": desired.persisted.version, "objects": as_objects(desired.persisted.intent),
                "allocation": desired.persisted.allocation.model_dump(), "hosts": hosts(desired)}

    @api.put("/intent")
    async def put(request: Request) -> JSONResponse:
        return await _answer(request, _intent, lambda asked, version: _applied(desired, transactions, asked, version))

    @api.post("/intent/plan")
    async def plan(request: Request) -> JSONResponse:
        return await _answer(request, _intent, lambda asked, _: _planned(transactions.plan(asked.intent), asked))

    @api.delete("/intent")
    async def delete(request: Request) -> JSONResponse:
        return await _answer(request, _nothing, lambda asked, version: _applied(desired, transactions, asked, version))

    @api.put("/rates")
    async def rates(request: Request) -> JSONResponse:
        return await _answer(request, _rates, lambda rates, _: {"seconds": transactions.set_rates(rates)})

    @api.get("/evpn")
    def evpn() -> Json:
        compiler = desired.compiler
        judged = judge(desired.fabric, compiler.tenancy, desired.learned)
        return evpn_view.tables(desired.fabric, compiler.tenancy, compiler.originated, tuple(judged)) | {
            "peers": peers()}


async def _answer(request: Request, parse: Callable[[bytes], Asked],
                  then: Callable[[Asked, int | None], Json]) -> JSONResponse:
    """Read a request's body, do what it says in a thread of its own, turn what goes wrong into an answer."""
    try:
        asked = parse(await _body(request))
        return JSONResponse(await run_in_threadpool(then, asked, _version(request)))
    except _Refused as refused:
        return refused.answer
    except IntentViolation as violation:
        return _violation(violation.problems)
    except Conflict as conflict:
        return problem(HTTPStatus.CONFLICT, f"the intent has been changed meanwhile; it is version {conflict.version}",
                       version=conflict.version)


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise _Refused(problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BYTES} bytes"))
    return body


def _version(request: Request) -> int | None:
    text = request.headers.get("if-match", "").strip('"')
    if text and not text.isdecimal():
        raise _Refused(problem(HTTPStatus.BAD_REQUEST, f"If-Match has to be a version such as 3, not {text}"))
    return int(text) if text else None


def _nothing(_body: bytes) -> _Asked:
    return _Asked(Intent())


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Refused(problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}")) from None


class _Wanted(Intent):
    """The body of an intent. empty: it is meant to take every VPC away."""

    empty: bool = False


class _Rates(Strict):
    rates: dict[str, float]


def _rates(body: bytes) -> dict[str, float]:
    data = _json(body)
    try:
        return _Rates.model_validate(data).rates
    except ValidationError as error:
        raise _Refused(_violation(explain(error, _Rates, data))) from None


@dataclass(frozen=True)
class _Asked:
    """An intent, and what of it as it was written has no effect."""

    intent: Intent
    ignored: tuple[Note, ...] = ()


def _intent(body: bytes) -> _Asked:
    data = _json(body)
    try:
        wanted = _Wanted.model_validate(data)
    except ValidationError as error:
        raise _Refused(_violation(with_reasons(explain(error, _Wanted, data)))) from None
    intent = Intent(objects=wanted.objects)
    if intent.is_empty and not wanted.empty:
        raise _Refused(_violation([empty_problem(
            (KEY,), "empty: true beside objects, or DELETE /intent, removes every VPC")]))
    return _Asked(intent, tuple(ignored_in(intent, data.get(KEY, ()))))


def _violation(problems: list[Problem]) -> JSONResponse:
    count = len(problems)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{count} problem{'s' if count > 1 else ''}; nothing is applied",
                   errors=problems_in_words(problems))


def _planned(plan: Plan, asked: _Asked) -> Json:
    return {"version": plan.persisted.version, "objects": list(plan.objects), "flows": plan.flows,
            "ignored": [{"where": ".".join(map(str, n.path)), "why": n.why} for n in asked.ignored]}


def _applied(desired: DesiredState, transactions: IntentTransactions, asked: _Asked, version: int | None) -> Json:
    plan, seconds = transactions.apply(asked.intent, version)
    return _planned(plan, asked) | {"seconds": seconds, "pending": desired.unsettled()}


def hosts(desired: DesiredState) -> dict[str, Json]:
    """Attached hosts: where they are, and how they have to be addressed."""
    return {host: {"segment": s.name, "ip": m.ip, "prefix": s.prefix_length, "gateway": s.gateway}
            for host, (s, m) in desired.compiler.tenancy.members.items()}
