"""The API over TCP: on loopback and nowhere else, and only for those who have the token."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from controller.tcp import TOKEN_FILE, TokenGate, listener, loopback, new_token
from topologies.errors import LabError


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def token(tmp_path: Path, port: int) -> Iterator[str]:
    """Of an API with one route that counts how often it was reached."""
    api, token = FastAPI(), new_token(tmp_path)
    reached: list[int] = []

    @api.get("/health")
    def health() -> dict[str, int]:
        reached.append(1)
        return {"reached": len(reached)}

    server = uvicorn.Server(uvicorn.Config(TokenGate(api, token), log_level="error"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener(f"127.0.0.1:{port}")]}, daemon=True).start()
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


def test_a_port_that_somebody_has_is_told(port: int) -> None:
    with listener(f"127.0.0.1:{port}"), pytest.raises(LabError, match=r"expected a free port; found Address already"):
        listener(f"127.0.0.1:{port}")
