"""A leaf-spine fabric for the engine alone: its configuration, static rules, namespaces; no controller.

Every host has an address of its own and one gateway, which is nobody: a leaf finds the host by its address and gives
the frame that host's MAC. Paths are pinned: a host's traffic to other leaves takes one spine, by its port.

    h1 .. hN ── leaf1 .. leafL ── spine1 .. spineS
"""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from topologies.access.netns import inside, set_sysctl
from topologies.lab.shell import at_once, ip_batch, tc_batch
from topologies.switches.engine import build
from topologies.switches.engine.attach import STEERING, engine_processor, receiving_mask
from topologies.switches.engine.client import EngineClient
from topologies.switches.engine.counters import REASONS, Counters, DirectionCounts, QueueCounts

GATEWAY, GATEWAY_MAC = "10.9.255.254", "02:e0:ff:ff:ff:fe"
DEVICE = "eth0"
READY = 60.0            # seconds
HEADERS = 14            # bytes of a frame beside its MTU
FIRST_UPLINK = 513      # port of a leaf towards spine1: hosts have those before it
QUIET = {"net.ipv6.conf.default.disable_ipv6": 1, "net.ipv4.tcp_no_metrics_save": 1,
         "net.ipv4.tcp_slow_start_after_idle": 0}


@dataclass(frozen=True)
class Shape:
    """rate, uplink: bit/s of hosts' and of leaves' links; delay, fabric_delay: ns a link; limit: bytes of a queue;
    more: commands at the end of the configuration."""

    leaves: int = 2
    spines: int = 2
    per_leaf: int = 4
    rate: int = 20_000_000
    uplink: int = 0             # 0: as much as its hosts send, with room for ACKs
    delay: int = 0
    fabric_delay: int = 0
    limit: int = 60_000
    mtu: int = 1500
    attach: str = "calm"
    options: str = ""
    more: tuple[str, ...] = ()
    sysctls: Mapping[str, int] = field(default_factory=dict)

    @property
    def hosts(self) -> list[str]:
        return [f"h{n + 1}" for n in range(self.leaves * self.per_leaf)]

    def at(self, host: str) -> tuple[int, int]:
        """(leaf, place on it), both from 0."""
        return divmod(int(host[1:]) - 1, self.per_leaf)

    def address(self, host: str) -> str:
        leaf, place = self.at(host)
        return f"10.9.{leaf}.{place + 1}"

    def mac(self, host: str) -> str:
        leaf, place = self.at(host)
        return f"02:e0:00:00:{leaf:02x}:{place + 1:02x}"

    @property
    def uplink_rate(self) -> int:
        return self.uplink or round(1.12 * self.rate * self.per_leaf / self.spines)

    @property
    def frame(self) -> int:
        """Bytes of the largest frame."""
        return self.mtu + HEADERS

    @property
    def directions(self) -> list[str]:
        """In the order of the counters' records."""
        pairs = [(h, f"leaf{self.at(h)[0] + 1}") for h in self.hosts]
        pairs += [(f"leaf{i + 1}", f"spine{k + 1}") for i in range(self.leaves) for k in range(self.spines)]
        return [name for a, b in pairs for name in (f"{a}->{b}", f"{b}->{a}")]


def config_lines(shape: Shape, netns: Mapping[str, str]) -> Iterator[str]:
    """The engine's CONFIG."""
    yield f"option cpu={engine_processor()} {shape.options}".strip()
    yield from (f"switch leaf{i + 1}" for i in range(shape.leaves))
    yield from (f"switch spine{k + 1}" for k in range(shape.spines))
    for host in shape.hosts:
        yield (f"host {host} netns=/run/netns/{netns[host]} device={DEVICE} mac={shape.mac(host)} mtu={shape.mtu} "
               f"attach={shape.attach}")
    for host in shape.hosts:
        leaf, place = shape.at(host)
        yield f"link {host} {host}:0 leaf{leaf + 1}:{place + 1} rate={shape.rate} delay={shape.delay}"
    for i in range(shape.leaves):
        for k in range(shape.spines):
            yield (f"link leaf{i + 1}-spine{k + 1} leaf{i + 1}:{FIRST_UPLINK + k} spine{k + 1}:{i + 1} "
                   f"rate={shape.uplink_rate} delay={shape.fabric_delay}")
    yield from (f"queue {d} 0 limit={shape.limit}" for d in shape.directions if not d.startswith("h"))
    yield from shape.more


def rule_lines(shape: Shape) -> Iterator[str]:
    """Static rules: to a host of the leaf, to a spine by the port of who sends, from a spine to a leaf."""
    for i in range(shape.leaves):
        mine = [h for h in shape.hosts if shape.at(h)[0] == i]
        for place, host in enumerate(mine, start=1):
            yield (f"rule leaf{i + 1} {place} table=0 priority=20 match eth_type=0x0800,ipv4_dst={shape.address(host)} "
                   f"do set:eth_dst={shape.mac(host)};output:{place}")
            yield (f"rule leaf{i + 1} {1000 + place} table=0 priority=10 match in_port={place},eth_type=0x0800 "
                   f"do output:{FIRST_UPLINK + (place - 1) % shape.spines}")
        yield from (f"rule spine{k + 1} {i + 1} table=0 priority=10 match eth_type=0x0800,ipv4_dst=10.9.{i}.0/24 "
                    f"do output:{i + 1}" for k in range(shape.spines))


@dataclass
class EngineFabric:
    """One that runs. up: seconds that namespaces, the engine, and addresses, rules and disciplines took."""

    shape: Shape
    netns: Mapping[str, str]
    process: subprocess.Popen[bytes]
    client: EngineClient
    counters: Counters
    directory: Path
    up: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def flow(self, kind: str, name: str, sender: str, receiver: str, port: int = 0, **keys: float | str) -> str:
        """A line for the traffic generator."""
        more = "".join(f" {key}={value}" for key, value in keys.items())
        where = f"{self.netns[sender]} {self.netns[receiver]} {self.shape.address(receiver)} {port}"
        return f"{kind} {name} {where}{more}"

    def direction(self, name: str) -> DirectionCounts:
        return self.counters.direction(self.shape.directions.index(name))

    def queue(self, name: str, number: int = 0) -> QueueCounts:
        return self.counters.queue(self.shape.directions.index(name), number)

    def named_drops(self) -> dict[str, int]:
        """All frames that ended in the engine, by what it names them; those of hosts' devices are not its own."""
        found = dict.fromkeys(("limit", "headroom", "loss", "bit_errors", "cut", "switches", "not_written"), 0)
        for number in range(len(self.shape.directions)):
            d = self.counters.direction(number)
            queues = list(self.counters.queues(number))
            found["limit"] += sum(q.drops for q in queues)
            found["headroom"] += sum(q.headroom_drops for q in queues)
            found["loss"] += d.lost
            found["bit_errors"] += d.bit_errors
            found["cut"] += d.cut
        for number in range(self.shape.leaves + self.shape.spines):
            s = self.counters.switch(number)
            found["switches"] += s.cut + s.dropped_by_rule + sum(getattr(s, reason) for reason in REASONS)
        found["not_written"] = sum(self.counters.host(n).not_written for n in range(len(self.shape.hosts)))
        return found

    def device_drops(self) -> dict[str, int]:
        """Host -> frames that found no room in its device."""
        found = {}
        for host, netns in self.netns.items():
            with inside(f"/run/netns/{netns}"):
                line = next(x for x in Path("/proc/thread-self/net/dev").read_text().splitlines() if DEVICE + ":" in x)
                found[host] = int(line.split(":")[1].split()[11])
        return found


@contextmanager
def engine_fabric(shape: Shape) -> Iterator[EngineFabric]:
    """The fabric, and its end: namespaces go by the names that they were given."""
    tag = f"eb{os.getpid()}"
    netns = {host: f"{tag}{host}" for host in shape.hosts}
    program = build.program()
    with tempfile.TemporaryDirectory(prefix="engine-fabric-") as name:
        begin = time.monotonic()
        made = _make_namespaces(shape, netns)
        try:
            there = time.monotonic()
            with _engine(program, Path(name), shape, netns) as it:
                running = time.monotonic()
                _set_up(it)
                it.up = there - begin, running - there, time.monotonic() - running
                yield it
        finally:
            ip_batch(f"netns del {n}" for n in made)


def _make_namespaces(shape: Shape, netns: Mapping[str, str]) -> list[str]:
    ip_batch(f"netns add {n}" for n in netns.values())
    for each in netns.values():
        with inside(f"/run/netns/{each}"):
            for key, value in {**QUIET, **shape.sysctls}.items():
                set_sysctl(key, value)
            with suppress(FileNotFoundError):       # of Linux from 6.3 on
                set_sysctl(STEERING, f"{receiving_mask():x}")
    return list(netns.values())


@contextmanager
def _engine(program: Path, directory: Path, shape: Shape, netns: Mapping[str, str]) -> Iterator[EngineFabric]:
    config, socket, counters = directory / "config", directory / "socket", directory / "counters"
    config.write_text("".join(f"{line}\n" for line in config_lines(shape, netns)))
    process = subprocess.Popen([str(program), str(socket), str(counters), str(config)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        if process.stdout is None:
            raise ValueError("its standard output is no pipe")
        readable, _, _ = select.select([process.stdout], [], [], READY)
        if not readable or process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the engine was not ready within {READY:g} s, or ended with {process.poll()}")
        with EngineClient(socket) as client:
            yield EngineFabric(shape, netns, process, client, Counters(counters), directory)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(10)
        finally:
            process.kill()


def _set_up(it: EngineFabric) -> None:
    at_once(lambda host: _set_up_host(it.shape, it.netns[host], host), it.shape.hosts)
    it.client.ask_all(list(rule_lines(it.shape)))
    it.client.ask("fresh")


def _set_up_host(shape: Shape, netns: str, host: str) -> None:
    ip_batch([
        f"addr add {shape.address(host)}/32 dev {DEVICE}", f"link set {DEVICE} up", "link set lo up",
        f"neigh replace {GATEWAY} lladdr {GATEWAY_MAC} dev {DEVICE} nud permanent",
        f"route add default via {GATEWAY} dev {DEVICE} onlink",
        f"link set dev {DEVICE} gso_max_segs 1"], netns)       # a super-packet would be taken as one frame
    if shape.attach != "gated":         # the engine does that itself
        tc_batch(_shaper(shape) if shape.attach == "calm" else [f"qdisc replace dev {DEVICE} root noqueue"], netns)


def _shaper(shape: Shape) -> list[str]:
    """HTB at the link's rate: two frames at once, or a millisecond."""
    burst = max(2 * shape.frame, shape.rate // 8000)
    return [f"qdisc replace dev {DEVICE} root handle 1: htb default 10",
            f"class add dev {DEVICE} parent 1: classid 1:10 htb rate {shape.rate}bit ceil {shape.rate}bit "
            f"burst {burst} cburst {burst} quantum {shape.frame + 100}",
            f"qdisc add dev {DEVICE} parent 1:10 handle 10: bfifo limit 4000000"]
