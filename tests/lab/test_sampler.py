"""The sampler and its netlink reader against `tc -s -j` in throwaway namespaces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from topologies.access.netns import inside, set_sysctl
from topologies.lab.shell import ip_batch, run, tc_batch
from topologies.links.htb import qdisc
from topologies.links.htb.wires import devices, host_lines, queues, wire_lines
from topologies.model.errors import HostError
from topologies.model.expansion import expand
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec

pytestmark = pytest.mark.lab
PREFIX = f"smp{os.getpid()}-"
TIMEOUT = 20.0


@contextmanager
def namespaces(*names: str) -> Iterator[None]:
    ip_batch(f"netns add {n}" for n in names)
    for name in names:
        with inside(f"/run/netns/{name}"):      # no frames but the test's own
            set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    try:
        yield
    finally:
        ip_batch(f"netns del {n}" for n in names)


@pytest.fixture
def device() -> Iterator[str]:
    """A namespace with a shaped device d0 that has sent and dropped some frames."""
    name = f"{PREFIX}q"
    with namespaces(name):
        ip_batch(["link add d0 type veth peer name d1", "link set d0 up", "link set d1 up",
                  "addr add 10.0.0.1/24 dev d0", "neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev d0"], name)
        tc_batch(["qdisc add dev d0 root handle 1: htb default 10",
                  "class add dev d0 parent 1: classid 1:10 htb rate 80kbit ceil 90kbit burst 3028 quantum 1514",
                  "class add dev d0 parent 1: classid 1:5 htb rate 50gbit quantum 1514",
                  "qdisc add dev d0 parent 1:10 handle 10: bfifo limit 9000",
                  "qdisc add dev d0 parent 1:5 handle 5: bfifo limit 70000", "qdisc add dev d0 ingress"], name)
        send(name, "10.0.0.2", 20)
        yield name


def send(netns: str, to: str, count: int, size: int = 1400) -> None:
    program = ("import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);"
               "[s.sendto(bytes(int(sys.argv[3])),(sys.argv[1],9)) for _ in range(int(sys.argv[2]))]")
    run("ip", "netns", "exec", netns, sys.executable, "-c", program, to, str(count), str(size))


def by_tc(netns: str, what: str, device_name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("tc", "-n", netns, "-s", "-j", what, "show", "dev", device_name))
    return found


def test_qdisc_dump_says_what_tc_says(device: str) -> None:
    with qdisc.open_socket(f"/run/netns/{device}") as sock:
        while True:     # the queue drains slowly: compare two readings between which nothing left it
            ours = {f"{q.handle >> 16:x}:": q for q in qdisc.dump(sock) if q.kind != "noqueue"}
            theirs = {q["handle"]: q for q in by_tc(device, "qdisc", "d0")}
            if ours["10:"] == next(iter(qdisc.dump(sock, qdisc.TRAFFIC_QUEUE))):
                break
    assert set(ours) == set(theirs) == {"1:", "10:", "5:", "ffff:"}
    for handle, q in ours.items():
        tc = theirs[handle]
        assert (q.kind, q.bytes, q.packets, q.drops, q.backlog, q.qlen) == (
            tc["kind"], tc["bytes"], tc["packets"], tc["drops"], tc["backlog"], tc["qlen"])
    assert ours["10:"].drops > 0
    assert ours["10:"].backlog > 0
    assert (ours["10:"].limit, ours["5:"].limit, ours["1:"].limit) == (9000, 70000, None)


def test_classes_say_what_tc_says_even_above_32_bits(device: str) -> None:
    path = f"/run/netns/{device}"
    with qdisc.open_socket(path) as sock:
        found = qdisc.classes(sock, qdisc.interfaces(path)["d0"])
    ours = {f"{c.handle >> 16:x}:{c.handle & 0xffff:x}": c for c in found}
    text = run("tc", "-n", device, "class", "show", "dev", "d0")
    assert "rate 80Kbit ceil 90Kbit" in text
    assert (ours["1:10"].rate, ours["1:10"].ceil) == (80_000, 90_000)
    assert ours["1:5"].rate == 50_000_000_000
    assert ours["1:10"].packets > 0


def test_a_namespace_that_is_gone_is_named() -> None:
    with pytest.raises(HostError, match="no-such-namespace"):
        qdisc.open_socket("/run/netns/no-such-namespace")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Inventory]:
    """The wires of a one-leaf fabric without its switches: enough to send h1 -> leaf1."""
    spec = FabricSpec(leaves=1, spines=1, hosts_per_leaf=2, host_rate="1mbit", queue="10kB", probes=False)
    fabric = expand(spec)
    names = {n.name: f"{PREFIX}{n.name}" for n in fabric.nodes}
    wiring = f"{PREFIX}wires"
    with namespaces(wiring, *names.values()):
        pairs = devices(fabric)
        ip_batch((line for link in fabric.links for end, device in
                  ((link.a, pairs[link.name].a), (link.b, pairs[link.name].b))
                  for line in (f"link add {device} mtu {link.mtu} type veth peer name {end.interface} mtu {link.mtu} "
                               f"netns {names[end.node]}", f"link set {device} up")), wiring)
        tc_batch(wire_lines(fabric), wiring)
        for link in fabric.links:
            for end in (link.a, link.b):
                ip_batch([f"link set {end.interface} up"], names[end.node])
        h1 = fabric.host("h1")
        for host in fabric.hosts:
            tc_batch(host_lines(fabric, host.name), names[host.name])
        port = fabric.access_link("h1").a.interface
        ip_batch([f"addr add {h1.ip}/24 dev {port}", f"neigh add 10.9.1.99 lladdr 02:00:00:00:00:99 dev {port}"],
                 names["h1"])
        inventory = Inventory(lab="x", directory=str(tmp_path), fabric=fabric, netns=names, wiring=wiring, wires=pairs,
                              switches={}, datapath="ovs", controller_socket="", api_socket="")
        (tmp_path / "inventory.json").write_text(inventory.model_dump_json())
        yield inventory


class Sampling:
    """A sampler process of the test's own."""

    def __init__(self, directory: Path, *more: str) -> None:
        self.output = directory / "counters.jsonl"
        self.t0 = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "topologies.proof.sampler", "--inventory", str(directory / "inventory.json"),
             "--output", str(self.output), "--t0", str(self.t0), *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = json.loads(self.process.stdout.readline())  # type: ignore[union-attr]

    def say(self, line: str) -> None:
        self.process.stdin.write(line + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def end(self, line: str = "stop") -> list[dict[str, Any]]:
        """Tell it to stop (with an empty line: end of file); every line it wrote."""
        if line:
            self.say(line)
        self.last = self.process.communicate(timeout=TIMEOUT)[0]
        return self.lines()

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first cpu line that is as wanted."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            whole, _, _ = self.output.read_text().rpartition("\n")
            lines = [json.loads(x) for x in whole.splitlines()]
            if found := [x for x in lines if x["kind"] == "cpu" and wanted(x)]:
                return found[0]
            time.sleep(0.05)
        raise AssertionError("no such cpu line")

    def event(self) -> dict[str, Any]:
        """What it says next, with its input left open; it must end by itself after an error."""
        event: dict[str, Any] = json.loads(self.process.stdout.readline())  # type: ignore[union-attr]
        self.process.wait(TIMEOUT)
        self.process.communicate()
        return event

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(x) for x in self.output.read_text().splitlines()]


def test_it_samples_every_direction_and_agrees_with_tc_at_the_end(lab: Inventory, tmp_path: Path) -> None:
    sampling = Sampling(tmp_path)
    assert sampling.first == {"event": "ready"}
    send(lab.netns["h1"], "10.9.1.99", 40)
    time.sleep(1.2)
    lines = sampling.end()
    assert sampling.process.returncode == 0
    header, wires = lines[0], [x for x in lines if x["kind"] == "wires"]
    assert header["directions"] == ["h1->leaf1", "leaf1->h1", "h2->leaf1", "leaf1->h2",
                                    "leaf1->spine1", "spine1->leaf1"]
    assert header["rates"][0] == 1e6
    assert header["queues"] == [q.limit for q in queues(lab)]
    assert header["frames"] == [1514] * 4 + [1614] * 2
    where = lab.fabric.access_link("h1").a.interface
    tc = next(q for q in by_tc(lab.netns["h1"], "qdisc", where) if q["handle"] == "10:")
    assert tc["packets"] >= 40
    assert wires[-1]["v"][0] == [tc["bytes"], tc["packets"], tc["drops"], tc["backlog"]]
    assert any(x["v"][0][3] > 0 for x in wires), "40 frames at 1 Mbit/s wait for half a second"
    assert all(b["t"] > a["t"] for a, b in pairwise(wires))


def test_processes_are_watched_and_unwatched_while_it_runs(lab: Inventory, tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        run("renice", "-n", "7", "-p", str(child.pid))
        sampling = Sampling(tmp_path, "--watch", f"leaf1={os.getpid()}")
        sampling.say(f"watch engine {child.pid}")
        sampling.until(lambda x: "engine" in x["runq"])
        child.terminate()
        child.wait()
        gone = sampling.until(lambda x: x["gone"] == ["engine"])
        sampling.say("unwatch engine")
        sampling.until(lambda x: x["t"] > gone["t"] and not x["gone"])
        cpu = [x for x in sampling.end("") if x["kind"] == "cpu"]
    finally:
        child.kill()
        child.wait()
    seen = next(x for x in cpu if "engine" in x["runq"])
    assert seen["nice"] == {"sampler": 0, "leaf1": 0, "engine": 7}
    assert set(seen["runq"]) == set(seen["busy"]) == {"sampler", "leaf1", "engine"}
    assert all(0 <= x["idle"] <= 1 and x["seconds"] > 0 for x in cpu)


def test_a_process_that_lives_for_less_than_a_second_is_seen(lab: Inventory, tmp_path: Path) -> None:
    sampling = Sampling(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input(); [0 for _ in range(10 ** 6)]"], stdin=subprocess.PIPE,
                          text=True) as child:
        sampling.say(f"watch engine {child.pid}")
        time.sleep(0.1)
        child.communicate("go\n")
    sampling.say("unwatch engine")
    cpu = [x for x in sampling.end() if x["kind"] == "cpu"]
    assert any("engine" in x["runq"] for x in cpu)
    assert all("engine" not in x["gone"] for x in cpu)


def test_a_second_ends_where_it_is_reported_to_unless_it_has_only_begun(lab: Inventory, tmp_path: Path) -> None:
    sampling = Sampling(tmp_path)
    first = sampling.until(lambda x: x["kind"] == "cpu")
    time.sleep(0.6)
    sampling.say("second")
    sampling.say("second")      # at once again: a rest of nothing goes on
    cpu = [x for x in sampling.end() if x["kind"] == "cpu" and x["t"] > first["t"]]
    assert 0.5 <= cpu[0]["seconds"] < 0.9
    assert all(x["seconds"] >= 0.5 for x in cpu)
    for before, after in pairwise([first, *cpu]):
        assert after["t"] - after["seconds"] == pytest.approx(before["t"], abs=1e-3)


def test_a_queue_that_vanishes_is_an_error_that_names_it(lab: Inventory, tmp_path: Path) -> None:
    sampling = Sampling(tmp_path)
    run("tc", "-n", lab.netns["h2"], "qdisc", "del", "dev", "h2-eth0", "root")
    event = sampling.event()
    assert event["event"] == "error"
    assert event["where"].startswith("h2->leaf1: device h2-eth0")
    assert sampling.process.returncode == 1


def test_sigterm_ends_it_with_a_whole_file(lab: Inventory, tmp_path: Path) -> None:
    sampling = Sampling(tmp_path)
    sampling.process.send_signal(signal.SIGTERM)
    lines = sampling.end("")
    assert sampling.process.returncode == 0
    assert json.loads(sampling.last) == {"event": "done"}
    assert lines[-1]["kind"] == "cpu"


def test_a_full_disk_is_reported_and_leaves_whole_lines(lab: Inventory, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(small))
    try:
        sampling = Sampling(tmp_path, "--output", str(small / "counters.jsonl"))
        event = sampling.event()
        text = (small / "counters.jsonl").read_text()
    finally:
        run("umount", str(small))
    assert (event["event"], event["found"]) == ("error", "No space left on device")
    assert str(small / "counters.jsonl") in event["where"]
    assert text.endswith("\n")
    assert json.loads(text.splitlines()[0])["kind"] == "header"


def test_an_inventory_of_another_lab_is_refused(lab: Inventory, tmp_path: Path) -> None:
    other = lab.model_copy(update={"netns": {**lab.netns, "h1": "no-such-namespace"}})
    (tmp_path / "inventory.json").write_text(other.model_dump_json())
    sampling = Sampling(tmp_path)
    assert sampling.first["event"] == "error"
    assert "no-such-namespace" in sampling.first["where"]
    sampling.process.communicate(timeout=TIMEOUT)
