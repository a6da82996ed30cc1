"""Intent over HTTP: answers, and how each thing that can be wrong with a request is reported."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.desired_state import DesiredState
from controller.evpn.evpn_view import tables
from controller.northbound.client import ControllerClient
from tests.unit.intents import Spec, attach, vpc
from tests.unit.served_api import FABRIC, OBJECTS, served
from topologies.model.addressing import GATEWAY_MAC
from topologies.model.errors import LabError


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    with served(tmp_path) as socket_path:
        yield socket_path


@pytest.fixture
def client(path: str) -> ControllerClient:
    return ControllerClient(path, timeout=5)


def ask(path: str, method: str, body: bytes | None, what: str = "/intent", **headers: str) -> tuple[int, str, Spec]:
    """One request as it is; status, type and body of the answer."""
    connection = http.client.HTTPConnection("controller", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    connection.request(method, what, body, {k.replace("_", "-"): v for k, v in headers.items()})
    reply = connection.getresponse()
    found = reply.status, reply.headers["content-type"], json.loads(reply.read())
    connection.close()
    return found


def test_an_applied_intent_is_given_back_with_addresses_and_numbers(client: ControllerClient) -> None:
    answer = client.apply(OBJECTS)
    assert (answer["version"], len(answer["objects"]), answer["pending"]) == (1, 6, ["leaf2"])
    assert set(answer["flows"]) == {"leaf1", "leaf2"}
    found = client.intent()
    assert (found["version"], found["objects"]) == (1, OBJECTS)
    assert found["hosts"]["h1"] == {"segment": "a/x", "ip": "10.1.0.2", "prefix": 24, "gateway": "10.1.0.1"}
    assert found["allocation"]["vnis"] == {"a": 1001, "a/x": 1002, "c": 1003, "c/z": 1004}


def test_a_plan_changes_nothing_and_the_same_again_is_no_change(client: ControllerClient) -> None:
    assert client.plan(OBJECTS)["version"] == 1
    assert client.intent()["version"] == 0
    client.apply(OBJECTS)
    again = client.apply(OBJECTS)
    assert (again["version"], again["objects"], again["flows"]) == (1, [], {})


def test_delete_brings_back_the_one_flat_network(path: str, client: ControllerClient) -> None:
    before = client.rules()
    client.apply(OBJECTS)
    assert client.rules() != before
    assert ask(path, "DELETE", None)[2]["version"] == 2
    assert client.rules() == before
    assert client.intent()["objects"] == []


def test_no_objects_take_nothing_away_unless_the_body_says_so(path: str, client: ControllerClient) -> None:
    namespace = {"kind": "IPv4Namespace", "metadata": {"name": "default"}, "spec": {"subnets": ["10.0.0.0/16"]}}
    client.apply(OBJECTS)
    for body in ({}, {"objects": []}, {"objects": None}, {"objects": [], "empty": False}, {"objects": [namespace]}):
        for method, what in (("PUT", "/intent"), ("POST", "/intent/plan")):
            status, kind, answer = ask(path, method, json.dumps(body).encode(), what)
            assert (status, kind, answer["errors"][0]["where"]) == (422, "application/problem+json", "objects")
    assert ask(path, "PUT", b'{"objects": [], "empty": 1}')[0] == 422
    assert client.intent()["objects"] == OBJECTS
    assert ask(path, "PUT", b'{"objects": [], "empty": true}')[2]["objects"][0] == "- VPC a"
    assert client.intent()["objects"] == []


def test_what_is_ignored_is_answered_and_not_kept(path: str, client: ControllerClient) -> None:
    written = [{**o, "metadata": {**o["metadata"], "labels": {"a": "b"}}, "status": None} for o in OBJECTS]
    answer = client.apply(written)
    assert [n["where"] for n in answer["ignored"]] == [f"objects.{n}.metadata.labels" for n in range(len(OBJECTS))]
    assert client.intent()["objects"] == OBJECTS
    assert client.apply(OBJECTS)["ignored"] == client.apply(OBJECTS)["objects"] == []


def test_rates_of_links_are_taken_and_what_is_no_link_or_no_rate_is_reported_whole(
        path: str, client: ControllerClient) -> None:
    client.set_rates({"leaf1-spine1": 2e6})
    assert client.health()["rates"] == {"leaf1-spine1": 2e6}
    status, kind, body = ask(path, "PUT", b'{"rates": {"leaf1-spine9": 1e6, "leaf1-spine1": 0}}', "/rates")
    assert (status, kind) == (422, "application/problem+json")
    assert [(e["where"], e["found"]) for e in body["errors"]] == [
        ("rates.leaf1-spine9", "leaf1-spine9"), ("rates.leaf1-spine1", "0")]
    assert ask(path, "PUT", b'{"rates": {"leaf1-spine1": "fast"}}', "/rates")[0] == 422
    assert ask(path, "PUT", b"no json", "/rates")[0] == 400
    assert client.health()["rates"] == {"leaf1-spine1": 2e6}
    client.set_rates({})
    assert client.health()["rates"] == {}


def test_two_writers_of_one_version(path: str, client: ControllerClient) -> None:
    client.apply(OBJECTS, version=0)
    with pytest.raises(LabError, match="409 the intent has been changed meanwhile; it is version 1"):
        client.apply(OBJECTS[:1], version=0)
    status, kind, body = ask(path, "DELETE", None, If_Match='"0"')
    assert (status, kind, body["version"]) == (409, "application/problem+json", 1)


def test_what_does_not_fit_is_reported_whole_and_nothing_of_it_is_applied(path: str, client: ControllerClient) -> None:
    wrong = [*OBJECTS, attach("h1", "a/x"), attach("h2", "b/x")]
    status, kind, body = ask(path, "PUT", json.dumps({"objects": wrong}).encode())
    assert (status, kind, body["title"]) == (422, "application/problem+json", "Unprocessable Entity")
    assert [e["where"] for e in body["errors"]] == ["objects.6.metadata.name", "objects.6.spec.connection",
                                                    "objects.7.spec.subnet"]
    with pytest.raises(LabError, match=r"422 3 problems; nothing is applied\nobjects.6.metadata.name: expected one V"):
        client.apply(wrong)
    assert client.intent()["version"] == 0


def test_a_subnet_in_a_range_of_the_lab_itself_is_refused_by_name(path: str, client: ControllerClient) -> None:
    wrong = json.dumps({"objects": [vpc("a", {"x": "10.255.0.0/24", "y": "10.9.1.0/24"})]}).encode()
    for method, what in (("PUT", "/intent"), ("POST", "/intent/plan")):
        status, _, body = ask(path, method, wrong, what)
        assert status == 422
        assert [(e["where"], e["found"]) for e in body["errors"]] == [
            ("objects.0.spec.subnets.x.subnet", "10.255.0.0/24"), ("objects.0.spec.subnets.y.subnet", "10.9.1.0/24")]
        assert "10.255.0.0/16 (the underlay" in body["errors"][0]["expected"]
        assert "10.9.0.0/16 (the default VPC" in body["errors"][1]["expected"]
    assert client.intent()["version"] == 0


@pytest.mark.parametrize(("body", "headers", "status", "detail"), [
    (b"{", {}, 400, "the body is no JSON"),
    (b"\xff", {}, 400, "the body is no JSON"),
    (b"[" * 100_000, {}, 400, "the body is no JSON"),
    (b"[]", {}, 422, "1 problem; nothing"),
    (b'{"objects": [{"kind": "GatewayPeering"}]}', {}, 422, "1 problem; nothing"),
    (b'{"objects": [], "x": 1}', {}, 422, "1 problem; nothing"),
    (b" " * 1_000_001, {}, 413, "at most 1000000 bytes"),
    (b'{"objects": []}', {}, 422, "1 problem; nothing"),
    (b"{}", {}, 422, "1 problem; nothing"),
    (b"null", {}, 422, "1 problem; nothing"),
    (b'{"objects": [{"kind": "IPv4Namespace", "metadata": {"name": "default"}, "spec": {}}]}', {}, 422, "1 problem"),
    (b'{"objects": [], "empty": true}', {"If_Match": "latest"}, 400,
     "If-Match has to be a version such as 3, not latest"),
])
def test_a_bad_request_is_reported_as_a_problem(
        path: str, body: bytes, headers: dict[str, str], status: int, detail: str) -> None:
    found, kind, answer = ask(path, "PUT", body, **headers)
    assert (found, kind, answer["status"]) == (status, "application/problem+json", status)
    assert detail in answer["detail"]


def test_a_method_that_does_not_exist_is_a_problem_too(path: str) -> None:
    assert ask(path, "PATCH", b"{}")[:2] == (405, "application/problem+json")


def test_evpn_tables_show_routes_vrfs_macs_and_arp(client: ControllerClient) -> None:
    assert client.evpn() == tables(FABRIC, DesiredState(FABRIC).compiler.tenancy, ()) | {"peers": []}
    client.apply(OBJECTS)
    found = client.evpn()
    assert sorted((r["type"], r["prefix"], r["rd"], r["leaf"]) for r in found["routes"]) == [
        (2, "[2]:[0]:[48]:[02:00:0a:09:01:01]:[32]:[10.1.0.2]", "10.255.0.1:1002", "leaf1"),
        (2, "[2]:[0]:[48]:[02:00:0a:09:02:01]:[32]:[10.1.0.3]", "10.255.0.2:1002", "leaf2"),
        (3, "[3]:[0]:[32]:[10.255.0.1]", "10.255.0.1:1002", "leaf1"),
        (3, "[3]:[0]:[32]:[10.255.0.2]", "10.255.0.2:1002", "leaf2"),
        (5, "[5]:[0]:[32]:[10.3.0.2]", "10.255.0.2:1003", "leaf2")]
    routers = {(v["vrf"], v["leaf"]): v["imports"] for v in found["vnis"] if v["type"] == "L3"}
    assert routers == {("a", "leaf1"): ["65000:1001", "65000:1004"], ("a", "leaf2"): ["65000:1001", "65000:1004"],
                       ("c", "leaf2"): ["65000:1002", "65000:1003"]}
    assert [(m["leaf"], m["mac"], m["kind"], m["at"]) for m in found["macs"]][:2] == [
        ("leaf1", "02:00:0a:09:01:01", "local", "leaf1"), ("leaf1", "02:00:0a:09:02:01", "remote", "leaf2")]
    assert [(a["ip"], a["mac"]) for a in found["arp"] if a["kind"] == "gateway"] == [("10.1.0.1", GATEWAY_MAC)] * 2
