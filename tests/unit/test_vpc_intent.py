"""Intent files: what is taken, and how each mistake is reported, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from controller.intent.intent import Intent, as_objects, read_intent
from controller.intent.intent_checks import intent_problems
from controller.intent.vpc import Allocation, allocate, resolve
from tests.unit.intents import Spec, attach, intent, intents, peer, vpc
from topologies.model.document import dotted
from topologies.model.errors import SpecError, SpecErrors
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(name="f", leaves=2, spines=2, hosts_per_leaf=2))
HOSTS = [h.name for h in FABRIC.hosts]
GOOD = """\
apiVersion: vpc.githedgehog.com/v1beta1
kind: VPC
metadata: {name: train}
spec:
  mode: l2vni
  defaultIsolated: true
  subnets:
    gpus: {subnet: 10.1.0.0/24, gateway: 10.1.0.254, restricted: true}
    store: {subnet: 10.1.1.0/24, isolated: false}
  permit: [[gpus, store]]
---
kind: VPC
metadata: {name: serve}
spec: {subnets: {web: {subnet: 10.2.0.0/24}}}
---
kind: VPCAttachment
metadata: {name: train-h1}
spec: {connection: h1, subnet: train/gpus}
---
kind: VPCPeering
metadata: {name: train-serve}
spec:
  permit:
    - {train: {subnets: [store]}, serve: {}}
---
"""


def read(tmp_path: Path, text: str) -> Intent:
    path = tmp_path / "vpcs.yml"
    path.write_text(text)
    return read_intent(path)[0]


def reported(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as info:
        read(tmp_path, text)
    error = info.value
    return [str(e).replace(f"{tmp_path}/", "") for e in (error.errors if isinstance(error, SpecErrors) else [error])]


def test_a_file_says_who_is_where_and_who_may_speak(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert list(found.vpcs) == ["train", "serve"]
    assert found.attachments[0].connection == "h1"
    assert intent_problems(found, FABRIC) == []
    tenancy = resolve(found, FABRIC, allocate(found, Allocation()))
    assert tenancy.permits == {
        ("train/store", "train/store"), ("train/gpus", "train/store"), ("train/store", "train/gpus"),
        ("serve/web", "serve/web"), ("train/store", "serve/web"), ("serve/web", "train/store")}
    segment, member = tenancy.members["h1"]
    assert (segment.gateway, member.ip, member.leaf, member.port) == ("10.1.0.254", "10.1.0.1", "leaf1", 101)


def test_objects_read_back_as_they_were(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert Intent.model_validate({"objects": as_objects(found)}) == found


def test_every_mistake_of_a_file_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    text = (GOOD.replace("mode: l2vni", "mode: l2").replace("isolated: false", "dhcp: {enable: true, relay: 10.1.0.9}")
            .replace("kind: VPCAttachment", "kind: VPCAttachement")
            .replace("subnet: 10.2.0.0/24", "subnet: 10.2.0.1/24"))
    wheres = [line.split(": expected")[0] for line in reported(tmp_path, text)]
    assert wheres == ["vpcs.yml:5 spec.mode", "vpcs.yml:9 spec.subnets.store.dhcp.relay",
                      "vpcs.yml:14 spec.subnets.web.subnet", "vpcs.yml:16 kind"]


@pytest.mark.parametrize(("old", "new", "words"), [
    ("defaultIsolated: true", "staticRoutes: [{prefix: 10.9.0.0/16, nextHops: [10.1.0.9]}]",
     "vpcs.yml:6 spec.staticRoutes: expected nothing here: leaves forward by the routes of hosts"),
    ("kind: VPC\nmetadata: {name: serve}", "kind: GatewayPeering\nmetadata: {name: serve}", "found GatewayPeering"),
    ("name: train}", "name: Train}", "vpcs.yml:3 metadata.name: expected text of the form"),
    ("gateway: 10.1.0.254", "gateway: ten", "expected an IPv4 address, such as 10.1.0.1; found ten"),
    ("vpc.githedgehog.com/v1beta1", "vpc.githedgehog.com/v2", "apiVersion"),
    ("subnets: {web: {subnet: 10.2.0.0/24}}", "subnets: {}", "expected at least 1 of them"),
])
def test_a_field_or_a_value_that_is_not_supported_is_refused_by_name(
        tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    assert any(words in line for line in reported(tmp_path, GOOD.replace(old, new)))


A = vpc("a", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"})
B = vpc("b", {"x": "10.1.0.0/24"})
C = vpc("c", {"z": "10.3.0.0/24"})


@pytest.mark.parametrize(("objects", "path", "expected", "found"), [
    ([vpc("a", {"x": "10.1.0.0/16", "y": "10.1.1.0/24"})], "spec.subnets.y.subnet",
     "subnets of a VPC that do not overlap", "10.1.1.0/24, which overlaps x (10.1.0.0/16)"),
    ([vpc("a", {"x": {"subnet": "10.1.0.0/24", "gateway": "10.1.1.1"}})], "spec.subnets.x.gateway",
     "a host address of 10.1.0.0/24", "10.1.1.1"),
    ([vpc("a", {"x": {"subnet": "10.1.0.0/24", "gateway": "10.1.0.255"}})], "spec.subnets.x.gateway",
     "a host address of 10.1.0.0/24", "10.1.0.255"),
    ([vpc("a", {"x": "10.1.0.0/31"})], "spec.subnets.x.subnet", "room for a gateway and a host", "10.1.0.0/31"),
    ([vpc("a", {"x": "224.0.0.0/8"})], "spec.subnets.x.subnet", "unicast", "224.0.0.0/8"),
    ([vpc("a", {"x": "0.0.0.0/0"})], "spec.subnets.x.subnet", "unicast", "0.0.0.0/0"),
    ([vpc("a", {"x": "10.255.0.0/24"})], "spec.subnets.x.subnet",
     "a prefix that does not overlap 10.255.0.0/16 (the underlay, with the VTEPs and their path aliases)",
     "10.255.0.0/24"),
    ([vpc("a", {"x": "10.255.9.16/30"})], "spec.subnets.x.subnet", "10.255.0.0/16 (the underlay", "10.255.9.16/30"),
    ([vpc("a", {"x": "10.254.1.0/30"})], "spec.subnets.x.subnet",
     "10.254.0.0/16 (the links with BGP routers, with the router ids)", "10.254.1.0/30"),
    ([vpc("a", {"x": "10.9.128.0/20"})], "spec.subnets.x.subnet",
     "10.9.0.0/16 (the default VPC, with the hosts in no other and the probes)", "10.9.128.0/20"),
    ([vpc("a", {"x": "10.0.0.0/8"})], "spec.subnets.x.subnet", "aliases) nor 10.254.0.0/16 (the links", "10.0.0.0/8"),
    ([vpc("default", {"x": "10.1.0.0/24"})], "metadata.name", "another name", "default"),
    ([A, A], "metadata.name", "one VPC of each name", "a again"),
    ([vpc("a", {"x": "10.1.0.0/24"}, permit=[["x", "xx"]])], "spec.permit.0.1", "one of the subnets x", "xx"),
    ([A, attach("h1", "a/x"), attach("h1", "a/y")], "spec.connection", "each host attached once",
     "h1, which is attached to a/x already"),
    ([A, attach("h99", "a/x")], "spec.connection", "a host of the fabric f", "h99"),
    ([A, attach("probe1", "a/x")], "spec.connection", "that is not a probe", "probe1"),
    ([A, attach("leaf1", "a/x")], "spec.connection", "a host of the fabric", "leaf1"),
    ([A, attach("h1", "b/x")], "spec.subnet", "one of the VPCs a", "b"),
    ([A, attach("h1", "a/z")], "spec.subnet", "one of the subnets x, y", "z"),
    ([vpc("a", {"x": "10.1.0.0/30"}), attach("h1", "a/x"), attach("h2", "a/x")], "spec.subnet",
     "at most 1 hosts in a/x", "one more"),
    ([A, peer(a=[])], "spec.permit.0", "two VPCs that peer", "a with itself"),
    ([A, B, C, {**peer(a=[], b=[], c=[])}], "spec.permit.0", "two VPCs", "3 VPCs"),
    ([A, peer(a=[], b=[])], "spec.permit.0.b", "one of the VPCs a", "b"),
    ([A, C, peer(a=["w"], c=[])], "spec.permit.0.a.subnets.0", "one of the subnets x, y", "w"),
    ([A, B, peer(a=["y"], b=["x"])], "spec.permit", "peers whose subnets do not overlap",
     "a and b overlap: 10.1.0.0/24 and 10.1.0.0/24"),
    ([A, B, C, peer(a=[], c=[]), peer(b=[], c=[])], "spec.permit", "peers whose subnets do not overlap",
     "a and b, both peers of c, overlap"),
])
def test_what_does_not_fit_together_is_reported_at_its_place(
        objects: list[Spec], path: str, expected: str, found: str) -> None:
    problems = intent_problems(intent(*objects), FABRIC)
    match = [p for p in problems if dotted(p.path).split(".", 2)[2] == path]
    assert match, problems
    assert expected in match[0].expected
    assert found in match[0].found
    assert len({p.path for p in problems}) == len(problems)


def test_a_fabric_with_another_subnet_has_another_default_network() -> None:
    elsewhere = expand(FabricSpec(name="f", leaves=2, spines=2, hosts_per_leaf=2, subnet="10.1.0.0/16"))
    (problem,) = intent_problems(intent(A), elsewhere)[:-1]
    assert "10.1.0.0/16 (the default VPC" in problem.expected
    assert intent_problems(intent(vpc("a", {"x": "10.9.0.0/24"})), elsewhere) == []


def test_vnis_may_run_out() -> None:
    (problem,) = intent_problems(intent(A, C), FABRIC, pool=range(1001, 1005))
    assert problem.found == "5 in all"
    assert problem.expected == "at most 4 VNIs, one for each VPC and each subnet, two for an External"
    assert intent_problems(intent(A, C), FABRIC, pool=range(1001, 1006)) == []


@given(intents(HOSTS), intents(HOSTS))
def test_who_stays_keeps_number_and_address_and_nothing_is_given_twice(one: Intent, other: Intent) -> None:
    before = allocate(one, Allocation())
    after = allocate(other, before)
    assert len(set(after.vnis.values())) == len(after.vnis)
    assert {n: v for n, v in after.vnis.items() if n in before.vnis} == {
        n: v for n, v in before.vnis.items() if n in after.vnis}
    assert not set(before.vnis.values()) & {v for n, v in after.vnis.items() if n not in before.vnis}
    for segment, hosts in after.addresses.items():
        assert len({*hosts.values()}) == len(hosts)
        old = before.addresses.get(segment, {})
        for host, ip in hosts.items():
            assert old.get(host, ip) == ip
            assert host in old or ip not in old.values()


def test_numbers_go_round_and_come_again_only_when_they_have_to() -> None:
    pool = range(1001, 1005)
    first = allocate(intent(vpc("a", {"x": "10.1.0.0/24"})), Allocation(), pool)
    second = allocate(intent(vpc("b", {"x": "10.1.0.0/24"})), first, pool)
    third = allocate(intent(vpc("c", {"x": "10.1.0.0/24", "y": "10.1.1.0/24"})), second, pool)
    assert (first.vnis, second.vnis) == ({"a": 1001, "a/x": 1002}, {"b": 1003, "b/x": 1004})
    assert sorted(third.vnis.values()) == [1001, 1002, 1003], "two free ones, then one that has just come back"


def test_a_host_gets_another_address_when_its_subnet_changes_under_it() -> None:
    before = allocate(intent(A, attach("h1", "a/x")), Allocation())
    moved = vpc("a", {"x": "10.7.0.0/24", "y": "10.1.1.0/24"})
    assert allocate(intent(moved, attach("h1", "a/x")), before).addresses == {"a/x": {"h1": "10.7.0.2"}}
