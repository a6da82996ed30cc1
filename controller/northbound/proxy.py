"""The API over TCP, in a process of its own: what connects from the network takes nothing from the switches.

    client ──HTTP, token──> proxy ──HTTP on the unix socket──> controller <──OpenFlow── switches

    python -m controller.northbound.proxy --listener FD --api PATH         the token is the line on standard input

Nobody is waited for without an end: a request's head has HEAD seconds, its body BODY, the controller's answer ANSWER,
the client's taking of it SEND. Of MOST connections at once, the one whose head has been awaited longest makes room
for a new one. A request whose token is wrong is answered before its body is read. It ends with the lab.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import socket
import sys
import time
from http import HTTPStatus

import h11

from controller.northbound.tcp import TOKEN_FILE, admits
from topologies.access.process import die_with_parent
from topologies.model.document import MAX_BYTES

HEAD, BODY, ANSWER, SEND = 10.0, 30.0, 60.0, 30.0      # seconds
LINGER = 2.0            # seconds for a client to see why it is cut off, while it still sends
MOST = 64               # connections at once
MOST_HEAD = 16_384      # bytes of a request's line and headers
_CHUNK = 65_536
# of one connection, not of the request (RFC 9110, 7.6.1); or said anew on the other side
_OWN = frozenset({b"authorization", b"connection", b"content-length", b"expect", b"host", b"keep-alive",
                  b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
                  b"transfer-encoding", b"upgrade"})
_WANTED = f"wanted: Authorization: Bearer TOKEN, with that of {TOKEN_FILE} in the lab's directory"
Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]


class _Refused(Exception):  # noqa: N818 - an answer
    """The answer to a request that does not reach the controller; the connection ends with it."""

    def __init__(self, status: HTTPStatus, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.answer: Answer = (status, [(b"content-type", b"application/problem+json"), *headers],
                               json.dumps({"title": status.phrase, "status": status, "detail": detail}).encode())


class _Client:
    """One connection, from its first request to its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
        self.waits_since: float | None = time.monotonic()       # None while a request is answered

    def cut(self) -> None:
        """End it at once."""
        self._writer.transport.abort()

    async def serve(self, proxy: Proxy) -> None:
        """Answer requests until it has no more, or one that is refused."""
        try:
            while (request := await self._head()) is not None:
                self.waits_since = None
                await self._answer(*await self._answered(proxy, request))
                if self._http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                    break
                self._http.start_next_cycle()
                self.waits_since = time.monotonic()
        except _Refused as refused:
            await self._answer(*refused.answer)
        except h11.RemoteProtocolError as error:
            await self._answer(*_Refused(HTTPStatus(error.error_status_hint), f"no HTTP: {error}").answer)
        await self._end()

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            self._http.receive_data(await self._reader.read(_CHUNK))
        return event

    async def _head(self) -> h11.Request | None:
        """The next request; None where there is none."""
        try:
            async with asyncio.timeout(HEAD):
                event = await self._event()
        except TimeoutError:
            if not self._http.trailing_data[0]:
                return None     # silent: there is no request to answer
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, f"a request's headers have {HEAD:g} s") from None
        return event if isinstance(event, h11.Request) else None

    async def _answered(self, proxy: Proxy, request: h11.Request) -> Answer:
        headers: Headers = [(bytes(name), bytes(value)) for name, value in request.headers]
        if not admits([value for name, value in headers if name == b"authorization"], proxy.token):
            raise _Refused(HTTPStatus.UNAUTHORIZED, _WANTED, (b"www-authenticate", b"Bearer"))
        try:
            async with asyncio.timeout(BODY):
                body = await self._body()
        except TimeoutError:
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, f"a request's body has {BODY:g} s") from None
        return await proxy.ask(request.method, request.target, headers, body)

    async def _body(self) -> bytes:
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > MAX_BYTES:
                raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BYTES} bytes")
        return bytes(body)

    async def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send an answer, as far as the client is there and takes it."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        headers = [*headers, (b"content-length", b"%d" % len(body))]
        if self._http.their_state is not h11.DONE:
            headers.append((b"connection", b"close"))
        reason = http.client.responses.get(status, "").encode()
        events = (h11.Response(status_code=status, headers=headers, reason=reason), h11.Data(data=body),
                  h11.EndOfMessage())
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(SEND):
                self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
                await self._writer.drain()

    async def _end(self) -> None:
        """Let it read what it was answered before the connection goes, even if it still sends."""
        self.waits_since = time.monotonic()     # it makes room as well as a silent one
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER):
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while await self._reader.read(_CHUNK):
                    pass


class Proxy:
    """Connections in, requests with the token on to the controller."""

    def __init__(self, api_socket: str, token: str) -> None:
        self._socket, self.token = api_socket, token
        self._open: dict[_Client, None] = {}

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection that has just come, in place of another one if there are too many."""
        client = _Client(reader, writer)
        self._open[client] = None
        if len(self._open) > MOST:
            self._make_room(client)
        try:
            await client.serve(self)
        except OSError:
            pass        # it has gone
        finally:
            self._open.pop(client, None)
            client.cut()

    def _make_room(self, new: _Client) -> None:
        waiting = [c for c in self._open if c.waits_since is not None]
        client = min(waiting, key=lambda c: c.waits_since or 0.0, default=new)
        del self._open[client]
        client.cut()

    async def ask(self, method: bytes, target: bytes, headers: Headers, body: bytes) -> Answer:
        """The controller's answer, or one that says why there is none."""
        given = [(name, value) for name, value in headers if name not in _OWN]
        own = [(b"host", b"controller"), (b"connection", b"close"), (b"content-length", b"%d" % len(body))]
        try:
            async with asyncio.timeout(ANSWER):
                return await _asked(self._socket, h11.Request(method=method, target=target, headers=[*own, *given]),
                                    body)
        except TimeoutError:
            raise _Refused(HTTPStatus.GATEWAY_TIMEOUT, f"the controller has not answered in {ANSWER:g} s") from None
        except (OSError, h11.ProtocolError) as error:
            raise _Refused(HTTPStatus.BAD_GATEWAY, f"the controller does not answer: {error}") from None


async def _asked(path: str, request: h11.Request, body: bytes) -> Answer:
    reader, writer = await asyncio.open_unix_connection(path)
    inner, answer, status, headers = h11.Connection(h11.CLIENT), bytearray(), 0, Headers()
    try:
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(inner.send(event) or b"")
        while not isinstance(got := inner.next_event(), h11.EndOfMessage):
            if got is h11.NEED_DATA:
                inner.receive_data(await reader.read(_CHUNK))
            elif isinstance(got, h11.Response):
                status = got.status_code
                headers = [(bytes(n), bytes(v)) for n, v in got.headers if bytes(n) not in _OWN]
            elif isinstance(got, h11.Data):
                answer += got.data
            elif isinstance(got, h11.ConnectionClosed):
                raise ConnectionError("it has closed the connection")
    finally:
        writer.close()
    return status, headers, bytes(answer)


async def serve(listener: socket.socket, api_socket: str, token: str) -> None:
    """For ever."""
    server = await asyncio.start_server(Proxy(api_socket, token).take, sock=listener)
    async with server:
        await server.serve_forever()


def main() -> int:
    """Until it is ended from outside; at once where there is no token, for then there is no lab."""
    parser = argparse.ArgumentParser(prog="python -m controller.northbound.proxy",
                                     description="The API of a controller over TCP.")
    parser.add_argument("--listener", metavar="FD", type=int, required=True, help="a listening TCP socket")
    parser.add_argument("--api", metavar="PATH", required=True, help="the unix socket of the controller's API")
    chosen = parser.parse_args()
    die_with_parent()
    token = sys.stdin.readline().strip()
    if token:
        asyncio.run(serve(socket.socket(fileno=chosen.listener), chosen.api, token))
    return 0


if __name__ == "__main__":
    sys.exit(main())
