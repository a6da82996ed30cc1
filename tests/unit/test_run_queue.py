"""Waiting for a processor: what the kernel counts, and what of it can be."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from topologies.proof.cpu import Machine, shares
from topologies.proof.run_queue import Counts, Process, Thread

MS = 1_000_000      # ns


def counts(at: float, asleep: bool, wait_ms: float, times: int, run_ms: float = 0.0) -> Counts:
    return Counts(at, at, asleep, int(run_ms * MS), int(wait_ms * MS), times)


def thread(*looks: Counts) -> Thread:
    found = Thread(since=looks[0].began)
    found.look(looks[0])
    found.begin()
    for look in looks[1:]:
        found.look(look)
    return found


def test_a_sleep_of_twenty_seconds_that_the_kernel_counts_as_waiting_is_no_measurement() -> None:
    found = thread(counts(0.0, True, 0, 5), *(counts(t / 20, True, 0, 5) for t in range(1, 400)),
                   counts(20.0, True, 20_010, 6))
    assert found.waited == 0
    assert found.claimed == 20_010 * MS
    assert 50 * MS <= found.at_most < 60 * MS, "it was asleep 50 ms before: that is the longest that it can have waited"


def test_a_thread_that_waited_for_two_seconds_is_counted_in_full_when_it_runs_at_last() -> None:
    found = thread(counts(0.0, True, 0, 5), counts(0.05, False, 0, 5), counts(1.0, False, 0, 5),
                   counts(2.0, False, 1_960, 6))
    assert (found.waited, found.claimed) == (1_960 * MS, 0)


def test_a_thread_that_never_sleeps_and_waits_half_of_the_time_is_counted_in_full() -> None:
    looks = [counts(n * 0.05, False, 25 * n, n, run_ms=25 * n) for n in range(21)]
    found = thread(*looks)
    assert (found.waited, found.at_most, found.claimed) == (500 * MS, 500 * MS, 0)


def test_a_wait_longer_than_the_time_since_the_thread_last_ran_cannot_be() -> None:
    found = thread(counts(0.0, False, 0, 1), counts(0.05, False, 1, 9), counts(0.10, False, 2, 12),
                   counts(0.15, False, 702, 13))
    assert found.waited == 2 * MS
    assert found.claimed == 700 * MS


def test_a_process_that_shares_its_processor_waits_and_the_count_is_believed() -> None:
    cpu = min(os.sched_getaffinity(0))
    spin = f"import os\nos.sched_setaffinity(0, {{{cpu}}})\nprint(flush=True)\nwhile True: pass"
    pair = [subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for process in pair:
            process.stdout.readline()       # type: ignore[union-attr]
        watched = Process(pair[0].pid)
        for _ in range(20):
            time.sleep(0.05)
            watched.look()
        found = watched.step()
        watched.close()
    finally:
        for process in pair:
            process.kill()
            process.communicate()
    assert found is not None
    assert found.runq > 0.2, "two that never sleep have half a processor each, or less beside others"
    assert found.at_most == pytest.approx(found.runq)
    assert found.claimed == 0


def test_what_a_process_did_before_it_was_watched_and_after_it_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    watched = Process(process.pid)
    process.communicate(b"")
    watched.step()      # its last moments, if they were seen
    assert watched.step() is None
    watched.close()


def test_idle_time_is_a_share_of_wall_time_not_of_the_columns() -> None:
    """The columns of this second sum to 126 of 200 ticks: the tick missed the softirqs."""
    before = [1000, 0, 500, 9000, 10, 0, 30, 0]
    after = [1005, 0, 503, 9117, 11, 0, 30, 0]
    found = shares(before, after, capacity=200)
    assert found.idle == pytest.approx(118 / 200)
    assert sum(after) - sum(before) == 126      # 94 % of which would be idle


def test_the_machine_of_this_test_has_shares_that_can_be() -> None:
    machine = Machine()
    time.sleep(0.5)
    found = machine.step()
    assert -0.05 <= found.idle <= 1.05
    assert -0.05 <= found.steal <= 1.05
