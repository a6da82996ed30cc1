"""The client of the engine's control socket, against a made-up engine."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from topologies.model.errors import HostError
from topologies.switches.engine.client import EngineClient


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An engine that answers `ok WORDS`, `error WORDS` to what begins with no, and hangs up at bye."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "engine.sock"))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with listener, connection, connection.makefile("rb") as lines:
            for line in lines:
                if line.startswith(b"bye"):
                    return
                connection.sendall((b"error " if line.startswith(b"no") else b"ok ") + line)

    threading.Thread(target=serve, daemon=True).start()
    return tmp_path / "engine.sock"


def test_answers_come_in_the_order_of_the_commands(path: Path) -> None:
    with EngineClient(path) as engine:
        commands = [f"command {n}" for n in range(2000)]
        assert engine.ask_all(commands) == commands


def test_a_refusal_says_the_command_and_the_engines_sentence(path: Path) -> None:
    with EngineClient(path) as engine:
        with pytest.raises(HostError, match=r"fabric engine: no way: .* found no way"):
            engine.ask("no way")
        assert engine.ask("and on") == "and on"


def test_an_engine_that_is_gone_is_an_error_with_its_place(path: Path) -> None:
    with EngineClient(path) as engine, pytest.raises(HostError, match=r"engine\.sock"):
        engine.ask("bye")
    with pytest.raises(HostError, match="No such file"):
        EngineClient(path.with_name("nowhere.sock"))
