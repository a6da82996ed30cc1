"""Switches of the engine without a fabric: commands to `pipeline_run`, and what it says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.fabricd.build import CHECKED, pipeline_program


class Out(NamedTuple):
    """A frame that left by a port without a cable."""

    switch: str
    port: int
    frame: bytes


class PacketIn(NamedTuple):
    switch: str
    port: int
    reason: int
    table: int
    cookie: int
    length: int
    frame: bytes


class Said(NamedTuple):
    """What came of a command: its answer, frames that left, those to the controller; (switch, port) of crossings,
    and of cables that were down."""

    answer: str
    out: list[Out]
    events: list[PacketIn]
    crossed: list[tuple[str, int]]
    dead: list[tuple[str, int]]

    @property
    def ports(self) -> list[int]:
        return [o.port for o in self.out]


class Pipelines:
    """Any number of switches. A command that is refused raises AssertionError, unless it is asked by `say`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def say(self, line: str) -> Said:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        said = Said("", [], [], [], [])
        for reply in self._process.stdout:
            match reply.split():
                case ["out", switch, port, *frame]:
                    said.out.append(Out(switch, int(port), bytes.fromhex("".join(frame))))
                case ["cross", switch, port]:
                    said.crossed.append((switch, int(port)))
                case ["dead", switch, port]:
                    said.dead.append((switch, int(port)))
                case ["event", "packet-in", switch, *numbers, frame]:
                    said.events.append(PacketIn(switch, *map(int, numbers), bytes.fromhex(frame)))
                case _:
                    return said._replace(answer=reply.rstrip("\n"))
        raise AssertionError(f"pipeline_run ended at: {line[:500]}")

    def do(self, *lines: str) -> Said:
        """Each has to succeed; what the last one says."""
        said = Said("", [], [], [], [])
        for line in lines:
            said = self.say(line)
            assert said.answer.split()[0] == "ok", (line[:500], said.answer)
        return said

    def refused(self, line: str) -> str:
        """The sentence with which a command is refused."""
        kind, _, sentence = self.say(line).answer.partition(" ")
        assert kind == "error", line
        return sentence

    def switch(self, name: str, *ports: int) -> None:
        self.do(f"switch {name}", *(f"port {name} {port}" for port in ports))

    def frame(self, switch: str, port: int, frame: bytes, decoded: bool = False) -> Said:
        return self.do(f"{'decoded' if decoded else 'frame'} {switch} {port} {frame.hex()}")

    def counts(self, switch: str) -> dict[str, int]:
        words = (word.split("=") for word in self.do(f"counts {switch}").answer.split()[1:])
        return {name: int(value) for name, value in words}

    def rules(self, switch: str) -> dict[int, tuple[int, int]]:
        """ID -> packets, bytes."""
        words = (word.split(":") for word in self.do(f"rules {switch}").answer.split()[1:])
        return {int(number): (int(packets), int(octets)) for number, packets, octets in words}

    def groups(self, switch: str) -> dict[int, tuple[int, int, dict[int, int]]]:
        """ID -> packets, bytes, bucket -> packets."""
        words = (word.split(":") for word in self.do(f"groups {switch}").answer.split()[1:])
        return {int(number): (int(packets), int(octets), {
            int(b): int(n) for b, n in (bucket.split("=") for bucket in buckets.split(","))})
            for number, packets, octets, buckets in words}


@contextmanager
def pipelines(flags: tuple[str, ...] = CHECKED) -> Iterator[Pipelines]:
    """A process with no switch yet. At its end it has lost no packet and no memory."""
    program: Path = pipeline_program("pipeline_run", flags)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Pipelines(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0
