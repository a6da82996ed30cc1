"""What the benchmarks of the fabric engine compute, without an engine."""

from __future__ import annotations

import subprocess

import pytest

from tests.bench.engine_capacity import bulk_limit
from tests.bench.engine_ecn import BIN, KMAX, KMIN, PMAX, RATE, Seen, by_depth, depths, law
from tests.bench.engine_fabric import Shape, config_lines, rule_lines
from tests.bench.engine_lone_frame import one_way
from tests.bench.generator import program

FRAME = 1000
TIME = FRAME * 8_000_000_000 // RATE        # ns that a frame takes


def seen(at: int, number: int, port: int, is_marked: bool = False) -> Seen:
    return Seen(at, FRAME, (port, number), is_marked)


def test_a_frame_waits_from_its_last_bit_until_it_begins_to_be_sent_and_counts_itself() -> None:
    # two hosts send a frame at 0 and one each right after: all are at the switch at TIME, TIME, 2 TIME, 2 TIME
    way_in, other = [seen(0, 0, 1), seen(TIME, 1, 1)], [seen(0, 0, 2), seen(TIME, 1, 2)]
    way_out = [seen(TIME, 0, 1), seen(2 * TIME, 0, 2), seen(3 * TIME, 1, 1), seen(4 * TIME, 1, 2, is_marked=True)]
    frames = {"a->s": way_in, "b->s": other, "s->c": way_out}
    assert depths(frames) == [(FRAME, False), (FRAME, False), (FRAME, False), (2 * FRAME, True)]


def test_marks_of_a_bin_are_compared_with_the_sum_of_the_laws_probabilities() -> None:
    way_out = [seen(TIME, 0, 1, is_marked=True)]
    (only,) = by_depth({"a->s": [seen(0, 0, 1)], "s->c": way_out})
    assert (only.start, only.frames, only.marked, only.expected) == (0, 1, 1, 0.0)
    assert not only.is_right        # below kmin nothing may be marked


def test_the_law_of_marks_rises_from_kmin_to_kmax_and_is_certain_above() -> None:
    assert [law(KMIN), law(KMAX), law(KMAX + 1)] == [0.0, PMAX, 1.0]
    assert law((KMIN + KMAX) // 2) == pytest.approx(PMAX / 2)
    assert KMIN % BIN == KMAX % BIN == 0


def test_a_lone_frame_takes_its_time_on_each_link_and_each_delay() -> None:
    shape = Shape(rate=10_000_000, uplink=20_000_000, delay=1000, fabric_delay=5000)
    assert one_way(shape, 1000) == pytest.approx(2 * (800 + 400) + 2 * (1 + 5))


def test_the_bulk_limit_is_the_payload_of_full_frames() -> None:
    assert bulk_limit(Shape(rate=1514)) == 1448


def test_a_configuration_names_nodes_before_links_and_rules_lead_to_every_host() -> None:
    shape = Shape(leaves=2, spines=2, per_leaf=1)
    lines = list(config_lines(shape, {"h1": "n1", "h2": "n2"}))
    assert [line.split()[0] for line in lines] == ["option", *["switch"] * 4, *["host"] * 2, *["link"] * 6,
                                                   *["queue"] * 10]
    assert len(shape.directions) == 12
    assert "rule spine2 2 table=0 priority=10 match eth_type=0x0800,ipv4_dst=10.9.1.0/24 do output:2" in list(
        rule_lines(shape))


@pytest.mark.parametrize(("line", "said"), [
    ("tcp a\n", "expected KIND NAME FROM TO ADDRESS PORT"), ("sctp a b c 10.0.0.1 1\n", "expected tcp, udp or echo"),
    ("udp a b c 10.0.0.1 1 size=9\n", "expected a size from 58"), ("udp a b c 10.0.0.1 1 speed=9\n", "found speed")])
def test_the_generator_says_what_is_wrong_with_a_flow(line: str, said: str) -> None:
    done = subprocess.run([str(program()), "1", "0", "0"], input=line, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
