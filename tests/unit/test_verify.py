"""What the reachability proof makes of what it heard and counted."""

from __future__ import annotations

import socket
import struct
from collections import Counter

import pytest

from controller.verify.reachability import Cell
from scenarios.run.verify import HEADERS, Verification, udp_frame

CELLS = (Cell("h1", "h2", "10.1.0.3", "m", "h2", "same subnet"),
         Cell("h1", "h3", "10.2.0.2", "m", "", "h3 is in no VPC", "no-route:a/x"),
         Cell("h2", "h3", "10.2.0.2", "m", "", "h3 is in no VPC", "no-route:a/x"),
         Cell("h1", "h4", "10.1.0.2", "m", "h2", "10.1.0.2 is h2 in the eyes of a"))
LEAVES = {"h1": "leaf1", "h2": "leaf2", "h3": "leaf1", "h4": "leaf1"}
HEARD = {0: {"h2"}, 3: {"h2"}}
COUNTED = Counter({("leaf1", "no-route:a/x"): 1, ("leaf2", "no-route:a/x"): 1})


def test_what_arrived_where_it_should_and_was_counted_where_it_should_is_right() -> None:
    assert Verification(CELLS, LEAVES, HEARD, COUNTED).is_right


@pytest.mark.parametrize("heard", [{0: {"h2"}}, {0: {"h2"}, 3: {"h4"}}])
def test_what_its_receiver_has_not_heard_is_a_false_deny(heard: dict[int, set[str]]) -> None:
    found = Verification(CELLS, LEAVES, heard, COUNTED)
    assert found.false_denies() == [CELLS[3]]
    assert not found.is_right


@pytest.mark.parametrize(("more", "wrong"), [
    ({1: {"h3"}}, [(CELLS[1], "h3")]), ({1: {"h2", "h4"}}, [(CELLS[1], "h2"), (CELLS[1], "h4")]),
    ({0: {"h2", "h3"}}, [(CELLS[0], "h3")]), ({3: {"h2", "h4"}}, [(CELLS[3], "h4")])])
def test_whoever_else_has_heard_it_is_a_false_allow(
        more: dict[int, set[str]], wrong: list[tuple[Cell, str]]) -> None:
    found = Verification(CELLS, LEAVES, HEARD | more, COUNTED)
    assert found.false_allows() == wrong
    assert not found.is_right


def test_a_denied_probe_that_the_named_rule_at_the_senders_leaf_has_not_counted_is_wrong() -> None:
    elsewhere = Counter({("leaf1", "no-route:a/x"): 2, ("leaf2", "unknown-mac"): 1})
    found = Verification(CELLS, LEAVES, HEARD, elsewhere)
    assert found.uncounted() == {("leaf2", "no-route:a/x"): (1, 0)}
    assert not found.is_right


def test_a_forged_frame_has_right_headers() -> None:
    frame = udp_frame("02:00:00:00:00:01", "02:00:00:00:00:02", "10.1.0.2", "10.2.0.2", b"payload")
    assert frame[:12] == bytes.fromhex("020000000002" "020000000001")
    words = struct.unpack("!10H", frame[14:34])
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF, "the sum with the checksum is all ones (RFC 1071)"
    assert words[1] == len(frame) - 14
    assert (socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])) == ("10.1.0.2", "10.2.0.2")
    assert frame[HEADERS:] == b"payload"
