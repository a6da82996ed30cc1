"""The engine's OpenFlow agent, asked by os-ken's parser and by the controller's own messages; the engine is made up."""

from __future__ import annotations

import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
from os_ken.ofproto import ofproto_parser
from os_ken.ofproto import ofproto_v1_5 as ofp
from os_ken.ofproto import ofproto_v1_5_parser as parser

from controller.rules.rules import CopyField, DecTtl, Flow, Match, Output, SetField, SwitchRules
from controller.rules.tables import Table
from controller.southbound import openflow
from controller.southbound.reconcile import AddFlow, Change, DeleteFlows, DeleteGroup, Installed, SetGroup, reconcile
from tests.unit.test_controller_wire import GROUP, PINNED, RULES, VPCS, FakeDatapath
from topologies.switches.engine.agent.link import EngineLink
from topologies.switches.engine.agent.replies import Port
from topologies.switches.engine.agent.session import Session
from topologies.switches.engine.agent.switch import Switch

DATAPATH = FakeDatapath()


class MadeUpEngine:
    """Takes commands, answers at once or when told; every rule has counted 7 packets of 100 bytes."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.answer_now = True
        self.refuses = ""
        self._later: list[Callable[[], None]] = []

    def ask(self, command: str, answered: Callable[[str], None]) -> None:
        self.commands.append(command)
        refused = self.refuses and command.startswith(f"{self.refuses} ")
        answer = f"error {self.refuses}" if refused else self._answer(command)
        self._do(lambda: answered(answer))

    def after_all(self, done: Callable[[], None]) -> None:
        self._do(done)

    def _do(self, what: Callable[[], None]) -> None:
        if self.answer_now:
            what()
        else:
            self._later.append(what)

    def answer_all(self) -> None:
        for what in self._later:
            what()
        self._later.clear()

    def _answer(self, command: str) -> str:
        kind, *words = command.split(" ")
        if kind == "unrule":
            return "ok 7 700"
        if kind == "rules":
            ids = {c.split(" ")[2] for c in self.commands if c.startswith(f"rule {words[0]} ")}
            return " ".join(["ok", *(f"{number}:7:700" for number in sorted(ids, key=int))])
        if kind == "groups":
            return "ok 1:5:500:1=2,2=3"
        return "ok"

    def named(self, kind: str) -> list[str]:
        return [c for c in self.commands if c.startswith(f"{kind} ")]


class Talk:
    """A controller's side of a session."""

    def __init__(self) -> None:
        self.engine = MadeUpEngine()
        ports = [Port(1, "leaf1-eth1", bytes(6), 10_000), Port(101, "leaf1-eth2", bytes(6), 10_000)]
        self.switch = Switch("leaf1", 0x1001, ports, cast(EngineLink, self.engine))
        self.ours, theirs = socket.socketpair()
        for end in (self.ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self.session = Session(self.switch, theirs)
        self.take()

    def say(self, data: bytes) -> list[bytes]:
        """Send bytes; what comes back, message by message."""
        while data:
            data = data[self.ours.send(data[:100_000]):]
            self.session.read()
        return self.take()

    def take(self) -> list[bytes]:
        data = b""
        while self.session.wants_to_write or not data:
            if not self.session.closed and self.session.wants_to_write:
                self.session.write()
            try:
                found = self.ours.recv(1 << 20)
            except BlockingIOError:
                break
            if not found:
                break
            data += found
        messages = []
        while data:
            length = int.from_bytes(data[2:4], "big")
            messages.append(data[:length])
            data = data[length:]
        return messages

    def send(self, *changes: Change) -> list[bytes]:
        return self.say(b"".join(openflow.packed(DATAPATH, openflow.messages(DATAPATH, changes))))

    def ask(self, message: Any) -> list[bytes]:
        DATAPATH.set_xid(message)
        message.serialize()
        return self.say(bytes(message.buf))


@pytest.fixture
def talk() -> Talk:
    return Talk()


def parsed(data: bytes) -> Any:
    version, kind, length, xid = ofproto_parser.header(data)
    return ofproto_parser.msg(DATAPATH, version, kind, length, xid, data)


def the_error(answers: list[bytes]) -> tuple[int, int]:
    (answer,) = answers
    assert answer[1] == ofp.OFPT_ERROR
    return cast(tuple[int, int], struct.unpack_from("!HH", answer, 8))


def installed(talk: Talk) -> Installed:
    """What the switch says that it holds, read as the controller reads it."""
    openflow.read_replies_here()
    flows = [f for answer in talk.ask(openflow.FLOWS.message(DATAPATH)) for f in parsed(answer).body]
    groups = [g for answer in talk.ask(openflow.GROUPS.message(DATAPATH)) for g in parsed(answer).body]
    return Installed(Counter((f.value.table, f.value.priority, f.value.cookie) for f in flows),
                     dict(g.value for g in groups))


def all_of(rules: SwitchRules) -> Iterable[Change]:
    yield from (SetGroup(group, exists=False) for group in rules.groups)
    yield from (AddFlow(flow) for flow in rules.flows)


@pytest.mark.parametrize("rules", [RULES["leaf1"], RULES["spine1"], PINNED, VPCS],
                         ids=["leaf", "spine", "pinned", "vpcs"])
def test_rules_of_the_controller_come_back_as_they_were_sent(talk: Talk, rules: SwitchRules) -> None:
    assert talk.send(*all_of(rules)) == []
    assert len(talk.engine.named("rule")) == len(rules.flows)
    assert len(talk.engine.named("group")) == len(rules.groups)
    assert reconcile(rules, installed(talk)) == ()


def test_a_rule_in_the_words_of_the_engine(talk: Talk) -> None:
    flow = Flow("x", Table.BRIDGE, 100, Match(in_port=3, eth_dst="01:00:00:00:00:00/01:00:00:00:00:00", eth_type=0x800,
                                              ip_proto=17, nw_ttl=1, ipv4_dst="10.1.0.0/16", udp_dst=4789),
                (SetField("eth_src", "02:00:00:00:00:01"), CopyField("eth_src", "eth_dst"), DecTtl(), Output(7)),
                Table.DELIVER)
    talk.send(AddFlow(flow))
    (command,) = talk.engine.named("rule")
    assert command == (
        f"rule leaf1 1 table=30 priority=100 cookie={flow.cookie} "
        "match in_port=3,eth_dst=01:00:00:00:00:00/01:00:00:00:00:00,eth_type=2048,ip_proto=17,"
        "ipv4_dst=10.1.0.0/255.255.0.0,udp_dst=4789,nw_ttl=1 "
        "do set:eth_src=02:00:00:00:00:01;copy:eth_src>eth_dst;dec_ttl;output:7 goto=40")


def test_a_select_group_in_the_words_of_the_engine(talk: Talk) -> None:
    talk.send(SetGroup(GROUP, exists=False))
    (command,) = talk.engine.named("group")
    assert command.startswith(f"group leaf1 {GROUP.id} type=select "
                              "hash=ipv4_src,ipv4_dst,ip_proto,tcp_src,tcp_dst,udp_src,udp_dst buckets 1:1:set:")


def test_an_equal_rule_takes_the_place_of_the_old_one_and_keeps_its_counters(talk: Talk) -> None:
    old, new = (Flow(name, Table.BRIDGE, 5, Match(in_port=1), (Output(port),)) for name, port in (("a", 1), ("b", 2)))
    talk.send(AddFlow(old), AddFlow(new))
    assert [c.split(" ")[2] for c in talk.engine.named("rule")] == ["1", "1"]
    assert list(installed(talk).flows) == [(30, 5, new.cookie)]


def test_a_deletion_by_cookie_reports_the_last_counters_of_a_drop(talk: Talk) -> None:
    drop, other = Flow("drop", Table.BRIDGE, 5, Match(in_port=1)), Flow("out", Table.BRIDGE, 6, Match(), (Output(1),))
    talk.send(AddFlow(drop), AddFlow(other))
    (answer,) = talk.send(DeleteFlows(drop.cookie), DeleteFlows(other.cookie))
    found = openflow.removed_flow(parsed(answer))
    assert (found.cookie, found.packets, found.bytes) == (drop.cookie, 7, 700)
    assert installed(talk).flows == Counter()


def test_a_group_takes_its_rules_with_it(talk: Talk) -> None:
    rules = RULES["leaf1"]
    talk.send(*all_of(rules))
    talk.send(*(DeleteGroup(group.id) for group in rules.groups))
    found = installed(talk)
    assert not found.groups
    assert 0 < len(found.flows) < len(rules.flows)


def test_a_barrier_waits_for_the_engine(talk: Talk) -> None:
    talk.engine.answer_now = False
    talk.send(AddFlow(RULES["leaf1"].flows[0]))
    assert talk.ask(openflow.BARRIER.message(DATAPATH)) == []
    talk.engine.answer_all()
    assert [m[1] for m in talk.take()] == [ofp.OFPT_BARRIER_REPLY]


def test_a_rule_that_the_engine_refuses_gets_an_error_and_is_not_there(talk: Talk) -> None:
    talk.engine.refuses = "rule"
    assert the_error(talk.send(AddFlow(RULES["leaf1"].flows[0])))[0] == ofp.OFPET_FLOW_MOD_FAILED
    assert installed(talk).flows == Counter()


def test_features_and_ports_as_os_ken_reads_them(talk: Talk) -> None:
    (features,) = talk.ask(parser.OFPFeaturesRequest(DATAPATH))
    assert parsed(features).datapath_id == 0x1001
    (ports,) = talk.ask(parser.OFPPortDescStatsRequest(DATAPATH, 0, ofp.OFPP_ANY))
    assert [(p.port_no, p.name, openflow.is_up(p)) for p in parsed(ports).body] == [
        (1, b"leaf1-eth1", True), (101, b"leaf1-eth2", True)]
    talk.switch.up[1] = False
    talk.session.port_changed(1)
    (status,) = talk.take()
    assert not openflow.is_up(parsed(status).desc)


@pytest.mark.parametrize(("data", "error"), [
    (b"\x04\x0e\x00\x08\x00\x00\x00\x01", (ofp.OFPET_BAD_REQUEST, ofp.OFPBRC_BAD_VERSION)),
    (b"\x06\x63\x00\x08\x00\x00\x00\x01", (ofp.OFPET_BAD_REQUEST, ofp.OFPBRC_BAD_TYPE)),
    (b"\x06\x0e\x00\x08\x00\x00\x00\x01", (ofp.OFPET_BAD_REQUEST, ofp.OFPBRC_BAD_LEN)),
    (b"\x06\x12\x00\x10\x00\x00\x00\x01\x00\x63\x00\x00\x00\x00\x00\x00",
     (ofp.OFPET_BAD_REQUEST, ofp.OFPBRC_BAD_MULTIPART)),
], ids=["version", "type", "cut short", "multipart"])
def test_what_is_unknown_or_cut_short_is_refused_by_its_error(talk: Talk, data: bytes, error: tuple[int, int]) -> None:
    assert the_error(talk.say(data)) == error
    assert not talk.session.closed


def test_another_version_alone_ends_the_connection(talk: Talk) -> None:
    assert the_error(talk.say(b"\x04\x00\x00\x08\x00\x00\x00\x01")) == (ofp.OFPET_HELLO_FAILED, 0)
    assert talk.session.closed


@pytest.mark.parametrize(("match", "code"), [
    ({"ipv4_dst": "10.0.0.1"}, ofp.OFPBMC_BAD_PREREQ),
    ({"metadata": 1}, ofp.OFPBMC_BAD_FIELD),
    ({"vlan_vid": 1}, ofp.OFPBMC_BAD_FIELD),
    ({"eth_type": 0x800, "ip_dscp": 64}, ofp.OFPBMC_BAD_VALUE),
])
def test_a_match_that_the_engine_cannot_do_is_refused(talk: Talk, match: dict[str, Any], code: int) -> None:
    mod = parser.OFPFlowMod(DATAPATH, match=parser.OFPMatch(**match), instructions=[])
    assert the_error(talk.ask(mod)) == (ofp.OFPET_BAD_MATCH, code)
    assert talk.engine.named("rule") == []


@pytest.mark.parametrize(("instructions", "error"), [
    ([parser.OFPInstructionGotoTable(0)], (ofp.OFPET_BAD_INSTRUCTION, ofp.OFPBIC_BAD_TABLE_ID)),
    ([parser.OFPInstructionActions(ofp.OFPIT_WRITE_ACTIONS, [])],
     (ofp.OFPET_BAD_INSTRUCTION, ofp.OFPBIC_UNSUP_INST)),
    ([parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, [parser.OFPActionPushVlan()])],
     (ofp.OFPET_BAD_ACTION, ofp.OFPBAC_BAD_TYPE)),
    ([parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, [parser.OFPActionGroup(9)])],
     (ofp.OFPET_BAD_ACTION, ofp.OFPBAC_BAD_OUT_GROUP)),
    ([parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, [parser.OFPActionSetField(in_port=1)])],
     (ofp.OFPET_BAD_ACTION, ofp.OFPBAC_BAD_SET_TYPE)),
])
def test_an_instruction_or_action_that_the_engine_cannot_do_is_refused(
        talk: Talk, instructions: list[Any], error: tuple[int, int]) -> None:
    assert the_error(talk.ask(parser.OFPFlowMod(DATAPATH, instructions=instructions))) == error


def test_a_deletion_without_a_cookie_goes_by_the_match(talk: Talk) -> None:
    narrow, wide = Match(eth_type=0x800, ipv4_dst="10.1.2.0/24"), Match(eth_type=0x800, ipv4_dst="10.2.0.0/16")
    talk.send(*(AddFlow(Flow(f"f{n}", Table.ROUTE, 5 + n, m, (Output(1),))) for n, m in enumerate((narrow, wide))))
    talk.ask(parser.OFPFlowMod(
        DATAPATH, command=ofp.OFPFC_DELETE, table_id=ofp.OFPTT_ALL, out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY,
        match=parser.OFPMatch(eth_type=0x800, ipv4_dst=("10.1.0.0", "255.255.0.0"))))
    assert [priority for _, priority, _ in installed(talk).flows] == [6]


def test_a_packet_out_and_a_packet_in_as_os_ken_reads_them(talk: Talk) -> None:
    frame = bytes(range(60))
    out = parser.OFPPacketOut(DATAPATH, match=parser.OFPMatch(in_port=1), data=frame,
                              actions=[parser.OFPActionOutput(ofp.OFPP_FLOOD, 0)])
    assert talk.ask(out) == []
    assert talk.engine.commands[-1] == f"packet-out leaf1 1 output:{ofp.OFPP_FLOOD} {frame.hex()}"
    talk.session.packet_in(101, 1, 20, 77, 60, frame)
    (message,) = talk.take()
    found = parsed(message)
    assert (found.match["in_port"], found.reason, found.table_id, found.cookie, found.data) == (101, 1, 20, 77, frame)


def test_a_switch_without_power_holds_nothing(talk: Talk) -> None:
    talk.send(*all_of(RULES["leaf1"]))
    talk.switch.lose_power()
    assert installed(talk) == Installed(Counter(), {})


def test_messages_of_any_bytes_are_answered_and_nothing_breaks(talk: Talk) -> None:
    draw = random.Random(7)     # noqa: S311 - no secret
    good = list(openflow.packed(DATAPATH, openflow.messages(DATAPATH, [
        AddFlow(VPCS.flows[n]) for n in range(0, len(VPCS.flows), 7)] + [SetGroup(GROUP, exists=False)])))
    whole = b"".join(good)
    messages, at = [], 0
    while at < len(whole):
        length = int.from_bytes(whole[at + 2: at + 4], "big")
        messages.append(whole[at: at + length])
        at += length
    for _ in range(3000):
        data = bytearray(draw.choice(messages))
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(8, len(data))] = draw.randrange(256)
        if draw.random() < 0.2:
            del data[draw.randrange(8, len(data)):]
            data[2:4] = len(data).to_bytes(2, "big")
        for answer in talk.say(bytes(data)):
            assert answer[1] in (ofp.OFPT_ERROR, ofp.OFPT_FLOW_REMOVED)
    assert not talk.session.closed
