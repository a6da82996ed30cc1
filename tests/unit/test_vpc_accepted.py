"""VPC files as other people write them: what is read, what is ignored with a note, what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controller.intent.intent import KEY, Intent, as_objects, ignored_in, read_intent
from controller.intent.intent_checks import intent_problems
from controller.intent.intent_fields import SubnetSpec
from controller.intent.leases import lease, room
from controller.intent.lenient import note_lines, refuse
from controller.intent.vpc import Allocation, allocate, macs_of
from tests.unit.intents import attach, intent, peer, vpc
from topologies.model.document import dotted
from topologies.model.errors import SpecErrors
from topologies.model.expansion import expand
from topologies.model.spec import FabricSpec

FABRIC = expand(FabricSpec(name="f", leaves=2, spines=2, hosts_per_leaf=2))
MACS = macs_of(FABRIC)

# One of each, with everything that has no effect. Own words, the shape of Kubernetes' objects.
ACCEPTED = """\
apiVersion: vpc.githedgehog.com/v1beta1
kind: IPv4Namespace
metadata: {name: default}
spec: {subnets: [10.1.0.0/16]}
---
apiVersion: wiring.githedgehog.com/v1beta1
kind: VLANNamespace
metadata: {name: default}
spec: {ranges: [{from: 100, to: 199}]}
---
apiVersion: vpc.githedgehog.com/v1beta1
kind: VPC
metadata:
  name: research
  namespace: default
  labels: {team: blue}
  annotations: {note: none}
  creationTimestamp: "2026-01-01T00:00:00Z"
  generation: 3
  resourceVersion: "77"
  uid: 6a5b
spec:
  mode: ""
  ipv4Namespace: default
  vlanNamespace: default
  defaultIsolated: null
  permit:
  subnets:
    default:
      subnet: 10.1.0.0/24
      vlan: 101
      dhcp: {}
    a-subnet-with-a-longer-name:
      subnet: 10.1.1.0/24
      gateway: null
      vlan: 102
      dhcp:
        enable: true
        range: {start: 10.1.1.20, end: 10.1.1.255}
        static: {"02-00-0A-09-01-01": {ip: 10.1.1.7}}
        options:
          dnsServers: [192.0.2.1]
          timeServers: []
          interfaceMTU: 9000
          leaseTimeSeconds: 600
          disableDefaultRoute: false
          advertisedRoutes: [{destination: 10.66.0.0/16, gateway: 10.1.1.9}]
    relayed:
      subnet: 10.1.2.0/24
      dhcp: {relay: 10.1.1.9/32, relayVPC: research}
    speakers: {subnet: 10.1.3.0/24, hostBGP: true, hostBGPMinPrefixLen: 25, hostBGPExtraPrefixes: {10.8.0.0/16: {}}}
status: {vni: 5}
---
kind: VPC
metadata: {name: batch}
spec: {subnets: {default: {subnet: 10.2.0.0/24}}}
status: {}
---
kind: VPCAttachment
metadata: {name: rack-1.port-1--research--an-object-of-a-longer-name}
spec: {connection: h1, subnet: research, nativeVLAN: true}
---
kind: VPCPeering
metadata: {name: research--batch}
spec:
  permit:
  - research:
    batch:
---
kind: External
metadata: {name: an-outside-of-a-longer-name}
spec: {ipv4Namespace: default, static: {prefixes: ["0.0.0.0/0"]}, inboundCommunity: ""}
---
kind: ExternalAttachment
metadata: {name: outside-1}
spec:
  connection: ext1
  external: an-outside-of-a-longer-name
  neighbor: {}
  switch: {}
  static: {ip: 203.0.113.1/30, remoteIP: 203.0.113.2, vlan: 35, proxy: false}
"""


def read(tmp_path: Path, text: str) -> tuple[Intent, list[str], Any]:
    path = tmp_path / "v.yml"
    path.write_text(text)
    found, document = read_intent(path)
    notes = list(ignored_in(found, document.data[KEY]))
    return found, [line.replace(f"{tmp_path}/", "") for line in note_lines(document, notes)], (document, notes)


def test_what_has_no_effect_is_read_and_noted_with_its_line(tmp_path: Path) -> None:
    found, lines, _ = read(tmp_path, ACCEPTED)
    assert [" ".join(line.split(": ")[:2]) for line in lines] == [
        "v.yml:1 ignored IPv4Namespace", "v.yml:6 ignored VLANNamespace", "v.yml:15 ignored namespace",
        "v.yml:16 ignored labels", "v.yml:17 ignored annotations", "v.yml:18 ignored creationTimestamp",
        "v.yml:19 ignored generation", "v.yml:20 ignored resourceVersion", "v.yml:21 ignored uid",
        "v.yml:24 ignored ipv4Namespace (2 times)", "v.yml:25 ignored vlanNamespace", "v.yml:31 ignored vlan (3 times)",
        "v.yml:42 ignored dnsServers", "v.yml:44 ignored interfaceMTU", "v.yml:45 ignored leaseTimeSeconds",
        "v.yml:50 ignored relay", "v.yml:50 ignored relayVPC", "v.yml:51 ignored hostBGP",
        "v.yml:51 ignored hostBGPMinPrefixLen", "v.yml:51 ignored hostBGPExtraPrefixes", "v.yml:52 ignored status",
        "v.yml:61 ignored nativeVLAN"]
    assert found.vpcs["research"].mode == "l2vni"
    assert found.attachments[0].subnet == "research/default"
    assert found.peerings[0].permit[0].keys() == {"research", "batch"}


def test_what_is_ignored_changes_nothing(tmp_path: Path) -> None:
    """The same intent without the fields that have no effect is the same intent, and reads back as it was."""
    found, lines, _ = read(tmp_path, ACCEPTED)
    again, none, _ = read(tmp_path, "".join(f"---\n{o}\n" for o in map(json.dumps, as_objects(found))))
    assert again == found
    assert [line.split("ignored: ")[1].split(":")[0] for line in none] == ["IPv4Namespace", "VLANNamespace"]
    assert len(lines) > 20


def test_strict_refuses_each_of_them_at_its_line(tmp_path: Path) -> None:
    _, _, (document, notes) = read(tmp_path, ACCEPTED)
    with pytest.raises(SpecErrors) as info:
        refuse(document, notes)
    assert len(info.value.errors) == len(notes) > 20
    assert "v.yml:31 spec.subnets.default.vlan: expected only what has an effect here (--strict); found 101" in str(
        info.value)
    refuse(document, [])


@pytest.mark.parametrize("text", [
    "kind: VPC\nmetadata: {name: a}\nspec: {subnets: {x: {subnet: 10.1.0.0/24}}}\n",
    "kind: VPC\nmetadata: {name: a, namespace: null, labels: {}}\nspec: {mode: '', permit: null, "
    "subnets: {x: {subnet: 10.1.0.0/24, dhcp: {options: {}}, vlan: 0, hostBGP: false}}}\nstatus: {}\n"])
def test_what_is_empty_has_no_note(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text)[1] == []


def test_items_of_a_list_are_objects_with_their_own_lines(tmp_path: Path) -> None:
    text = ("apiVersion: v1\nkind: List\nitems:\n- kind: VPC\n  metadata: {name: a, namespace: x}\n"
            "  spec: {subnets: {x: {subnet: 10.1.0.0/24}}}\n- kind: VPCAttachment\n  metadata: {name: b}\n"
            "  spec: {connection: h1, subnet: a/x}\n---\nkind: VPC\nmetadata: {name: c}\n"
            "spec: {subnets: {x: {subnet: 10.3.0.0/24}}}\n")
    found, lines, _ = read(tmp_path, text)
    assert (list(found.vpcs), found.attachments[0].connection) == (["a", "c"], "h1")
    assert lines == ["v.yml:5 ignored: namespace: the lab has one namespace"]
    path = tmp_path / "v.yml"
    path.write_text(text.replace("connection: h1", "connection: 7"))
    with pytest.raises(SpecErrors, match=r"v.yml:9 spec.connection: expected text; found 7"):
        read_intent(path)


@pytest.mark.parametrize(("at", "value", "words"), [
    ("staticRoutes", [{"prefix": "10.9.0.0/16", "nextHops": ["10.1.0.9"]}], "leaves forward by the routes"),
    ("mode", "l3flat", "expected l2vni or l3vni"),
    ("subnets", {"x": {"subnet": "10.1.0.0/24", "dhcp": {"enable": True, "options": {"disableDefaultRoute": True}}}},
     "without a default route"),
    ("subnets", {"x": {"subnet": "10.1.0.0/24", "vlan": "maybe"}}, "a whole number; found the text maybe"),
    ("subnets", {"x": None}, "spec.subnets.x: expected a mapping of keys to values; found nothing"),
    ("gateway", "10.1.0.1", "the unknown key gateway"),
])
def test_what_the_lab_cannot_do_is_refused_by_name(tmp_path: Path, at: str, value: Any, words: str) -> None:
    spec = vpc("a", {"x": "10.1.0.0/24"})
    spec["spec"][at] = value
    path = tmp_path / "v.yml"
    path.write_text(json.dumps(spec))
    with pytest.raises(SpecErrors) as info:
        read_intent(path)
    assert words in str(info.value)


@pytest.mark.parametrize("kind", ["GatewayPeering", "Connection", "Switch", "Server", "Fabricator"])
def test_a_kind_that_the_lab_does_not_have_is_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "v.yml"
    path.write_text(f"kind: {kind}\nmetadata: {{name: x}}\nspec: {{}}\n")
    with pytest.raises(SpecErrors) as info:
        read_intent(path)
    assert info.value.found == kind
    assert "lab" in info.value.hint or "fabric's file" in info.value.hint


def test_a_peering_joins_two_vpcs() -> None:
    a, b, c = (vpc(n, {"x": f"10.{k}.0.0/24"}) for k, n in enumerate("abc", 1))
    both = {"kind": "VPCPeering", "metadata": {"name": "p"},
            "spec": {"permit": [{"a": {}, "b": {}}, {"b": {}, "c": {}}]}}
    (problem,) = intent_problems(intent(a, b, c, both), FABRIC)
    assert (dotted(problem.path), problem.found) == ("objects.3.spec.permit.1", "b and c")
    assert intent_problems(intent(a, b, c, peer(a=[], b=[]), peer(b=[], c=[])), FABRIC) == []


def dhcp(**keys: Any) -> SubnetSpec:
    return SubnetSpec.model_validate({"subnet": "10.1.0.0/28", "dhcp": {"enable": True, **keys}})


def test_a_range_and_entries_of_macs_say_which_addresses_hosts_get() -> None:
    subnet = dhcp(range={"start": "10.1.0.5", "end": "10.1.0.7"}, static={"02:00:00:00:00:AA": {"ip": "10.1.0.6"},
                                                                        "02:00:00:00:00:bb": {"ip": "10.1.0.12"}})
    macs = {"h1": "02:00:00:00:00:01", "h2": "02:00:00:00:00:bb", "h3": "02:00:00:00:00:03"}
    assert room(subnet) == 2        # .5 and .7: .6 is kept for a MAC that no host has
    assert lease(subnet, ["h1", "h2", "h3"], {}, macs) == {"h1": "10.1.0.5", "h2": "10.1.0.12", "h3": "10.1.0.7"}
    assert lease(subnet, ["h3", "h1"], {"h1": "10.1.0.7", "h3": "10.1.0.2"}, macs) == {
        "h1": "10.1.0.7", "h3": "10.1.0.5"}      # .2 is outside of the range
    assert room(SubnetSpec.model_validate({"subnet": "10.1.0.0/28"})) == 13
    assert room(dhcp(range={"start": "10.1.0.1", "end": "10.1.0.15"})) == 13     # not the gateway, not the broadcast


@given(st.sets(st.integers(1, 14), max_size=4), st.integers(0, 15), st.integers(0, 15), st.integers(0, 6),
       st.dictionaries(st.sampled_from(["h0", "h1", "h2"]), st.integers(0, 15).map("10.1.0.{}".format)))
def test_leases_are_distinct_inside_the_range_and_never_kept_ones(
        kept: set[int], start: int, end: int, hosts: int, before: dict[str, str]) -> None:
    assume(len(set(before.values())) == len(before))       # no two hosts ever had one address
    subnet = dhcp(range={"start": f"10.1.0.{start}", "end": f"10.1.0.{end}"},
                  static={f"02:00:00:00:00:{n:02x}": {"ip": f"10.1.0.{n}"} for n in kept - {1}})
    macs = {f"h{k}": f"02:00:00:00:00:{k:02x}" for k in range(hosts)}
    own = {h: f"10.1.0.{int(m[-2:], 16)}" for h, m in macs.items() if int(m[-2:], 16) in kept - {1}}
    if len(macs) - len(own) > room(subnet):
        return
    found = lease(subnet, macs, {h: a for h, a in before.items() if h in macs}, macs)
    assert found.keys() == macs.keys()
    assert len(set(found.values())) == len(found)
    for host, address in found.items():
        last = int(address.split(".")[-1])
        assert own.get(host, address) == address
        assert host in own or (start <= last <= min(end, 14) and last not in kept and last > 1)


def test_an_address_is_kept_for_the_host_whose_mac_has_it() -> None:
    entries = {"enable": True, "static": {MACS["h2"]: {"ip": "10.1.0.99"}}}
    kept = vpc("a", {"x": {"subnet": "10.1.0.0/24", "dhcp": entries}})
    wanted = intent(kept, attach("h1", "a/x"), attach("h2", "a/x"))
    assert intent_problems(wanted, FABRIC) == []
    assert allocate(wanted, Allocation(), macs=MACS).addresses == {"a/x": {"h1": "10.1.0.2", "h2": "10.1.0.99"}}


@pytest.mark.parametrize(("destination", "gateway", "fits"), [
    ("10.66.0.0/16", "10.1.0.9", True), ("10.0.0.0/8", "10.1.0.9", False), ("10.2.0.0/24", "10.1.0.9", False),
    ("10.2.0.0/24", "10.1.0.1", True)])
def test_a_route_for_hosts_is_refused_where_it_would_change_a_path(destination: str, gateway: str, fits: bool) -> None:
    route = {"enable": True, "options": {"advertisedRoutes": [{"destination": destination, "gateway": gateway}]}}
    found = intent_problems(intent(vpc("a", {"x": {"subnet": "10.1.0.0/24", "dhcp": route}}),
                                   vpc("b", {"x": "10.2.0.0/24"}), peer(a=[], b=[])), FABRIC)
    assert [dotted(p.path) for p in found] == (
        [] if fits else ["objects.0.spec.subnets.x.dhcp.options.advertisedRoutes.0"])


@pytest.mark.parametrize("name", ["0", "a" * 63, "1-2", "on", "null"])
def test_names_are_those_of_dns_labels(tmp_path: Path, name: str) -> None:
    text = f'kind: VPC\nmetadata: {{name: "{name}"}}\nspec: {{subnets: {{"{name}": {{subnet: 10.1.0.0/24}}}}}}\n'
    assert list(read(tmp_path, text)[0].vpcs) == [name]
    path = tmp_path / "w.yml"
    path.write_text(text.replace(name, f"{name}-"))
    with pytest.raises(SpecErrors, match="expected text of the form"):
        read_intent(path)
