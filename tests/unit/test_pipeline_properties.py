"""Properties of the engine's pipeline over drawn rule sets and frames."""

from __future__ import annotations

import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.fabricd.drawn_rules import (
    ADDRESSES,
    BELOW,
    MACS,
    NEIGHBOURS,
    PORTS,
    VTEP_MAC,
    VTEPS,
    Group,
    Rule,
    action,
    conditions,
    packets,
    rule_sets,
    words,
)
from tests.fabricd.driver import Pipelines, pipelines
from tests.fabricd.frames import ICMP, IPV4, TCP, UDP, checksums_hold, frame, mac

PROTOCOLS = {"udp": UDP, "tcp": TCP, "icmp": ICMP}


def load(engine: Pipelines, rules: list[Rule], groups: list[Group]) -> None:
    engine.switch("s", *PORTS)
    engine.do(*(f"vtep s {address} {VTEP_MAC}" for address in VTEPS),
              *(f"neighbour s {address} {far}" for address, far in NEIGHBOURS.items()),
              *(g.words("s") for g in groups), *(r.words("s") for r in rules))


def fields_of(packet: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of a whole IPv4 packet of a drawn protocol."""
    return st.fixed_dictionaries({
        "eth_src": st.sampled_from(MACS), "eth_dst": st.sampled_from(MACS), "ipv4_src": st.sampled_from(ADDRESSES),
        "ipv4_dst": st.sampled_from(ADDRESSES), "ip_dscp": st.sampled_from([0, 10]), "ip_ecn": st.sampled_from([0, 1]),
        "nw_ttl": st.sampled_from([2, 64]), "tcp_src": st.integers(0, 65535), "tcp_dst": st.sampled_from([80, 81]),
        "udp_src": st.integers(0, 65535), "udp_dst": st.sampled_from([80, 4788]),
        "icmpv4_type": st.sampled_from([0, 8]), "icmpv4_code": st.sampled_from([0, 1]),
    }).map(lambda drawn: drawn | packet)


def fits(wanted: str, found: object) -> bool:
    """Whether a value of a match, maybe with a mask, is that of the packet. Worked out on numbers."""
    def number(text: str) -> int:
        if ":" in text:
            return int.from_bytes(mac(text), "big")
        return int.from_bytes(socket.inet_aton(text), "big") if "." in text else int(text, 0)
    value, _, mask = wanted.partition("/")
    bits = (1 << 64) - 1 if not mask else number(mask) if ":" in mask else 2**32 - 2**(32 - int(mask))
    return number(value) & bits == number(str(found)) & bits


@examples(60)
@given(data=st.data(), kind=st.sampled_from(list(PROTOCOLS)))
def test_the_rule_that_matches_is_the_one_of_the_highest_priority_that_fits(data: st.DataObject, kind: str) -> None:
    matches = data.draw(st.lists(st.sampled_from(list(BELOW)).flatmap(conditions), min_size=1, max_size=25))
    gone = data.draw(st.sets(st.integers(0, len(matches) - 1)))
    drawn = data.draw(st.lists(fields_of({"eth_type": IPV4, "ip_proto": PROTOCOLS[kind]}), min_size=1, max_size=8))
    with pipelines() as engine:
        engine.switch("s", *PORTS)
        engine.do(*(Rule(n, 0, n, match, (("output", "3"),), None).words("s") for n, match in enumerate(matches)))
        engine.do(*(f"unrule s {n}" for n in gone))
        counted = dict.fromkeys(set(range(len(matches))) - gone, 0)
        for fields in drawn * 2:
            visible = {name: v for name, v in fields.items() if not name.startswith(("tcp", "udp", "icmp"))
                       or name.startswith(kind)} | {"in_port": 1, "tunnel_id": 0, "tun_ipv4_src": "0.0.0.0",  # noqa: S104
                                                    "tun_ipv4_dst": "0.0.0.0"}      # noqa: S104 - no address
            best = max((n for n in counted if all(name in visible and fits(value, visible[name])
                                                  for name, value in matches[n].items() if value != "LOCAL")
                        and matches[n].get("in_port") != "LOCAL"), default=None)
            if best is not None:
                counted[best] += 1
            assert engine.frame("s", 1, frame(fields)).ports == ([3] if best is not None else [])
        assert {n: packets_ for n, (packets_, _) in engine.rules("s").items()} == counted


@examples(60)
@given(data=st.data(), kind=st.sampled_from(list(PROTOCOLS)))
def test_whatever_is_set_the_checksums_hold(data: st.DataObject, kind: str) -> None:
    actions = data.draw(st.lists(action(kind, [], ["2"]), min_size=1, max_size=8))
    drawn = data.draw(fields_of({"eth_type": IPV4, "ip_proto": PROTOCOLS[kind],
                                 "no_udp_checksum": data.draw(st.booleans())}))
    with pipelines() as engine:
        engine.switch("s", *PORTS)
        engine.do(f"rule s 1 table=0 priority=1 match * do {words(actions)};output:3")
        for out in engine.frame("s", 1, frame(drawn, data.draw(st.binary(max_size=9)))).out:
            assert checksums_hold(out.frame)


@examples(60)
@given(drawn=rule_sets(), frames=st.lists(st.tuples(st.sampled_from(PORTS), packets()), min_size=1, max_size=12))
def test_a_cached_decision_is_the_one_that_is_made_anew_and_the_account_balances(
        drawn: tuple[list[Rule], list[Group]], frames: list[tuple[int, bytes]]) -> None:
    left = 0
    with pipelines() as engine:
        load(engine, *drawn)
        for port, it in frames:
            first = engine.frame("s", port, it)
            again = engine.frame("s", port, it)
            engine.do("live s 1 up")            # forgets what is cached
            anew = engine.frame("s", port, it)
            assert first.out == again.out == anew.out
            left += 3 * len(first.out)
        counts = engine.counts("s")
    reasons = sum(n for name, n in counts.items() if name not in ("copies", "cache_hits", "cache_misses"))
    assert 3 * len(frames) + counts["copies"] == left + reasons
