"""Words of the engine's commands about rules: each wrong one is answered by a sentence, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fabricd.driver import Pipelines, pipelines


@pytest.fixture(scope="module")
def engine() -> Iterator[Pipelines]:
    with pipelines() as it:
        it.switch("s", 1, 2)
        it.do("group s 9 type=indirect buckets 1:-:output:1",
              "rule s 9 table=0 priority=9 match in_port=1 do output:2")
        yield it


RULE = "rule s 1 table=0 priority=1 match {} do {}"
MATCHES = {
    "eth_type": "a match is FIELD=VALUE[/MASK], not 'eth_type'",
    "": "a match is FIELD=VALUE[/MASK], not ''",
    "dl_type=1": "there is no field 'dl_type' to match",
    "ip_dscp=64": "ip_dscp is a number up to 63, not '64'",
    "ip_dscp=-1": "ip_dscp is a number up to 63, not '-1'",
    "tcp_dst=0x1ffff": "tcp_dst is a number up to 65535, not '0x1ffff'",
    "tunnel_id=99999999999999999999": "tunnel_id is a number up to 18446744073709551615, not '99999999999999999999'",
    "eth_src=02:00:00:00:00": "eth_src is a MAC address, not '02:00:00:00:00'",
    "eth_src=02:00:00:00:00:0g": "eth_src is a MAC address, not '02:00:00:00:00:0g'",
    "ipv4_src=10.0.0": "ipv4_src is an IPv4 address, not '10.0.0'",
    "ipv4_src=10.0.0.1/24": "ipv4_src=10.0.0.1 has bits outside of its mask 24",
    "ipv4_src=10.0.0.0/33": "ipv4_src is an IPv4 address, not '33'",
    "in_port=eth0": "in_port is a port, not 'eth0'",
    "in_port=1,in_port=2": "a match has in_port twice",
}
ACTIONS = {
    "": "an action is output:PORT, group:ID, set:FIELD=VALUE, copy:FIELD>FIELD, dec_ttl or controller:LENGTH, not ''",
    "flood": "an action is output:PORT, group:ID, set:FIELD=VALUE, copy:FIELD>FIELD, dec_ttl or controller:LENGTH, "
             "not 'flood'",
    "output:x": "output goes to a port's number, LOCAL, IN_PORT, TABLE, FLOOD, ALL or CONTROLLER, not 'x'",
    "output:TABLE": "output:TABLE is for a packet-out",
    "group:one": "a group's ID is a number of 32 bits, not 'one'",
    "group:7": "there is no group 7",
    "controller:65536": "controller:LENGTH is in bytes, up to 65535, not '65536'",
    "set:ipv4_src": "an action of this kind is set:FIELD=VALUE, not 'set:ipv4_src'",
    "set:x=1": "there is no field 'x' to set",
    "set:eth_type=2048": "eth_type can be matched, not set",
    "set:nw_ttl=256": "nw_ttl is a number up to 255, not '256'",
    "copy:eth_src": "an action of this kind is copy:FIELD>FIELD, not 'copy:eth_src'",
    "copy:x>eth_dst": "there is no field 'x' to copy",
    "copy:eth_src>ip_proto": "ip_proto can be matched, not set",
    "copy:eth_src>ipv4_src": "eth_src has 48 bits and ipv4_src 32: only fields of one width are copied",
    ";".join(["output:1"] * 65): "there are more than 64 actions",
}
COMMANDS = {
    "rule s": "'rule SWITCH' is followed by ID table=T priority=P [cookie=N] match K=V,... do ACTION;... [goto=T]",
    "rule s -1 table=0": "an ID is a number of 32 bits, not '-1'",
    "rule s 4294967296 table=0": "an ID is a number of 32 bits, not '4294967296'",
    "rule s 1 table=0 match * do drop": "a rule has priority=P; this one has none",
    "rule s 1 priority=0 match * do drop": "a rule has table=T; this one has none",
    "rule s 1 table=0 priority=0 do drop": "a rule has match K=V,...; this one has none",
    "rule s 1 table=0 priority=0 match *": "a rule has do ACTION;...; this one has none",
    "rule s 1 table=0 priority=0 do drop match": "nothing follows 'match'",
    "rule s 1 table=254 priority=0 match * do drop": "table is a number up to 253, not '254'",
    "rule s 1 table=0 priority=65536 match * do drop": "priority is a number up to 65535, not '65536'",
    "rule s 1 table=0 priority=0 cookie=x match * do drop": "a cookie is a number of 64 bits, not 'x'",
    "rule s 1 tabel=0 priority=0 match * do drop":
        "a rule has table=T, priority=P, cookie=N, match K=V,..., do ACTION;... and goto=T, not 'tabel=0'",
    "rule s 1 table=3 priority=0 match * do drop goto=3":
        "goto leads to a table after the rule's own, 3, not to 3",
    "rule s 1 table=0 priority=9 match in_port=1 do drop":
        "rule 9 of table 0 has this match and this priority",
    "unrule s 7": "there is no rule 7",
    "group s 1 buckets 1:-:output:1": "a group has type=T; this one has none",
    "group s 1 type=any buckets 1:-:output:1": "a group's type is select, failover, all or indirect, not 'any'",
    "group s 1 type=select": "a group has buckets; this one has none",
    "group s 1 type=select hash=ip_src buckets 1:-:output:1": "there is no field 'ip_src' to hash",
    "group s 1 type=select size=2 buckets 1:-:output:1": "a group has type=T, hash=FIELD,... and buckets, not 'size=2'",
    "group s 1 type=select buckets 1:output": "a bucket is BUCKET:WATCH:ACTION;..., not '1'",
    "group s 1 type=select buckets x:-:output:1": "a bucket's ID is a number of 32 bits, not 'x'",
    "group s 1 type=select buckets 1:eth0:output:1": "a bucket watches a port or '-', not 'eth0'",
    "group s 1 type=select buckets 1:-:output:1 1:-:output:2": "two buckets have the ID 1",
    "group s 1 type=select buckets 1:-:group:8": "there is no group 8",
    "group s 1 type=indirect buckets 1:-:output:1 2:-:output:2": "an indirect group has one bucket, not 2",
    "ungroup s 8": "there is no group 8",
    "vtep s 10.0.0.1": "'vtep SWITCH' is followed by ADDRESS MAC",
    "vtep s 10.0.0.1 x": "eth_dst is a MAC address, not 'x'",
    "neighbour s x 02:00:00:00:00:01": "tun_ipv4_dst is an IPv4 address, not 'x'",
    "rules s all": "'rules SWITCH' is followed by nothing",
    "trace s one 00": "a port is a number, LOCAL or CONTROLLER, not 'one'",
    "trace s 1 abc": "a frame in hexadecimal has two digits a byte, not 3 in all",
    "trace s 1 abxy": "a frame is hexadecimal; byte 1 is 'xy'",
    "packet-out s 1 output:1 " + "00" * 9217: "a frame has at most 9216 bytes, not 9217",
    "packet-out s 1 group:8 00": "there is no group 8",
    "flows s": "there is no command 'flows' about rules",
}


@pytest.mark.parametrize(("match", "sentence"), MATCHES.items())
def test_a_match_that_cannot_be_read(engine: Pipelines, match: str, sentence: str) -> None:
    assert engine.refused(RULE.format(match, "drop")) == sentence


@pytest.mark.parametrize(("actions", "sentence"), ACTIONS.items())
def test_actions_that_cannot_be_read(engine: Pipelines, actions: str, sentence: str) -> None:
    assert engine.refused(RULE.format("*", actions)) == sentence


@pytest.mark.parametrize(("command", "sentence"), COMMANDS.items())
def test_a_command_that_cannot_be_read(engine: Pipelines, command: str, sentence: str) -> None:
    assert engine.refused(command) == sentence


def test_what_was_refused_has_changed_nothing(engine: Pipelines) -> None:
    for command in [*(RULE.format(m, "drop") for m in MATCHES), *COMMANDS]:
        engine.refused(command)
    assert set(engine.rules("s")) == {9}
    assert set(engine.groups("s")) == {9}


def test_a_word_of_a_thousand_letters_makes_a_short_sentence_of_one_line(engine: Pipelines) -> None:
    sentence = engine.refused("rule s 1 table=0 priority=0 match \x01" + "y" * 1000 + "=1 do drop")
    assert sentence == f"there is no field '?{'y' * 79}' to match"


def test_as_many_masks_buckets_and_addresses_as_there_is_room_for(engine: Pipelines) -> None:
    with pipelines() as it:
        it.switch("s", 1)
        for n in range(512):
            it.do(f"rule s {n} table=0 priority=1 match udp_dst=0/{n} do drop")
        assert it.refused(RULE.format("in_port=1", "drop").replace(" 1 ", " 600 ", 1)) \
            == "a table has at most 512 masks, and this match has another one"
        it.do("unrule s 5", "rule s 600 table=0 priority=1 match in_port=1 do drop")
        buckets = " ".join(f"{n}:-:output:1" for n in range(1025))
        assert it.refused(f"group s 1 type=all buckets {buckets}") == "a group has at most 1024 buckets, not 1025"
        for n in range(128):
            it.do(f"vtep s 10.0.0.{n} 02:00:00:00:00:01")
        assert it.refused("vtep s 10.0.0.128 02:00:00:00:00:01") == "a switch has at most 128 VTEP addresses"
