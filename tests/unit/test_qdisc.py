"""Parsing of the kernel's answers, on messages made by hand; tests/lab/test_sampler.py asks a real kernel."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import cast

import pytest

from topologies.links.htb import qdisc
from topologies.model.errors import HostError


class Kernel:
    """A netlink socket that answers with what the test has prepared."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.send: Callable[[bytes], None] = self.asked.append

    def recv(self, _size: int) -> bytes:
        return self.answers.pop(0)


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def message(kind: int, body: bytes, flags: int = 2) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body


def tcmsg(ifindex: int, handle: int, parent: int) -> bytes:
    return struct.pack("=BxxxiIII", 0, ifindex, handle, parent, 0)


def fifo(ifindex: int, handle: int, packets64: int | None = None, flags: int = 2) -> bytes:
    stats = attribute(qdisc.TCA_STATS_BASIC, struct.pack("=QI", 5000, 4)) + attribute(
        qdisc.TCA_STATS_QUEUE, struct.pack("=IIIII", 2, 3028, 7, 0, 9))
    if packets64 is not None:
        stats += attribute(qdisc.TCA_STATS_PKT64, struct.pack("=Q", packets64))
    body = tcmsg(ifindex, handle, 0x00010010) + attribute(qdisc.TCA_KIND, b"bfifo\0")
    body += attribute(qdisc.TCA_OPTIONS, struct.pack("=I", 60000)) + attribute(qdisc.TCA_STATS2 | 0x8000, stats)
    return message(qdisc.RTM_NEWQDISC, body, flags)


DONE = message(qdisc.NLMSG_DONE, struct.pack("=i", 0))


def ask(kernel: Kernel, handle: int = 0) -> list[qdisc.Qdisc]:
    return qdisc.dump(cast("qdisc.socket.socket", kernel), handle)


def test_a_queue_is_read_with_its_counters_and_its_limit() -> None:
    assert ask(Kernel(fifo(3, qdisc.TRAFFIC_QUEUE) + DONE)) == [
        qdisc.Qdisc(3, "bfifo", 0x0010_0000, 0x0001_0010, 5000, 4, 7, 3028, 2, 60000)]


def test_packets_that_need_64_bits_are_read_in_full() -> None:
    assert ask(Kernel(fifo(3, qdisc.TRAFFIC_QUEUE, packets64=2**32 + 4) + DONE))[0].packets == 2**32 + 4


def test_answers_come_in_parts_and_a_handle_picks_among_them() -> None:
    parts = (fifo(1, qdisc.TRAFFIC_QUEUE) + fifo(1, qdisc.SENTINEL_QUEUE), fifo(2, qdisc.TRAFFIC_QUEUE), DONE)
    assert [q.ifindex for q in ask(Kernel(*parts))] == [1, 1, 2]
    assert [q.ifindex for q in ask(Kernel(*parts), qdisc.SENTINEL_QUEUE)] == [1]


def test_a_dump_that_a_change_ran_into_is_done_again() -> None:
    torn = fifo(1, qdisc.TRAFFIC_QUEUE, flags=2 | qdisc.NLM_F_DUMP_INTR) + DONE
    kernel = Kernel(torn, fifo(2, qdisc.TRAFFIC_QUEUE) + DONE)
    assert [q.ifindex for q in ask(kernel)] == [2]
    assert len(kernel.asked) == 2
    with pytest.raises(HostError, match="changes during 5 readings"):
        ask(Kernel(*[torn] * 5))


def test_a_refusal_of_the_kernel_is_reported() -> None:
    with pytest.raises(HostError, match="Operation not permitted"):
        ask(Kernel(message(qdisc.NLMSG_ERROR, struct.pack("=i", -1) + bytes(16))))


def test_a_class_is_read_in_bits_per_second_in_32_and_64_bits() -> None:
    def htb(rate: int, more: bytes = b"") -> bytes:
        spec = struct.pack("=BBHhHI", 0, 0, 0, 0, 0, rate)
        options = attribute(qdisc.TCA_HTB_PARMS, spec + spec + bytes(20)) + more
        body = tcmsg(3, qdisc.TRAFFIC_CLASS, 0x00010000) + attribute(qdisc.TCA_KIND, b"htb\0")
        return message(qdisc.RTM_NEWTCLASS, body + attribute(qdisc.TCA_OPTIONS, options))

    def classes(answer: bytes) -> list[tuple[int, int, int]]:
        sock = cast("qdisc.socket.socket", Kernel(answer + DONE))
        return [(c.handle, c.rate, c.ceil) for c in qdisc.classes(sock, 3)]

    assert classes(htb(312_500)) == [(qdisc.TRAFFIC_CLASS, 2_500_000, 2_500_000)]
    big = attribute(qdisc.TCA_HTB_RATE64, struct.pack("=Q", 10**10)) + attribute(
        qdisc.TCA_HTB_CEIL64, struct.pack("=Q", 2 * 10**10))
    assert classes(htb(2**32 - 1, big)) == [(qdisc.TRAFFIC_CLASS, 8 * 10**10, 16 * 10**10)]


def test_what_a_netem_is_set_to_is_read_in_seconds_and_shares() -> None:
    def netem(*, loss: int = 0, more: bytes = b"") -> bytes:
        options = struct.pack("=IIIIII", 15_625, 100_000, loss, 1, 2**31, 3125) + more
        options += attribute(qdisc.TCA_NETEM_REORDER, struct.pack("=II", 2**30, 0))
        options += attribute(qdisc.TCA_NETEM_CORRUPT, struct.pack("=II", 2**29, 0))
        options += attribute(qdisc.TCA_NETEM_RATE, struct.pack("=IiIi", 125_000, 0, 0, 0))
        options += attribute(qdisc.TCA_NETEM_LATENCY64, struct.pack("=q", 1_000_000))
        options += attribute(qdisc.TCA_NETEM_JITTER64, struct.pack("=q", 200_000))
        body = tcmsg(3, qdisc.IMPAIRMENT, qdisc.TRAFFIC_CLASS) + attribute(qdisc.TCA_KIND, b"netem\0")
        return message(qdisc.RTM_NEWQDISC, body + attribute(qdisc.TCA_OPTIONS, options))

    bursts = attribute(qdisc.TCA_NETEM_LOSS, attribute(2, struct.pack("=IIII", 2**28, 2**31, 0, 0)))
    kernel = Kernel(fifo(3, qdisc.TRAFFIC_QUEUE) + netem(loss=2**27) + netem(more=bursts) + DONE)
    plain, model = qdisc.impairments(cast("qdisc.socket.socket", kernel))
    assert (plain.ifindex, plain.delay, plain.jitter, plain.rate, plain.limit) == (3, 1e-3, 2e-4, 1e6, 100_000)
    assert (plain.loss, plain.reorder, plain.duplicate, plain.corrupt) == pytest.approx((1 / 32, 1 / 4, 1 / 2, 1 / 8))
    assert model.loss == pytest.approx(1 / 16)
