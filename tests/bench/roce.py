"""How fast and how evenly RoCEv2 packets leave, into an interface that swallows them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scapy.contrib.roce import BTH
from scapy.layers.l2 import Ether
from scapy.utils import PcapReader

from tests.bench.book import Book
from tests.lab.stream_lab import run
from topologies.access import start
from topologies.access.netns import inside, set_sysctl
from topologies.lab.host_limits import measuring_lock
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.model.inventory import Inventory
from topologies.model.spec import FabricSpec
from traffic.runtime.reading import lines
from traffic.transports.rocev2.plan import QueuePair, RoceJob
from traffic.transports.rocev2.wire import OVERHEAD

MTU = 1024
FAST, PACED, BURSTY = 30_000, 2_000, 10_000     # packets a second
FAST_SECONDS = 6                                # more than 200,000 packets are not recorded one by one
CAPTURED = 2_000                                # packets whose ICRC Scapy computes anew
Times = npt.NDArray[np.float64]


def roce(book: Book) -> None:
    """30,000 packets of 1 kB a second with right ICRC; 2,000 paced with a p99 gap error of at most 250 us; 10,000
    with a mean rate within 0.5 % and bursts of at most 8.
    """
    seconds = 1 if book.quick else 10
    with measuring_lock(wait=True), sink(book.work) as (fabric, inventory):
        times = send(book.work, inventory, FAST, min(seconds, FAST_SECONDS))
        rate = mean_rate(times)
        book.figure("packets a second, asked for 30,000", round(rate), "1/s", target=f"at least {0.995 * FAST:.0f}",
                    met=rate >= 0.995 * FAST, packets=len(times))
        right, seen = icrcs(book.work, fabric, inventory)
        book.figure("packets with the ICRC that Scapy computes", right, target=f"all of {seen}", met=right == seen > 0)
        gaps = np.abs(np.diff(send(book.work, inventory, PACED, seconds)) - 1 / PACED)
        p99 = 1e6 * float(np.quantile(gaps, 0.99))
        book.figure("p99 gap error at 2,000/s", round(p99, 1), "us", target="at most 250", met=p99 <= 250,
                    median=1e6 * float(np.median(gaps)), largest=1e6 * float(gaps.max()))
        times = send(book.work, inventory, BURSTY, seconds)
        off = 100 * abs(mean_rate(times) / BURSTY - 1)
        book.figure("mean rate off 10,000/s", round(off, 3), "%", target="at most 0.5", met=off <= 0.5)
        burst = longest_burst(times, 1 / BURSTY)
        book.figure("longest burst at 10,000/s", burst, "packets", target="at most 8", met=burst <= 8)


def mean_rate(times: Times) -> float:
    """Packets a second from the first to the last."""
    return (len(times) - 1) / float(times[-1] - times[0])


def longest_burst(times: Times, period: float) -> int:
    """The most packets in a row less than half a period apart."""
    most = length = 1
    for gap in np.diff(times):
        length = length + 1 if gap < period / 2 else 1
        most = max(most, length)
    return most


@contextmanager
def sink(directory: Path) -> Iterator[tuple[Fabric, Path]]:
    """h1 on a veth whose other end has another MAC than h2, so that its namespace drops every frame; the inventory."""
    fabric = expand(FabricSpec(name="sink", leaves=1, spines=1, hosts_per_leaf=2, probes=False))
    names = {host: f"rb{os.getpid()}{host}" for host in ("h1", "h2")}
    h1, h2 = fabric.host("h1"), fabric.host("h2")
    made = []
    try:
        for netns in names.values():
            run(f"ip netns add {netns}")
            made.append(netns)
            with inside(f"/run/netns/{netns}"):
                set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        run(f"ip link add h1-eth0 netns {names['h1']} address {h1.mac} type veth peer name sink0 netns {names['h2']}")
        run(f"ip -n {names['h1']} addr add {h1.ip}/16 dev h1-eth0")
        run(f"ip -n {names['h1']} link set h1-eth0 up")
        run(f"ip -n {names['h1']} neigh add {h2.ip} lladdr {h2.mac} dev h1-eth0")
        run(f"ip -n {names['h2']} link set sink0 up")
        run(f"ip -n {names['h2']} addr add {h2.ip}/32 dev lo")
        run(f"ip -n {names['h2']} link set lo up")
        path = directory / "inventory.json"
        path.write_text(Inventory(
            lab="sink", directory=str(directory), fabric=fabric, netns=names, wiring=names["h1"], wires={},
            switches={}, datapath="ovs", controller_socket="", api_socket="").model_dump_json())
        yield fabric, path
    finally:
        for netns in made:
            run(f"ip netns del {netns}")


def send(work: Path, inventory: Path, pps: float, seconds: float) -> Times:
    """When each packet was given to the kernel, seconds; by the process that runs use."""
    records = work / f"records-{time.monotonic_ns()}.jsonl"
    pair = QueuePair(name="w/0.0", workload="w", src="h1", dst="h2", pps=pps, frame=MTU + OVERHEAD,
                     count=round(pps * seconds), mtu=MTU, message=64, service="uc", timeout=1.0)
    job = RoceJob(inventory=str(inventory), t0=time.monotonic(), records=str(records), phase="main", streams=(pair,),
                  drain=0.2)
    path = records.with_suffix(".job.json")
    path.write_text(job.model_dump_json())
    done = subprocess.run(start.command("traffic.transports.rocev2", str(path)), input="go\n", text=True, check=True,
                          capture_output=True, timeout=seconds * 4 + 30)
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    if events[-1] != "done":
        raise RuntimeError(f"the queue pair ended with {done.stdout.splitlines()[-1]}")
    found = [r for r in lines(records) if r["kind"] == "packets"]
    if any(r["step"] != 1 for r in found):
        raise RuntimeError("not every packet was recorded: gaps and rates would be those of every second one")
    return np.array([t for r in found for t in r["t"]])


def icrcs(work: Path, fabric: Fabric, inventory: Path) -> tuple[int, int]:
    """(packets whose ICRC is that of Scapy, packets captured), of a second at the fast rate."""
    netns = Inventory.read(inventory).netns_path("h1")
    file = work / "sink.pcap"
    command = ["nsenter", f"--net={netns}", "tcpdump", "-i", fabric.access_link("h1").a.interface, "-c", str(CAPTURED),
               "-w", str(file), "-Z", "root", "udp"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump:
        while "listening on" not in (tcpdump.stderr.readline() if tcpdump.stderr else "listening on"):
            pass
        send(work, inventory, FAST, 1)
        time.sleep(1)
        tcpdump.send_signal(signal.SIGINT)
    right = seen = 0
    with PcapReader(str(file)) as frames:
        for frame in frames:
            whole = bytes(frame)
            parsed = Ether(whole)
            parsed[BTH].icrc = None
            right += bytes(parsed) == whole
            seen += 1
    return right, seen
