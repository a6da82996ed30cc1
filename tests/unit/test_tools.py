"""Tries of a tool call, with links and timers that the test moves by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from topologies.model.expansion import expand
from topologies.model.load import load_fabric
from traffic.inference.agent import Call, Task
from traffic.inference.links import Links
from traffic.inference.plan import serving_of
from traffic.inference.tools import ToolCall, Tools
from traffic.runtime.timers import Timers
from traffic.workloads.specs import ServingSpec

Over = Callable[[], None]
CALL = Call(id=3, kind="tool", tool="search", servers=("h7", "h8"), ask=100, answer=5000, service=0.2)
TASK = Task(id=0, at=0.0, user="ext1", agent="h2", ask=10, answer=10, calls=(CALL,))


class Clock:
    """Collects what is to be called later; `turn` calls it, in the order in which it was asked for."""

    def __init__(self) -> None:
        self.later: list[Over] = []

    def at(self, _when: float, call: Over) -> None:
        self.later.append(call)

    def turn(self) -> None:
        due, self.later = self.later, []
        for call in due:
            call()


@dataclass
class Lease:
    dst: str
    broken: Over
    refused: bool = False
    sent: list[tuple[int, Over]] = field(default_factory=list)
    end: str = ""

    def ask(self, size: int, over: Over) -> None:
        self.sent.append((size, over))

    answer = ask

    def release(self) -> None:
        self.end = self.end or "released"

    def abandon(self) -> None:
        self.end = self.end or "abandoned"


class Wires:
    def __init__(self) -> None:
        self.leases: list[Lease] = []

    def lease(self, _src: str, dst: str, broken: Over) -> Lease:
        self.leases.append(Lease(dst, broken))
        return self.leases[-1]

    def refused(self, _src: str, dst: str, broken: Over) -> Lease:
        self.leases.append(Lease(dst, broken, refused=True))
        return self.leases[-1]


@dataclass
class Bench:
    clock: Clock
    wires: Wires
    tools: Tools
    ended: list[ToolCall] = field(default_factory=list)

    def call(self) -> ToolCall:
        prepared = self.tools.prepare(CALL, TASK, 0.0, self.ended.append)
        prepared.start()
        return prepared


@pytest.fixture
def bench() -> Bench:
    spec = ServingSpec.model_validate({"kind": "serving", "rate": 1, "clients": ["ext1"], "agent": {
        "hosts": ["h2"], "tools": {"search": {"hosts": ["h7", "h8"]}}, "tool_retries": 1}})
    serving = serving_of(spec, expand(load_fabric("border")), "crew", 1)
    clock, wires = Clock(), Wires()
    return Bench(clock, wires, Tools(serving, cast(Links, wires), cast(Timers, clock)))


def arrive(lease: Lease) -> None:
    """The last message is at its other end."""
    lease.sent[-1][1]()


def record(call: ToolCall) -> dict[str, Any]:
    reported = call.record("crew", "main", 0.0)
    return {name: getattr(reported, name) for name in ("status", "tries", "server", "response_bytes")}


def test_a_call_goes_there_takes_its_time_and_comes_back(bench: Bench) -> None:
    call = bench.call()
    (lease,) = bench.wires.leases
    assert lease.sent[0][0] == 100
    arrive(lease)
    assert len(lease.sent) == 1, "the server works"
    bench.clock.later.pop()()       # its time, asked for after the time-out
    assert lease.sent[1][0] == 5000
    arrive(lease)
    assert record(call) == {"status": "ok", "tries": 1, "server": "h7", "response_bytes": 5000}
    assert (bench.ended, lease.end) == ([call], "released")
    bench.clock.turn()              # the time-out comes too late
    assert (len(bench.wires.leases), call.status) == (1, "ok")


def test_a_try_that_times_out_is_followed_by_one_at_the_next_server_and_no_more_than_that(bench: Bench) -> None:
    call = bench.call()
    bench.clock.turn()
    assert bench.wires.leases[0].end == "abandoned"
    bench.clock.turn()
    assert [x.dst for x in bench.wires.leases] == ["h7", "h8"]
    arrive(bench.wires.leases[0])   # what the first server got is nobody's any more
    assert call.arrived is None
    bench.clock.turn()
    assert record(call) == {"status": "timeout", "tries": 2, "server": "h8", "response_bytes": 0}
    assert bench.ended == [call]


def test_a_server_that_has_died_refuses(bench: Bench) -> None:
    bench.tools.kill("h7")
    call = bench.call()
    assert bench.wires.leases[0].refused
    bench.wires.leases[0].broken()
    bench.clock.later.pop()()       # the pause is over
    second = bench.wires.leases[1]
    assert (second.dst, second.refused) == ("h8", False)
    second.broken()
    assert record(call)["status"] == "failed"


def test_a_server_that_dies_in_the_pause_after_a_failure_costs_no_further_try(bench: Bench) -> None:
    call = bench.call()
    bench.wires.leases[0].broken()
    bench.tools.kill("h7")
    assert (call.tries, call.status) == (1, "")
    bench.clock.turn()
    assert [x.dst for x in bench.wires.leases] == ["h7", "h8"]
    assert call.tries == 2


def test_a_server_that_dies_at_work_breaks_its_calls(bench: Bench) -> None:
    call = bench.call()
    arrive(bench.wires.leases[0])
    bench.tools.kill("h8")
    assert call.tries == 1
    bench.tools.kill("h7")
    assert bench.wires.leases[0].end == "abandoned"
    bench.clock.later.pop()()
    assert bench.wires.leases[1].refused, "the next one is dead as well"


def test_what_is_cancelled_in_a_pause_is_not_tried_again(bench: Bench) -> None:
    call = bench.call()
    bench.wires.leases[0].broken()
    call.cancel()
    bench.clock.turn()
    assert (len(bench.wires.leases), call.status, bench.ended) == (1, "cancelled", [call])
