"""The API over TCP: on loopback and nowhere else, and only for those who have the token."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from controller.northbound import proxy, sockets
from controller.northbound.tcp import TOKEN_FILE, listener, loopback, new_token
from topologies.model.document import MAX_BYTES
from topologies.model.errors import LabError


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def token(tmp_path: Path, port: int) -> Iterator[str]:
    """Of a proxy to an API that counts how often it was reached, and tells what it was sent."""
    api, token, reached = FastAPI(), new_token(tmp_path), Counter[str]()

    @api.get("/health")
    def health() -> dict[str, int]:
        reached["health"] += 1
        return {"reached": reached["health"]}

    @api.put("/echo")
    async def echo(request: Request) -> JSONResponse:
        body, headers = await request.body(), request.headers
        return JSONResponse({"bytes": len(body), "if-match": headers.get("if-match"), "query": request.url.query,
                             "authorization": headers.get("authorization")}, 409, {"X-Version": "3"})

    inner = sockets.listener(str(tmp_path / "api.sock"))
    server = uvicorn.Server(uvicorn.Config(api, log_level="error"))
    threading.Thread(target=server.run, kwargs={"sockets": [inner]}, daemon=True).start()
    outer = proxy.serve(listener(f"127.0.0.1:{port}"), str(tmp_path / "api.sock"), token)
    threading.Thread(target=lambda: asyncio.run(outer), daemon=True).start()
    yield token
    server.should_exit = True


def ask(port: int, *headers: str, path: str = "/health") -> tuple[int, str, dict[str, object]]:
    """Status, type and body; headers: values of Authorization."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", path)
    for value in headers:
        connection.putheader("Authorization", value)
    connection.endheaders()
    reply = connection.getresponse()
    found = reply.status, reply.headers["content-type"], json.loads(reply.read())
    connection.close()
    return found


def test_who_has_the_token_is_answered(port: int, token: str) -> None:
    assert ask(port, f"Bearer {token}") == (200, "application/json", {"reached": 1})
    assert ask(port, f"bearer {token}")[0] == 200


def test_who_has_not_is_refused_before_the_api_is_reached(port: int, token: str) -> None:
    wrong = [(), ("Bearer ",), (f"Bearer {token}x",), (f"Bearer {token[:-1]}",), (token,), (f"Basic {token}",),
             ("Bearer x", f"Bearer {token}"), (f"Bearer  {token}",)]
    for headers in wrong:
        status, kind, body = ask(port, *headers)
        assert (status, kind) == (401, "application/problem+json"), headers
        assert (body["title"], body["status"]) == ("Unauthorized", 401)
        assert TOKEN_FILE in str(body["detail"])
        assert token not in str(body)
    assert ask(port, path="/nowhere")[0] == 401, "who may not ask does not learn which paths there are"
    assert ask(port, f"Bearer {token}")[2] == {"reached": 1}


def test_a_token_is_new_at_each_start_and_its_file_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / TOKEN_FILE).write_text("old")
    (tmp_path / TOKEN_FILE).chmod(0o644)
    first = new_token(tmp_path)
    path = tmp_path / TOKEN_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == first + "\n"
    assert len(first) >= 43
    assert new_token(tmp_path) != first


@pytest.mark.parametrize(("text", "words"), [
    ("0.0.0.0:8080", "expected a loopback address and a port, such as 127.0.0.1:8080; found 0.0.0.0:8080"),
    ("192.168.1.2:8080", "such as ssh -L"), ("localhost:8080", "found localhost:8080"), ("8080", "found 8080"),
    ("127.0.0.1", "found 127.0.0.1"), ("::1:8080", "found ::1:8080"),
    ("127.0.0.1:0", "a port from 1 to 65535; found 0"),
    ("127.0.0.1:70000", "a port from 1 to 65535; found 70000"), ("127.0.0.999:80", "found 127.0.0.999:80")])
def test_anywhere_but_on_loopback_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(LabError) as caught:
        loopback(text)
    assert str(caught.value).startswith("--listen: ")
    assert words in str(caught.value)


def test_a_port_that_somebody_has_is_reported(port: int) -> None:
    with listener(f"127.0.0.1:{port}"), pytest.raises(LabError, match=r"expected a free port; found Address already"):
        listener(f"127.0.0.1:{port}")


def speak(port: int, text: bytes) -> bytes:
    """All that is answered to these bytes until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.sendall(text)
        answer = b""
        while more := sock.recv(65536):
            answer += more
    return answer


def drip(port: int) -> None:
    """A header every moment, for ever: no byte of it makes the time longer."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\n")
        while True:
            slow.sendall(b"X-A: b\r\n")
            threading.Event().wait(0.02)


def head(token: str, line: str = "GET /health", *more: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *more, "", ""]).encode()


def test_a_request_reaches_the_api_whole_but_for_its_token_and_so_does_the_answer(port: int, token: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for size in (0, 70_000, MAX_BYTES):         # one connection for all
        connection.request("PUT", "/echo?a=b", b"x" * size, {"Authorization": f"Bearer {token}", "If-Match": '"2"'})
        reply = connection.getresponse()
        assert (reply.status, reply.headers["x-version"]) == (409, "3")
        assert json.loads(reply.read()) == {"bytes": size, "if-match": '"2"', "query": "a=b", "authorization": None}
    connection.close()
    chunked = head(token, "PUT /echo", "Transfer-Encoding: chunked", "Connection: close") + b"3\r\nabc\r\n0\r\n\r\n"
    assert b'"bytes":3' in speak(port, chunked)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as waits:
        waits.sendall(head(token, "PUT /echo", "Content-Length: 3", "Expect: 100-continue"))
        assert waits.recv(65536).startswith(b"HTTP/1.1 100 ")
        waits.sendall(b"abc")
        assert waits.recv(65536).startswith(b"HTTP/1.1 409 Conflict")


def test_a_head_that_does_not_come_in_time_is_cut(port: int, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "HEAD", 0.2)
    assert speak(port, b"") == b"", "a silent one is not answered"
    assert speak(port, b"GET /health HTTP/1.1\r\nX-A: b\r\n").startswith(b"HTTP/1.1 408 ")
    with pytest.raises(ConnectionError):
        drip(port)
    idle = socket.create_connection(("127.0.0.1", port), timeout=30)
    with idle:
        idle.sendall(head(token))
        answer = idle.recv(65536)
        while more := idle.recv(65536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 200 "), "answered, and cut when no second request came"


def test_a_body_that_does_not_come_in_time_or_is_too_long_is_cut(
        port: int, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "BODY", 0.2)
    slow = speak(port, head(token, "PUT /echo", "Content-Length: 10") + b"abc")
    assert slow.startswith(b"HTTP/1.1 408 ")
    monkeypatch.undo()
    long = speak(port, head(token, "PUT /echo", f"Content-Length: {MAX_BYTES + 1}") + b"x" * (MAX_BYTES + 1))
    assert long.startswith(b"HTTP/1.1 413 ")
    assert b"at most 1000000 bytes" in long


def test_a_wrong_token_is_refused_before_the_body_comes(port: int, token: str) -> None:
    answer = speak(port, head("guess", "PUT /echo", "Content-Length: 1000000"))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: Bearer" in answer
    assert token.encode() not in answer


@pytest.mark.parametrize(("text", "status"), [
    (b"nonsense\r\n\r\n", b"400"), (b"GET / HTTP/1.1\r\nA: " + b"x" * 2 * proxy.MOST_HEAD, b"431")])
def test_what_is_no_http_is_refused(port: int, token: str, text: bytes, status: bytes) -> None:
    assert speak(port, text).startswith(b"HTTP/1.1 " + status), token


def test_silent_connections_make_room_for_one_that_asks(port: int, token: str) -> None:
    with ExitStack() as stack:
        for _ in range(proxy.MOST * 4):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        assert ask(port, f"Bearer {token}")[0] == 200


def test_refused_ones_that_do_not_go_make_room_as_well(port: int, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "LINGER", 60.0)
    with ExitStack() as stack:
        for _ in range(proxy.MOST):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            sock.sendall(head("guess"))
            assert sock.recv(65536).startswith(b"HTTP/1.1 401 ")
        assert ask(port, f"Bearer {token}")[0] == 200


def test_a_controller_that_does_not_answer_is_reported(
        port: int, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "api.sock").unlink()
    assert ask(port, f"Bearer {token}")[0] == 502
    with sockets.listener(str(tmp_path / "api.sock")):      # takes connections and says nothing
        monkeypatch.setattr(proxy, "ANSWER", 0.2)
        status, kind, body = ask(port, f"Bearer {token}")
    assert (status, kind) == (504, "application/problem+json")
    assert "has not answered" in str(body["detail"])
