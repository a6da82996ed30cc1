"""The engine's pipeline on frames: fields, actions, groups, tunnels, counters, as Open vSwitch has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controller.rules.rules import Bucket, Group
from controller.verify.rendezvous import by_rendezvous
from tests.fabricd.driver import Pipelines, pipelines
from tests.fabricd.frames import ARP, ICMP, IPV4, TCP, UDP, VXLAN_PORT, checksums_hold, frame

A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
BASE: dict[str, Any] = {"eth_src": A, "eth_dst": B, "eth_type": IPV4, "ip_dscp": 10, "ip_ecn": 1, "nw_ttl": 9,
                        "ipv4_src": "10.0.0.1", "ipv4_dst": "10.0.0.2"}
PACKETS: dict[str, dict[str, Any]] = {
    "udp": BASE | {"ip_proto": UDP, "udp_src": 5000, "udp_dst": 9000},
    "tcp": BASE | {"ip_proto": TCP, "tcp_src": 5001, "tcp_dst": 9001},
    "icmp": BASE | {"ip_proto": ICMP, "icmpv4_type": 8, "icmpv4_code": 3},
    "arp": {"eth_src": A, "eth_dst": "ff:ff:ff:ff:ff:ff", "eth_type": ARP, "arp_op": 1, "arp_spa": "10.0.0.1",
            "arp_tpa": "10.0.0.2", "arp_sha": A, "arp_tha": "00:00:00:00:00:00"},
}
UDP_FRAME = frame(PACKETS["udp"])
OTHER: dict[str, Any] = {"eth_src": C, "eth_dst": C, "ip_dscp": 63, "ip_ecn": 2, "nw_ttl": 77, "ipv4_src": "172.16.3.4",
                         "ipv4_dst": "172.31.0.255", "udp_src": 1, "udp_dst": 65535, "tcp_src": 2, "tcp_dst": 65534,
                         "icmpv4_type": 0, "icmpv4_code": 255, "arp_op": 2, "arp_spa": "1.2.3.4", "arp_tpa": "5.6.7.8",
                         "arp_sha": C, "arp_tha": B}
OF_A_PACKET = [(kind, name) for kind, fields in PACKETS.items() for name in fields if name in OTHER]


@pytest.fixture
def engine() -> Iterator[Pipelines]:
    """One switch with ports 1 to 3 and no rule."""
    with pipelines() as it:
        it.switch("s", 1, 2, 3)
        yield it


def rule(engine: Pipelines, number: int, match: str, actions: str, *, table: int = 0, priority: int = 10,
         goto: int | None = None) -> None:
    engine.do(f"rule s {number} table={table} priority={priority} match {match} do {actions}"
              + (f" goto={goto}" if goto is not None else ""))


# ---- fields

@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, fields in PACKETS.items() for name in fields])
def test_each_field_is_matched_by_its_value_and_by_no_other(engine: Pipelines, kind: str, name: str) -> None:
    wanted = PACKETS[kind]
    rule(engine, 1, f"{name}={wanted[name]}", "output:2")
    assert engine.frame("s", 1, frame(wanted)).ports == [2]
    if name in OTHER:
        assert engine.frame("s", 1, frame(wanted | {name: OTHER[name]})).ports == []
        assert engine.counts("s")["no_match"] == 1


@pytest.mark.parametrize(("kind", "name"), OF_A_PACKET)
def test_each_field_is_set_with_its_checksums_and_matched_as_it_is_by_then(
        engine: Pipelines, kind: str, name: str) -> None:
    rule(engine, 1, "*", f"set:{name}={OTHER[name]}", goto=1)
    rule(engine, 2, f"{name}={OTHER[name]}", "output:2", table=1)
    said = engine.frame("s", 1, frame(PACKETS[kind]))
    assert [o.frame for o in said.out] == [frame(PACKETS[kind] | {name: OTHER[name]})]
    assert kind == "arp" or checksums_hold(said.out[0].frame)


@pytest.mark.parametrize(("kind", "name"), [("arp", "ipv4_src"), ("udp", "tcp_dst"), ("tcp", "udp_dst"),
                                            ("icmp", "tcp_src"), ("udp", "arp_op"), ("udp", "icmpv4_type")])
def test_a_field_that_a_packet_does_not_have_is_neither_matched_nor_set(
        engine: Pipelines, kind: str, name: str) -> None:
    rule(engine, 1, "*", f"set:{name}={OTHER[name]};output:2", priority=1)
    rule(engine, 2, f"{name}=0.0.0.0/0" if name == "ipv4_src" else f"{name}=0", "drop")
    assert [o.frame for o in engine.frame("s", 1, frame(PACKETS[kind])).out] == [frame(PACKETS[kind])]


def test_a_udp_checksum_that_the_sender_did_not_make_stays_none_and_one_is_never_patched_to_none(
        engine: Pipelines) -> None:
    rule(engine, 1, "*", "set:udp_dst=1;output:2")
    plain = PACKETS["udp"] | {"no_udp_checksum": True}
    assert [o.frame for o in engine.frame("s", 1, frame(plain)).out] == [frame(plain | {"udp_dst": 1})]
    for port in range(1, 65536, 257):       # one of 65,536 payloads makes a sum of 0
        said = engine.frame("s", 1, frame(PACKETS["udp"] | {"udp_dst": port}, b"\0\0"))
        assert checksums_hold(said.out[0].frame)
        assert said.out[0].frame[40:42] != b"\0\0"


@pytest.mark.parametrize(("match", "fits"), [
    ("eth_dst=02:00:00:00:00:00/ff:00:00:00:00:00", True), ("eth_dst=01:00:00:00:00:00/01:00:00:00:00:00", False),
    ("ipv4_dst=10.0.0.0/24", True), ("ipv4_dst=10.0.0.0/255.255.255.0", True), ("ipv4_dst=10.0.1.0/24", False),
    ("ipv4_dst=0.0.0.0/0", True), ("udp_dst=0x2300/0xff00", True), ("udp_dst=0x2200/0xff00", False),
    ("in_port=1", True), ("in_port=LOCAL", False), ("tunnel_id=0", True), ("tun_ipv4_dst=0.0.0.0", True)])
def test_masks(engine: Pipelines, match: str, fits: bool) -> None:
    rule(engine, 1, match, "output:2")
    assert bool(engine.frame("s", 1, UDP_FRAME).out) is fits


def test_fields_of_headers_that_are_cut_short_or_of_another_fragment_are_0(engine: Pipelines) -> None:
    rule(engine, 1, "udp_dst=9000", "output:2")
    rule(engine, 2, "eth_type=0x800,ip_proto=17,udp_dst=0", "output:3")
    rule(engine, 3, "eth_type=0x800,ip_proto=0,nw_ttl=0", "output:3", priority=1)
    assert engine.frame("s", 1, UDP_FRAME).ports == [2]
    assert engine.frame("s", 1, frame(PACKETS["udp"] | {"fragment": 0x2000})).ports == [3], "the first fragment"
    assert engine.frame("s", 1, frame(PACKETS["udp"] | {"fragment": 0x2001})).ports == [3]
    short = UDP_FRAME[:16] + b"\0\x1b" + UDP_FRAME[18:]      # its length leaves 7 bytes for UDP
    assert engine.frame("s", 1, short).ports == [3]
    assert engine.frame("s", 1, UDP_FRAME[:30]).ports == [3], "no whole IPv4 header"
    assert engine.frame("s", 1, UDP_FRAME[:14] + b"\x44" + UDP_FRAME[15:]).ports == [3], "one that is too small"
    assert engine.frame("s", 1, UDP_FRAME[:-1]).ports == [3], "less than it says"


def test_what_is_behind_one_vlan_tag_or_a_snap_header_is_seen(engine: Pipelines) -> None:
    rule(engine, 1, "udp_dst=9000", "set:udp_dst=9001;output:2")
    for between in ("8100000a", "88a8000a", "0020aaaa03000000"):
        tagged = UDP_FRAME[:12] + bytes.fromhex(between) + UDP_FRAME[12:]
        changed = frame(PACKETS["udp"] | {"udp_dst": 9001})
        assert [o.frame for o in engine.frame("s", 1, tagged).out] == [
            changed[:12] + bytes.fromhex(between) + changed[12:]]
    rule(engine, 2, "eth_type=0x05ff", "output:3")
    assert engine.frame("s", 1, UDP_FRAME[:12] + b"\0\x26" + bytes(38)).ports == [3]


def test_a_frame_without_a_whole_ethernet_header_is_malformed(engine: Pipelines) -> None:
    rule(engine, 1, "*", "output:2")
    assert engine.frame("s", 1, bytes(13)).out == []
    assert engine.frame("s", 1, bytes(14)).ports == [2]
    assert engine.counts("s")["malformed"] == 1


# ---- rules

def test_the_highest_priority_wins_whatever_the_order_and_the_masks(engine: Pipelines) -> None:
    rule(engine, 1, "*", "output:2", priority=0)
    rule(engine, 2, "in_port=1", "output:3", priority=5)
    rule(engine, 3, "in_port=1,eth_type=0x800", "output:2", priority=4)
    assert engine.frame("s", 1, UDP_FRAME).ports == [3]
    rule(engine, 4, "in_port=1", "output:2", priority=6)
    assert engine.frame("s", 1, UDP_FRAME).ports == [2]
    engine.do("unrule s 4", "unrule s 2")
    assert engine.frame("s", 1, UDP_FRAME).ports == [2]
    assert engine.rules("s") == {1: (0, 0), 3: (1, len(UDP_FRAME))}


def test_a_rule_is_replaced_in_one_step_and_counts_on_and_says_its_last_counters(engine: Pipelines) -> None:
    rule(engine, 7, "in_port=1", "output:2")
    engine.frame("s", 1, UDP_FRAME)
    rule(engine, 7, "eth_type=0x800", "output:3", priority=3)
    assert engine.frame("s", 1, UDP_FRAME).ports == [3]
    assert engine.do("unrule s 7").answer == f"ok 2 {2 * len(UDP_FRAME)}"
    assert engine.frame("s", 1, UDP_FRAME).ports == []
    assert engine.counts("s")["no_match"] == 1


def test_counters_are_exact_at_once_whether_a_decision_was_cached_or_not(engine: Pipelines) -> None:
    rule(engine, 1, "in_port=1", "set:tunnel_id=5", goto=4)
    rule(engine, 2, "tunnel_id=5", "output:2;output:3", table=4)
    for n in range(1, 6):
        assert engine.frame("s", 1, UDP_FRAME).ports == [2, 3]
        assert engine.rules("s") == dict.fromkeys((1, 2), (n, n * len(UDP_FRAME)))
    counts = engine.counts("s")
    assert (counts["cache_misses"], counts["cache_hits"], counts["copies"]) == (1, 4, 5)


def test_a_rule_without_output_is_a_named_drop_and_no_rule_another(engine: Pipelines) -> None:
    rule(engine, 1, "in_port=1", "drop")
    rule(engine, 2, "in_port=2", "set:nw_ttl=1")
    rule(engine, 3, "in_port=3", "drop", goto=9)
    for port in (1, 2, 3):
        assert engine.frame("s", port, UDP_FRAME).out == []
    counts = engine.counts("s")
    assert (counts["dropped_by_rule"], counts["no_match"]) == (2, 1)


def test_rules_without_actions_are_told_by_their_cookies(engine: Pipelines) -> None:
    engine.do("rule s 1 table=0 priority=9 cookie=18446744073709551615 match udp_dst=9000 do drop")
    engine.do("rule s 2 table=0 priority=8 cookie=7 match ip_proto=17 do output:2")
    engine.do("rule s 3 table=0 priority=7 cookie=8 match * do drop goto=1")
    engine.frame("s", 1, UDP_FRAME)
    assert engine.do("drops s").answer == "ok 18446744073709551615:1"


def test_an_output_sends_the_packet_as_it_is_then(engine: Pipelines) -> None:
    rule(engine, 1, "*", "output:2;set:eth_src=02:00:00:00:00:0c;output:3;set:nw_ttl=1")
    assert [o.frame for o in engine.frame("s", 1, UDP_FRAME).out] == [
        UDP_FRAME, frame(PACKETS["udp"] | {"eth_src": C})]


def test_a_packet_goes_back_by_in_port_only_and_floods_to_all_others(engine: Pipelines) -> None:
    rule(engine, 1, "*", "output:1;output:FLOOD;output:ALL;output:IN_PORT;output:2")
    assert engine.frame("s", 1, UDP_FRAME).ports == [2, 3, 2, 3, 1, 2]
    assert engine.frame("s", 2, UDP_FRAME).ports == [1, 1, 3, 1, 3, 2]
    rule(engine, 1, "*", "output:1")
    assert engine.frame("s", 1, UDP_FRAME).ports == []
    rule(engine, 1, "*", "output:77")
    assert engine.frame("s", 1, UDP_FRAME).ports == []
    assert engine.counts("s")["no_port"] == 2


def test_copies_of_fields(engine: Pipelines) -> None:
    """The answer to an ARP request, as a leaf makes it."""
    rule(engine, 1, "eth_type=0x0806,arp_op=1,arp_tpa=10.0.0.2",
         f"copy:eth_src>eth_dst;set:eth_src={C};set:arp_op=2;copy:arp_sha>arp_tha;copy:arp_spa>arp_tpa;"
         f"set:arp_sha={C};set:arp_spa=10.0.0.2;output:IN_PORT")
    said = engine.frame("s", 1, frame(PACKETS["arp"]) + bytes(18))
    assert [(o.port, o.frame) for o in said.out] == [(1, frame(
        {"eth_src": C, "eth_dst": A, "eth_type": ARP, "arp_op": 2, "arp_spa": "10.0.0.2", "arp_tpa": "10.0.0.1",
         "arp_sha": C, "arp_tha": A}) + bytes(18))]


def test_a_ttl_counts_down_and_runs_out(engine: Pipelines) -> None:
    rule(engine, 1, "*", "dec_ttl;output:2", goto=1)
    rule(engine, 2, "*", "output:3", table=1)
    assert [o.frame for o in engine.frame("s", 1, UDP_FRAME).out] == [frame(PACKETS["udp"] | {"nw_ttl": 8})] * 2
    for ttl in (0, 1):
        assert engine.frame("s", 1, frame(PACKETS["udp"] | {"nw_ttl": ttl})).out == []
    assert engine.frame("s", 1, frame(PACKETS["arp"])).ports == [2, 3], "what has no TTL loses none"
    assert engine.counts("s")["expired"] == 2


# ---- groups

def select(engine: Pipelines, *buckets: int) -> None:
    engine.do("group s 1 type=select hash=ipv4_src,ipv4_dst,ip_proto,tcp_src,tcp_dst,udp_src,udp_dst buckets "
              + " ".join(f"{b}:{b}:output:{b}" for b in buckets))


def flow(n: int) -> dict[str, Any]:
    return PACKETS["udp"] | {"udp_src": 1000 + n}


def test_each_flow_takes_the_bucket_that_the_stated_hash_says_and_a_dead_buckets_flows_move_alone(
        engine: Pipelines) -> None:
    engine.do("port s 4")
    select(engine, 1, 2, 3, 4)
    rule(engine, 1, "*", "group:1")
    group = Group(1, "", ("ip_src", "ip_dst", "ip_proto", "tcp_src", "tcp_dst", "udp_src", "udp_dst"),
                  tuple(Bucket(b, b, ()) for b in (1, 2, 3, 4)))

    def taken() -> list[int]:
        return [engine.frame("s", 77, frame(flow(n))).ports[0] for n in range(200)]

    before = taken()
    assert before == [by_rendezvous("s", group, flow(n), group.buckets).id for n in range(200)]
    assert min(before.count(b) for b in (1, 2, 3, 4)) > 30
    engine.do("live s 2 down")
    after = taken()
    assert all(b == a if b != 2 else a != 2 for b, a in zip(before, after, strict=True))
    engine.do("live s 2 up")
    assert taken() == before
    packets, octets, buckets = engine.groups("s")[1]
    assert (packets, octets) == (600, 600 * len(UDP_FRAME))
    assert buckets == {b: 2 * before.count(b) + after.count(b) for b in (1, 2, 3, 4)}


def test_a_failover_group_takes_the_first_live_bucket(engine: Pipelines) -> None:
    engine.do("group s 1 type=failover buckets 1:3:output:3 2:2:output:2 3:-:output:1")
    rule(engine, 1, "*", "group:1")
    assert engine.frame("s", 77, UDP_FRAME).ports == [3]
    engine.do("live s 3 down")
    assert engine.frame("s", 77, UDP_FRAME).ports == [2]
    engine.do("live s 2 down")
    assert engine.frame("s", 77, UDP_FRAME).ports == [1], "a bucket that watches nothing is always live"


def test_a_group_of_all_gives_each_bucket_a_copy_and_none_sees_the_others_changes(engine: Pipelines) -> None:
    engine.do(f"group s 1 type=all buckets 1:-:set:eth_src={C};output:2 2:-:output:3 3:-:set:eth_dst={C};output:2")
    rule(engine, 1, "*", "group:1;output:3")
    said = engine.frame("s", 1, UDP_FRAME)
    assert [(o.port, o.frame) for o in said.out] == [
        (2, frame(PACKETS["udp"] | {"eth_src": C})), (3, UDP_FRAME), (2, frame(PACKETS["udp"] | {"eth_dst": C})),
        (3, UDP_FRAME)]
    assert engine.groups("s") == {1: (1, len(UDP_FRAME), {1: 1, 2: 1, 3: 1})}


def test_a_buckets_actions_are_a_set(engine: Pipelines) -> None:
    engine.do("group s 1 type=indirect buckets 1:-:output:3;set:nw_ttl=7;output:2;dec_ttl")
    rule(engine, 1, "*", "group:1")
    said = engine.frame("s", 1, UDP_FRAME)
    assert [(o.port, o.frame) for o in said.out] == [(2, frame(PACKETS["udp"] | {"nw_ttl": 7}))]
    engine.do("group s 2 type=indirect buckets 1:-:output:2;group:1;output:3",
              "group s 3 type=indirect buckets 1:-:set:nw_ttl=7")
    rule(engine, 1, "*", "group:2;group:3")
    assert engine.frame("s", 1, UDP_FRAME).ports == [2]
    assert engine.groups("s")[3][0] == 1


def test_without_a_live_bucket_a_packet_ends_by_that_name(engine: Pipelines) -> None:
    select(engine, 2, 3)
    rule(engine, 1, "*", "group:1")
    engine.do("live s 2 down", "live s 3 down")
    assert engine.frame("s", 1, UDP_FRAME).out == []
    assert engine.groups("s")[1] == (0, 0, {2: 0, 3: 0})
    rule(engine, 1, "*", "group:1;output:IN_PORT")
    assert engine.frame("s", 1, UDP_FRAME).ports == [1]
    assert engine.counts("s")["no_bucket"] == 1


def test_a_group_that_goes_takes_the_rules_that_send_to_it_along(engine: Pipelines) -> None:
    select(engine, 2)
    engine.do("group s 2 type=indirect buckets 1:-:group:1")
    rule(engine, 5, "in_port=1", "group:1")
    rule(engine, 6, "in_port=2", "output:3;group:1")
    rule(engine, 7, "in_port=3", "group:2")
    assert sorted(engine.do("ungroup s 1").answer.removeprefix("ok ").split(",")) == ["5", "6"]
    assert engine.frame("s", 3, UDP_FRAME).out == []
    assert engine.counts("s")["no_bucket"] == 1
    assert engine.do("ungroup s 2").answer == "ok 7"


def test_a_group_that_is_replaced_counts_on_for_the_buckets_that_stay(engine: Pipelines) -> None:
    select(engine, 2)
    rule(engine, 1, "*", "group:1")
    engine.frame("s", 1, UDP_FRAME)
    select(engine, 2, 3)
    assert engine.groups("s") == {1: (1, len(UDP_FRAME), {2: 1, 3: 0})}


def test_groups_that_lead_to_each_other_end(engine: Pipelines) -> None:
    engine.do("group s 1 type=indirect buckets 1:-:output:2", "group s 2 type=indirect buckets 1:-:group:1",
              "group s 1 type=indirect buckets 1:-:group:2")
    rule(engine, 1, "*", "group:1")
    assert engine.frame("s", 1, UDP_FRAME).out == []
    assert engine.counts("s")["looping"] == 1


# ---- controller

def test_what_goes_to_the_controller_says_why_and_from_where(engine: Pipelines) -> None:
    rule(engine, 1, "*", "controller:20", priority=0)
    engine.do("rule s 2 table=0 priority=9 cookie=77 match in_port=2 do output:1;set:nw_ttl=1;controller:65535",
              "group s 1 type=indirect buckets 1:-:output:CONTROLLER")
    rule(engine, 3, "in_port=3", "drop", priority=9, goto=7)
    rule(engine, 4, "*", "group:1", table=7)
    missed = engine.frame("s", 1, UDP_FRAME).events
    assert [(e.port, e.reason, e.table, e.length, e.frame) for e in missed] == [
        (1, 0, 0, len(UDP_FRAME), UDP_FRAME[:20])]
    said = engine.frame("s", 2, UDP_FRAME)
    assert said.ports == [1]
    assert [(e.reason, e.cookie, e.frame) for e in said.events] == [(1, 77, frame(PACKETS["udp"] | {"nw_ttl": 1}))]
    assert [(e.reason, e.table) for e in engine.frame("s", 3, UDP_FRAME).events] == [(4, 7)]
    counts = engine.counts("s")
    assert (counts["to_controller"], counts["no_match"]) == (2, 0)


def test_a_packet_out_is_done_as_if_the_frame_had_come_in(engine: Pipelines) -> None:
    rule(engine, 1, "in_port=2", "output:3")
    hexed = UDP_FRAME.hex()
    assert engine.do(f"packet-out s CONTROLLER output:FLOOD {hexed}").ports == [1, 2, 3]
    assert engine.do(f"packet-out s 2 output:FLOOD;output:IN_PORT {hexed}").ports == [1, 3, 2]
    assert engine.do(f"packet-out s 2 output:TABLE {hexed}").ports == [3]
    said = engine.do(f"packet-out s 1 set:eth_dst={C};output:2;controller:65535 {hexed}")
    assert [(o.port, o.frame) for o in said.out] == [(2, frame(PACKETS["udp"] | {"eth_dst": C}))]
    assert [e.reason for e in said.events] == [5]
    assert engine.do(f"packet-out s 1 drop {hexed}").out == []
    assert engine.rules("s") == {1: (1, len(UDP_FRAME))}


def test_clear_forgets_rules_and_groups(engine: Pipelines) -> None:
    select(engine, 2)
    rule(engine, 1, "*", "group:1")
    engine.do("clear s")
    assert engine.rules("s") == {}
    assert engine.groups("s") == {}
    assert engine.frame("s", 1, UDP_FRAME).out == []
    assert engine.counts("s")["no_match"] == 1


# ---- tunnels

OUTER = {"eth_src": "02:ff:00:00:00:01", "eth_dst": "02:ff:00:00:00:02", "eth_type": IPV4, "ip_proto": UDP,
         "ip_dscp": 10, "ip_ecn": 1, "nw_ttl": 64, "ipv4_src": "10.255.2.1", "ipv4_dst": "10.255.2.7",
         "udp_src": 50000, "udp_dst": VXLAN_PORT, "no_udp_checksum": True}


def outer(inner: bytes, **changes: Any) -> bytes:
    return frame(OUTER | {"inner": {"vni": 5001, "frame": inner}} | changes)


def back(inner: bytes, **changes: Any) -> bytes:
    """What the far end sends here."""
    ends = {"eth_src": OUTER["eth_dst"], "eth_dst": OUTER["eth_src"], "ipv4_src": "10.255.2.7",
            "ipv4_dst": "10.255.0.1"}
    return outer(inner, **(ends | changes))


@pytest.fixture
def leaf(engine: Pipelines) -> Pipelines:
    """Port 1 to a host, whatever comes from it into tunnel 5001 to 10.255.2.7; port 2 to the underlay."""
    engine.do("vtep s 10.255.0.1 02:ff:00:00:00:01", "vtep s 10.255.1.1 02:ff:00:00:00:01",
              "vtep s 10.255.2.1 02:ff:00:00:00:01", "neighbour s 10.255.2.7 02:ff:00:00:00:02")
    rule(engine, 1, "in_port=1", "set:tunnel_id=5001;set:tun_ipv4_dst=10.255.2.7;output:1000")
    rule(engine, 2, "in_port=LOCAL,ipv4_dst=10.255.2.0/24,udp_dst=4789", "output:2")
    rule(engine, 3, "in_port=2,ipv4_dst=10.255.0.1,udp_dst=4789", "output:LOCAL")
    rule(engine, 4, "in_port=1000,tunnel_id=5001,tun_ipv4_src=10.255.2.7,tun_ipv4_dst=10.255.0.1", "output:1")
    return engine


def same_but_source_port(a: bytes, b: bytes) -> bool:
    return a[:34] + a[36:] == b[:34] + b[36:]


def test_a_tunnel_takes_the_packet_in_and_it_enters_again_from_local(leaf: Pipelines) -> None:
    said = leaf.frame("s", 1, UDP_FRAME)
    assert [o.port for o in said.out] == [2]
    assert same_but_source_port(said.out[0].frame, outer(UDP_FRAME))
    assert checksums_hold(said.out[0].frame)
    assert leaf.rules("s")[1] == (1, len(UDP_FRAME))
    assert leaf.rules("s")[2] == (1, len(UDP_FRAME) + 50)


def test_the_source_port_is_dynamic_and_a_flows_own(leaf: Pipelines) -> None:
    ports = [int.from_bytes(leaf.frame("s", 1, frame(flow(n) | more)).out[0].frame[34:36], "big")
             for n in range(50) for more in ({}, {"ip_dscp": 4, "nw_ttl": 3, "eth_src": C})]
    assert ports[::2] == ports[1::2]
    assert min(ports) >= 49152
    assert len(set(ports)) > 45


@pytest.mark.parametrize("decoded", [False, True])
def test_a_tunnels_end_takes_it_apart_and_the_inner_packet_enters_again(leaf: Pipelines, decoded: bool) -> None:
    said = leaf.frame("s", 2, back(UDP_FRAME), decoded)
    assert [(o.port, o.frame) for o in said.out] == [(1, UDP_FRAME)]
    assert leaf.rules("s")[3] == (1, len(UDP_FRAME) + 50)
    assert leaf.rules("s")[4] == (1, len(UDP_FRAME))


@pytest.mark.parametrize(("ecn", "becomes"), [(1, 3), (2, 3), (3, 3), (0, None)])
def test_a_mark_on_the_outer_header_goes_to_the_inner_one_that_can_carry_it(
        leaf: Pipelines, ecn: int, becomes: int | None) -> None:
    inner = PACKETS["udp"] | {"ip_ecn": ecn}
    said = leaf.frame("s", 2, back(frame(inner), ip_ecn=3))
    assert [o.frame for o in said.out] == ([frame(inner | {"ip_ecn": becomes})] if becomes is not None else [])
    assert leaf.counts("s")["no_port"] == (becomes is None)


@pytest.mark.parametrize("changes", [
    {"eth_dst": C}, {"ipv4_dst": "10.255.0.9"}, {"udp_dst": 4790}])
def test_what_is_not_for_the_tunnels_end_ends_there(leaf: Pipelines, changes: dict[str, Any]) -> None:
    rule(leaf, 3, "in_port=2", "output:LOCAL")
    assert leaf.frame("s", 2, back(UDP_FRAME, **changes)).out == []
    assert leaf.counts("s")["no_port"] == 1


def test_broken_vxlan_ends_there_too(leaf: Pipelines) -> None:
    good = back(UDP_FRAME)
    broken = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1:] for at in (24, 42, 43, 49)]    # IP checksum, flags, VNI
    broken.append(good[:40] + b"\0\1" + good[42:])          # a UDP checksum that is wrong
    for it in broken:
        assert leaf.frame("s", 2, it).out == []
    assert leaf.counts("s")["no_port"] == len(broken)
    assert leaf.frame("s", 2, back(UDP_FRAME, fragment=0x2000)).out == [], "its ports count as 0: no rule takes it"
    assert leaf.frame("s", 2, back(UDP_FRAME, no_udp_checksum=False)).ports == [1], "and one that is right"


def test_the_outer_headers_are_what_rules_between_the_ends_see_and_change(engine: Pipelines) -> None:
    rule(engine, 1, "eth_type=0x800,ip_proto=17,udp_dst=4789,ipv4_dst=10.255.2.7,ip_dscp=10,nw_ttl=64,udp_src=50000",
         f"dec_ttl;set:ip_dscp=4;set:ip_ecn=2;set:eth_src={C};set:eth_dst={C};set:udp_src=50001;set:ipv4_dst=10.255.2.8;"
         "set:ipv4_src=10.255.2.9;output:2")
    changed = {"nw_ttl": 63, "ip_dscp": 4, "ip_ecn": 2, "eth_src": C, "eth_dst": C, "udp_src": 50001,
               "ipv4_dst": "10.255.2.8", "ipv4_src": "10.255.2.9"}
    for decoded in (False, True):
        said = engine.frame("s", 1, outer(UDP_FRAME), decoded)
        assert [o.frame for o in said.out] == [outer(UDP_FRAME, **changed)], decoded
    assert engine.rules("s")[1] == (2, 2 * len(outer(UDP_FRAME)))


def test_a_tunnel_inherits_the_tos_as_it_is_when_the_packet_goes_in(leaf: Pipelines) -> None:
    rule(leaf, 1, "in_port=1", "set:ip_dscp=46;set:ip_ecn=3;set:tun_ipv4_dst=10.255.2.7;set:tunnel_id=5001;output:1000")
    inner = frame(PACKETS["udp"] | {"ip_dscp": 46, "ip_ecn": 3})
    assert same_but_source_port(leaf.frame("s", 1, UDP_FRAME).out[0].frame, outer(inner, ip_dscp=46, ip_ecn=2)), \
        "a mark stays inside: the outer header can take one of its own"
    arp = frame(PACKETS["arp"])
    assert same_but_source_port(leaf.frame("s", 1, arp).out[0].frame, outer(arp, ip_dscp=0, ip_ecn=0))


def test_after_a_tunnel_the_packet_goes_on_as_it_was_before(leaf: Pipelines) -> None:
    rule(leaf, 1, "in_port=1", "set:tunnel_id=5001;set:tun_ipv4_dst=10.255.2.7;output:1000;output:3")
    said = leaf.frame("s", 1, UDP_FRAME)
    assert said.ports == [2, 3]
    assert said.out[1].frame == UDP_FRAME


def test_without_a_neighbour_or_an_end_here_a_tunnel_takes_nothing(leaf: Pipelines) -> None:
    rule(leaf, 1, "in_port=1", "set:tun_ipv4_dst=10.255.2.8;output:1000")
    assert leaf.frame("s", 1, UDP_FRAME).out == []
    leaf.do("neighbour s 10.255.2.8 02:ff:00:00:00:08", "neighbour s 10.255.1.8 02:ff:00:00:00:08")
    assert leaf.frame("s", 1, UDP_FRAME).ports == [2]
    leaf.do("switch other", "port other 1", "neighbour other 10.255.2.8 02:ff:00:00:00:08",
            "rule other 1 table=0 priority=1 match * do set:tun_ipv4_dst=10.255.2.8;output:1000")
    assert leaf.frame("other", 1, UDP_FRAME).out == []
    assert (leaf.counts("s")["no_neighbour"], leaf.counts("other")["no_neighbour"]) == (1, 1)


def test_a_packet_in_a_tunnel_is_not_put_into_another(leaf: Pipelines) -> None:
    rule(leaf, 2, "in_port=LOCAL,udp_dst=4789", "set:tun_ipv4_dst=10.255.2.7;output:1000")
    assert leaf.frame("s", 1, UDP_FRAME).out == []
    assert leaf.counts("s")["looping"] == 1


def test_tunnels_that_lead_back_to_their_own_switch_end(leaf: Pipelines) -> None:
    leaf.do("neighbour s 10.255.0.1 02:ff:00:00:00:01")
    rule(leaf, 1, "*", "set:tunnel_id=1;set:tun_ipv4_dst=10.255.0.1;output:1000", priority=1)
    rule(leaf, 2, "in_port=LOCAL", "output:IN_PORT", priority=20)
    rule(leaf, 4, "in_port=1000", "set:tun_ipv4_dst=10.255.0.1;output:IN_PORT", priority=20)
    assert leaf.frame("s", 3, UDP_FRAME).out == []
    assert leaf.counts("s")["looping"] == 1


def test_a_trace_says_what_would_become_of_a_packet_and_counts_nothing(leaf: Pipelines) -> None:
    assert leaf.do(f"trace s 1 {UDP_FRAME.hex()}").answer == "ok rules=1,2 output=2 tunnel=10.255.2.7"
    assert leaf.do(f"trace s 2 {back(UDP_FRAME).hex()}").answer == "ok rules=3,4 output=1"
    assert leaf.do(f"trace s 3 {UDP_FRAME.hex()}").answer == "ok drop=no_match"
    leaf.do("group s 1 type=all buckets 1:-:set:nw_ttl=9;output:1 2:-:output:2")
    rule(leaf, 5, "in_port=3", "output:FLOOD;controller:9;group:1", priority=1)
    assert leaf.do(f"trace s 3 {UDP_FRAME.hex()}").answer == "ok rules=5 output=1,2,CONTROLLER,1,2"
    assert set(leaf.rules("s").values()) == {(0, 0)}
    assert sum(leaf.counts("s").values()) == 0


def test_a_flow_goes_out_by_the_path_that_the_trace_has_named(leaf: Pipelines) -> None:
    select(leaf, 2, 3)
    rule(leaf, 1, "in_port=1", "group:1")
    for n in range(50):
        named = leaf.do(f"trace s 1 {frame(flow(n)).hex()}").answer
        assert named == f"ok rules=1 output={leaf.frame('s', 1, frame(flow(n))).ports[0]}"


# ---- the pool

@pytest.mark.parametrize("most", [1, 2, 3])
def test_with_an_empty_pool_copies_are_not_made_and_the_packet_itself_goes_on(leaf: Pipelines, most: int) -> None:
    leaf.do("group s 1 type=all buckets 1:-:set:nw_ttl=1;output:2 2:-:output:3",
            "rule s 1 table=0 priority=10 match in_port=1 do group:1;output:3;set:tun_ipv4_dst=10.255.2.7;output:1000",
            f"pool {most}")
    before = leaf.counts("s")
    said = leaf.frame("s", 1, UDP_FRAME)
    after = leaf.counts("s")
    assert 1 + after["copies"] - before["copies"] == len(said.out)
    assert (said.out[-1].port, said.out[-1].frame[50:]) == (2, UDP_FRAME)


def test_with_an_empty_pool_a_packet_that_only_the_controller_got_is_counted_so(engine: Pipelines) -> None:
    rule(engine, 1, "*", "output:2;controller:65535")
    engine.do("pool 1")
    said = engine.frame("s", 1, UDP_FRAME)
    assert (said.out, len(said.events)) == ([], 1)
    assert engine.counts("s")["to_controller"] == 1
