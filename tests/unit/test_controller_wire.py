"""Rules as OpenFlow bytes and back, requests and their replies, the API and its client."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from os_ken.ofproto import ofproto_protocol
from os_ken.ofproto import ofproto_v1_5 as ofp
from os_ken.ofproto import ofproto_v1_5_parser as parser

from controller.__main__ import main
from controller.change import IntentTransactions, Rollout
from controller.desired_state import DesiredState
from controller.intent.vpc import Allocation, allocate, resolve
from controller.northbound import sockets
from controller.northbound.api import build
from controller.northbound.client import ControllerClient
from controller.rules.compile import compile_rules
from controller.rules.rules import Flow, Group, Match
from controller.southbound import openflow
from controller.southbound.connection import FlowCounter
from controller.southbound.reconcile import AddFlow, Change, DeleteFlows, DeleteGroup, Installed, SetGroup
from controller.southbound.transaction_ids import TransactionIds
from tests.unit.intents import attach, intent, peer, vpc
from topologies.model.errors import LabError
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(leaves=2, spines=3, hosts_per_leaf=1))
RULES = compile_rules(FABRIC)
GROUP = RULES["leaf1"].groups[0]
PINNED = compile_rules(expand(FABRIC.spec.model_copy(update={"paths": "pinned"})))["leaf1"]
TENANTS = intent(vpc("a", {"x": "10.1.0.0/24"}, permit=[["x"]]), vpc("b", {"y": "10.2.0.0/24"}, defaultRestricted=True),
                 peer(a=[], b=[]), attach("h1", "a/x"), attach("h2", "b/y"))
VPCS = compile_rules(FABRIC, tenancy=resolve(TENANTS, FABRIC, allocate(TENANTS, Allocation())))["leaf1"]


class FakeDatapath(ofproto_protocol.ProtocolDesc):  # type: ignore[misc]
    """A connection that keeps what is sent on it."""

    def __init__(self, dpid: int = 1) -> None:
        super().__init__(ofp.OFP_VERSION)
        self.id, self.sent, self._xid = dpid, [], 0

    def set_xid(self, message: Any) -> None:
        self._xid += 1
        message.set_xid(self._xid)

    def send_msg(self, message: Any) -> None:
        self.sent.append(message)


def wire(change: Any) -> bytes:
    datapath = FakeDatapath()
    (data,) = openflow.packed(datapath, openflow.messages(datapath, [change]))
    return bytes(data)


def description(group_mod: bytes) -> bytes:
    """The entry of a group description that a switch would answer after this group mod."""
    kind, number, buckets_length = struct.unpack_from("!BxIH", group_mod, 10)
    body = group_mod[24:]
    return struct.pack("!HBxIH6x", 16 + len(body), kind, number, buckets_length) + body


def test_a_group_reads_back_as_it_was_written_even_with_another_behind_it() -> None:
    first = description(wire(SetGroup(GROUP, exists=False)))
    second = description(wire(SetGroup(Group(9, "other", ("ip_src",), GROUP.buckets[:1]), exists=True)))
    openflow.read_replies_here()
    entry = parser.OFPGroupDescStats.parser(first + second, 0)
    assert entry.value == (GROUP.id, GROUP)
    assert entry.length == len(first)
    number, group = parser.OFPGroupDescStats.parser(first + second, entry.length).value
    assert (number, group.hash_fields, len(group.buckets)) == (9, ("ip_src",), 1)


def test_a_group_of_another_kind_is_read_as_none_of_ours() -> None:
    data = bytearray(description(wire(SetGroup(GROUP, exists=False))))
    data[2] = ofp.OFPGT_ALL
    assert openflow._read_group(bytes(data), 0).value == (GROUP.id, None)


def test_a_failover_group_reads_back_as_it_was_written_in_the_same_order() -> None:
    for group in PINNED.groups:
        data = description(wire(SetGroup(group, exists=False)))
        assert data[2] == ofp.OFPGT_FF
        assert openflow._read_group(data, 0).value == (group.id, group)


@pytest.mark.parametrize(("group", "kind"), [(GROUP, ofp.OFPGT_FF), (PINNED.groups[0], ofp.OFPGT_SELECT)])
def test_a_group_whose_kind_does_not_fit_its_selection_is_read_as_none_of_ours(group: Group, kind: int) -> None:
    data = bytearray(description(wire(SetGroup(group, exists=False))))
    data[2] = kind
    assert openflow._read_group(bytes(data), 0).value == (group.id, None)


def test_a_group_with_another_selection_method_is_read_as_none_of_ours() -> None:
    data = description(wire(SetGroup(GROUP, exists=False))).replace(b"hash\0", b"dp_ha")
    assert openflow._read_group(data, 0).value == (GROUP.id, None)


@pytest.mark.parametrize("flow", [f for r in (*RULES.values(), PINNED, VPCS) for f in r.flows], ids=lambda f: f.name)
def test_a_flow_keeps_its_identity_and_its_match_on_the_wire(flow: Flow) -> None:
    data = wire(AddFlow(flow))
    cookie, _, table, command, _, _, priority = struct.unpack_from("!QQBBHHH", data, 8)
    assert (cookie, table, command, priority) == (flow.cookie, flow.table, ofp.OFPFC_ADD, flow.priority)
    match = dict(parser.OFPMatch.parser(data, 48).items())
    assert set(match) == {name for name, _ in flow.match.set_fields}
    (flags,) = struct.unpack_from("!H", data, 44)
    assert flags == (ofp.OFPFF_SEND_FLOW_REM if flow.is_drop else 0)


def test_masks_are_written_as_masks() -> None:
    flow = Flow("m", 0, 1, Match(eth_dst="01:00:00:00:00:00/01:00:00:00:00:00", eth_type=0x0800,
                                 ipv4_dst="10.255.3.0/24"))
    match = dict(parser.OFPMatch.parser(wire(AddFlow(flow)), 48).items())
    assert match["eth_dst"] == ("01:00:00:00:00:00", "01:00:00:00:00:00")
    assert match["ipv4_dst"] == ("10.255.3.0", "255.255.255.0")


def test_fields_come_after_what_they_depend_on() -> None:
    """Else the switch refuses the rule."""
    for flow in VPCS.flows:
        order = [name for name, _ in parser.OFPMatch.parser(wire(AddFlow(flow)), 48).items()]
        for name, needed in (("nw_ttl", "eth_type"), ("ipv4_dst", "eth_type"), ("icmpv4_type", "ip_proto")):
            assert name not in order or order.index(needed) < order.index(name), flow


def test_flows_are_deleted_by_their_whole_cookie_in_every_table() -> None:
    cookie, mask, table, command = struct.unpack_from("!QQBB", wire(DeleteFlows(0x1234)), 8)
    assert (cookie, mask, table, command) == (0x1234, 2**64 - 1, ofp.OFPTT_ALL, ofp.OFPFC_DELETE)


def test_groups_are_added_modified_and_deleted_by_number() -> None:
    commands = [struct.unpack_from("!HxxI", wire(change), 8) for change in
                (SetGroup(GROUP, exists=False), SetGroup(GROUP, exists=True), DeleteGroup(GROUP.id))]
    assert commands == [(ofp.OFPGC_ADD, 2), (ofp.OFPGC_MODIFY, 2), (ofp.OFPGC_DELETE, 2)]


def test_many_messages_go_out_in_few_buffers_and_none_is_lost() -> None:
    datapath = FakeDatapath()
    flows = [AddFlow(Flow(f"f{n}", 0, 1, Match(in_port=n))) for n in range(2000)]
    buffers = [*openflow.packed(datapath, openflow.messages(datapath, flows))]
    assert len(buffers) < 10
    count, data = 0, b"".join(buffers)
    while data:
        data = data[struct.unpack_from("!H", data, 2)[0]:]
        count += 1
    assert count == 2000


def test_a_flow_description_gives_identity_and_counters_and_its_own_length() -> None:
    match = struct.pack("!HH4x", 1, 4)
    oxs = struct.pack("!HBBQ", 0x8002, 4 << 1, 8, 7) + struct.pack("!HBBQ", 0x8002, 5 << 1, 8, 700)
    duration = struct.pack("!HBBII", 0x8002, 0, 8, 3, 4)
    stats = struct.pack("!HH", 0, 4 + len(duration + oxs)) + duration + oxs
    body = match + stats + bytes(-len(stats) % 8) + bytes(16)
    data = struct.pack("!H2xBxH8xQ", 24 + len(body), 30, 100, 0xABC) + body
    entry = openflow._read_flow(b"xx" + data + b"yy", 2)
    assert entry.value == FlowCounter(30, 100, 0xABC, 7, 700)
    assert entry.length == len(data)


def _reply(datapath: FakeDatapath, xid: int, body: list[Any], more: bool = False) -> Any:
    return SimpleNamespace(datapath=datapath, xid=xid, body=body, flags=int(more))


def test_parts_of_a_reply_come_together_and_those_of_others_do_not_mix_in() -> None:
    asked, one, two = TransactionIds(), FakeDatapath(1), FakeDatapath(2)
    first, second = asked.ask(one, openflow.BARRIER), asked.ask(two, openflow.BARRIER)
    asked.receive(_reply(one, 1, ["a"], more=True))
    asked.receive(_reply(two, 1, ["x"]))
    assert not first.done()
    asked.receive(_reply(one, 1, ["b"]))
    asked.receive(_reply(one, 1, ["late"]))
    assert (first.result(0), second.result(0)) == (["a", "b"], ["x"])


def test_nobody_waits_for_a_connection_that_is_gone() -> None:
    asked, one, two = TransactionIds(), FakeDatapath(), FakeDatapath()
    lost, kept = asked.ask(one, openflow.BARRIER), asked.ask(two, openflow.BARRIER)
    asked.forget(one)
    with pytest.raises(CancelledError):
        lost.result(0)
    asked.receive(_reply(two, 1, []))
    assert kept.result(0) == []


class Reader:
    """Counters as switches would give them: every flow has met as many packets as its priority says."""

    fails: LabError | None = None

    def read_counters(self) -> dict[str, tuple[list[Any], list[Any]]]:
        if self.fails:
            raise self.fails
        flows = [FlowCounter(f.table, f.priority, f.cookie, int(f.priority), 10) for f in RULES["leaf1"].flows]
        bucket = SimpleNamespace(packet_count=1, byte_count=2)
        group = SimpleNamespace(group_id=GROUP.id, packet_count=3, byte_count=6, bucket_stats=[bucket] * 3)
        return {"leaf1": ([*flows, FlowCounter(0, 1, 77, 5, 5)], [group])}


class Nobody:
    """No switch is connected."""

    def send(self, switch: str, changes: Iterable[Change]) -> None:
        raise AssertionError(f"{switch}: nothing here changes intent")

    def barrier(self, switch: str, *, changed: bool) -> Future[None]:
        raise AssertionError(f"{switch}: nothing here changes intent")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[DesiredState, Reader, ControllerClient]]:
    """The real API on a unix socket."""
    desired, reader, path = DesiredState(FABRIC), Reader(), str(tmp_path / "api.sock")
    transactions = IntentTransactions(Rollout(desired, Nobody()), tmp_path / "i")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    server = uvicorn.Server(uvicorn.Config(build(desired, reader, transactions), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield desired, reader, ControllerClient(path, timeout=5)
    server.should_exit = True
    thread.join(5)


def test_the_api_tells_health_links_rules_and_counters(served: tuple[DesiredState, Reader, ControllerClient]) -> None:
    desired, reader, client = served
    for switch in RULES:
        desired.connected(switch)
        desired.installed(switch, Installed())
        desired.confirm(switch, 1)
    assert client.wait_converged(5, down=frozenset())["connected"] == 5
    desired.ports("leaf1", {2: False})
    assert [k["name"] for k in client.topology()["links"] if not k["up"]] == ["leaf1-spine2"]
    assert client.rules()["leaf1"].startswith("# leaf1: 1 groups")
    leaf = client.counters()["switches"]["leaf1"]
    (foreign,) = [f for f in leaf["flows"] if f["name"] == "foreign"]
    assert (foreign["cookie"], foreign["drop"], foreign["packets"]) == ("0x000000000000004d", False, 5)
    assert [b["port"] for b in leaf["groups"][0]["buckets"]] == [1, 3]
    assert leaf["drops"]["spoof:h1"] == {"packets": 50, "bytes": 10}
    assert "from:h1" not in leaf["drops"]
    desired.removed("leaf1", next(f.cookie for f in RULES["leaf1"].flows if f.name == "spoof:h1"), 2, 5)
    assert client.counters()["drops"]["spoof:h1"] == {"packets": 52, "bytes": 15}
    reader.fails = LabError("switch leaf1", "an answer", "none")
    with pytest.raises(LabError, match=r"503 .*switch leaf1: expected an answer; found none"):
        client.counters()


def test_a_wait_that_ends_says_what_is_missing(served: tuple[DesiredState, Reader, ControllerClient]) -> None:
    desired, _, client = served
    desired.connected("leaf1")
    desired.failed("leaf1", "refused message 0x1")
    with pytest.raises(LabError, match=r"found 1 of 5 connected; waiting for spine1.*leaf1: refused message 0x1"):
        client.wait_converged(0.2)


def test_a_controller_that_is_not_there_is_reported_in_words(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="is the controller running"):
        ControllerClient(str(tmp_path / "none.sock")).health()


def test_a_dead_socket_is_removed_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "of.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(LabError, match="this lab has a controller already"):
            sockets.claim(str(path))
    sockets.claim(str(path))
    assert not path.exists()
    with pytest.raises(LabError, match="no such directory"):
        sockets.claim(str(tmp_path / "gone" / "of.sock"))


def test_a_missing_inventory_ends_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.__main__.die_with_parent", lambda: None)
    assert main(["--inventory", str(tmp_path / "none.json")]) == 1
    assert "expected the inventory of a running lab; found no such file" in capsys.readouterr().err
