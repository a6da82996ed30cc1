"""Management commands against a daemon that is a socket and a thread."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from topologies.model.errors import HostError
from topologies.model.inventory import SwitchProcess
from topologies.switches.ovs.management import unixctl
from topologies.switches.ovs.management.process import control_socket

Answer = Callable[[dict[str, object]], bytes]


@pytest.fixture
def process(tmp_path: Path) -> SwitchProcess:
    return SwitchProcess(name="leaf1", directory=str(tmp_path), pid=1)


def serve(process: SwitchProcess, answer: Answer) -> None:
    """Answer one request, in pieces of five bytes, and close."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(control_socket(process))
    listener.listen()

    def once() -> None:
        with listener, listener.accept()[0] as client:
            data = answer(json.loads(client.recv(65536)))
            for at in range(0, len(data), 5):
                client.sendall(data[at:at + 5])

    threading.Thread(target=once, daemon=True).start()


def test_a_command_goes_out_with_its_words_and_its_answer_comes_back_whole(process: SwitchProcess) -> None:
    serve(process, lambda asked: json.dumps({"id": asked["id"], "error": None, "result": repr(
        [asked["method"], asked["params"]])}).encode())
    assert unixctl.call(process, "tnl/neigh/set", "leaf1", "10.255.0.2") == \
        "['tnl/neigh/set', ['leaf1', '10.255.0.2']]"


@pytest.mark.parametrize(("answer", "reported"), [
    (b'{"id":0,"error":"no such bridge\\n","result":null}',
     "switch leaf1: expected fdb/show to succeed; found no such bridge"),
    (b'{"id":0,', "switch leaf1: expected its vswitchd to answer fdb/show; found it closed the connection"),
])
def test_a_refusal_and_half_an_answer_are_reported_in_words(process: SwitchProcess, answer: bytes,
                                                            reported: str) -> None:
    serve(process, lambda _: answer)
    with pytest.raises(HostError) as error:
        unixctl.call(process, "fdb/show")
    assert str(error.value).splitlines()[0] == reported


def test_a_daemon_that_is_not_there_is_reported_with_the_place_of_its_logs(process: SwitchProcess) -> None:
    with pytest.raises(HostError, match="its logs are in"):
        unixctl.call(process, "version")
