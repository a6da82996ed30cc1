"""A lab whose API listens on TCP as well: the token of its directory opens it, and nothing else does."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path

import pytest

from controller.tcp import TOKEN_FILE
from scenarios.lab import lab
from topologies.clos import LeafSpine

pytestmark = pytest.mark.lab


def test_the_token_in_the_labs_directory_opens_the_api_and_goes_with_the_lab() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with lab(LeafSpine(leaves=1, spines=1, hosts_per_leaf=1, probes=False), listen=f"127.0.0.1:{port}") as it:
        token = Path(it.inventory.directory) / TOKEN_FILE
        assert token.stat().st_mode & 0o777 == 0o600
        for value, status in ((token.read_text().strip(), 200), ("guess", 401)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/health", headers={"Authorization": f"Bearer {value}"})
            reply = connection.getresponse()
            body = json.loads(reply.read())
            connection.close()
            assert reply.status == status, body
            assert body.get("converged", False) == (status == 200)
        assert it.controller.health()["converged"], "the socket wants none"
    assert not token.exists()
