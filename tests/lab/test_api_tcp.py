"""A lab whose API listens on TCP as well: the token of its directory opens it, and nothing else does."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from controller.northbound.tcp import TOKEN_FILE
from scenarios.run.lab import Lab, lab
from topologies.clos import LeafSpine
from topologies.lab.clean import clean
from topologies.lab.journal import Journal, Process, all_labs
from topologies.links.htb.wires import set_state
from topologies.model.errors import LabError

pytestmark = pytest.mark.lab
SILENT = 1000
SMALL = LeafSpine(leaves=1, spines=1, hosts_per_leaf=1, probes=False)
HOLDER = """
import sys
from scenarios.run.lab import lab
from topologies.clos import LeafSpine
with lab(LeafSpine(leaves=1, spines=1, hosts_per_leaf=1, probes=False), listen=sys.argv[1]):
    print("up", flush=True)
    sys.stdin.read()
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may have as many descriptors as the test holds connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * SILENT)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def proxy_of(journal: Journal) -> Process:
    (found,) = [p for p in journal.processes if p.what == "the API over TCP"]
    return found


def test_the_token_in_the_labs_directory_opens_the_api_and_goes_with_the_lab() -> None:
    port = free_port()
    with lab(SMALL, listen=f"127.0.0.1:{port}") as it:
        process = proxy_of(Journal(Path(it.inventory.directory)))
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
    assert not process.alive


def ask(port: int, it: Lab) -> dict[str, Any]:
    token = (Path(it.inventory.directory) / TOKEN_FILE).read_text().strip()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/health", headers={"Authorization": f"Bearer {token}"})
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


@pytest.mark.usefixtures("many_files")
def test_a_thousand_silent_connections_take_nothing_from_the_switches() -> None:
    port = free_port()
    with lab(SMALL, listen=f"127.0.0.1:{port}") as it, ExitStack() as silent:
        before = descriptors(it.process.pid)
        for _ in range(SILENT):
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        assert descriptors(it.process.pid) < before + SILENT / 100
        set_state(it.inventory, "leaf1-spine1", False)
        assert it.controller.wait_converged(30, frozenset({"leaf1-spine1"}))["connected"] == 2
        assert ask(port, it)["down"] == ["leaf1-spine1"], "who has the token is served over TCP as well"


def test_a_port_that_somebody_has_is_reported_before_anything_is_made() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        where, labs = f"127.0.0.1:{sock.getsockname()[1]}", [j.lab for j in all_labs()]
        with pytest.raises(LabError, match="expected a free port"), lab(SMALL, listen=where):
            pass
        assert [j.lab for j in all_labs()] == labs


def test_the_proxy_of_a_lab_that_was_killed_goes_with_it() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, f"127.0.0.1:{free_port()}"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "up\n"
        journal = next(j for j in all_labs() if j.owner is not None and j.owner.pid == holder.pid)
        process = proxy_of(journal)
        assert process.alive
        os.kill(process.pid, signal.SIGSTOP)        # so that the kernel's own signal does not end it
        holder.kill()
    assert process.alive
    clean()
    assert not process.alive
    assert not journal.directory.exists()
