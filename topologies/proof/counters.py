"""Reading the ledger's sources from a running lab: devices, queues, port sockets, host sockets.

Each source is the kernel's own count; which one is exact, and which one lies, is the matter of
the ledger's design (docs/decisions).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from topologies.switches.ovs.management import unixctl
from topologies.access.netns import inside
from topologies.lab.shell import run
from topologies.links.htb import qdisc
from topologies.links.htb.wires import Queue, queues
from topologies.model.errors import RunError
from topologies.model.inventory import Inventory
from topologies.proof.ledger import Counters, QueueCount, device_key
from topologies.switches.ovs import kernel_datapath

PolicyReader = Callable[[], Mapping[str, Mapping[str, int]]]
_SOCKET = re.compile(r"\brb(\d+),t\d+,tb(\d+),.*?\bd(\d+)\)")
QUIET_READS = 3         # equal readings in a row, QUIET_STEP apart, that count as quiet
QUIET_STEP = 0.05       # seconds


def _devices(netns: str) -> dict[str, tuple[int, int]]:
    """Device -> packets received and sent, of one namespace."""
    with inside(f"/run/netns/{netns}"):
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    found = {}
    for line in lines:
        name, numbers = line.split(":", 1)
        n = numbers.split()
        found[name.strip()] = (int(n[1]), int(n[9]))
    return found


def _udp_errors(netns: str) -> int:
    """UDP datagrams that arrived at a host and found no room in the socket."""
    with inside(f"/run/netns/{netns}"):
        lines = [x.split() for x in Path("/proc/thread-self/net/snmp").read_text().splitlines() if x.startswith("Udp:")]
    return int(dict(zip(lines[0][1:], lines[1][1:], strict=True))["RcvbufErrors"])


def read_devices(inventory: Inventory) -> tuple[dict[str, int], dict[str, int]]:
    """Packets received and sent, by 'node/device'; the wiring namespace is the node 'wires'."""
    received, sent = {}, {}
    for node, netns in (*inventory.netns.items(), ("wires", inventory.wiring)):
        for device, (rx, tx) in _devices(netns).items():
            received[device_key(node, device)], sent[device_key(node, device)] = rx, tx
    return received, sent


def read_queues(inventory: Inventory) -> dict[str, QueueCount]:
    """Direction -> packets through its queue, the sentinel class included, and lost by the link itself."""
    held: dict[tuple[str, str], dict[int, qdisc.Qdisc]] = {}
    for netns in {q.netns for q in queues(inventory)} | {inventory.wiring}:
        for device, q in device_queues(netns):
            held.setdefault((netns, device), {})[q.handle] = q
    return {q.direction: _through(q, held.get((q.netns, q.device), {})) + _impaired(
        held.get((inventory.wiring, q.leaves_by), {})) for q in queues(inventory)}


def _through(queue: Queue, held: Mapping[int, qdisc.Qdisc]) -> QueueCount:
    """The queues of one device, by their handles."""
    found = [held[handle] for handle in (*queue.handles, qdisc.SENTINEL_QUEUE) if handle in held]
    return QueueCount(sum(q.packets for q in found), sum(q.drops for q in found), sum(q.qlen for q in found),
                      by_class={c.name: held[c.handle].drops for c in queue.classes if c.name and c.handle in held})


def _impaired(held: Mapping[int, qdisc.Qdisc]) -> QueueCount:
    """What netem lost by chance and still holds back. Its counts include those of the queue behind it."""
    netem, behind = held.get(qdisc.IMPAIRMENT), held.get(qdisc.TRAFFIC_QUEUE)
    if netem is None or behind is None:
        return QueueCount()
    return QueueCount(waiting=netem.qlen - behind.qlen, lost=netem.drops - behind.drops)


def device_queues(netns: str) -> list[tuple[str, qdisc.Qdisc]]:
    """Every qdisc of a namespace with the name of its device."""
    path = f"/run/netns/{netns}"
    names = {index: name for name, index in qdisc.interfaces(path).items()}
    with qdisc.open_socket(path) as sock:
        return [(names.get(q.ifindex, "?"), q) for q in qdisc.dump(sock)]


def read_sockets(inventory: Inventory, node: str) -> list[tuple[int, int, int]]:
    """(receive buffer, send buffer, drops) of each packet socket of a switch; bytes, bytes, packets."""
    with inside(inventory.netns_path(node)):
        text = run("ss", "-0", "-m", "-H")
    return [(int(m[1]), int(m[2]), int(m[3])) for m in _SOCKET.finditer(text)]


def overruns(inventory: Inventory, switch: str) -> int:
    """Packets that a switch had no room for: at its port sockets, or on the way from kernel to daemon."""
    if inventory.datapath == "kernel":
        return kernel_datapath.lost_upcalls(inventory.switches[switch])
    return sum(drops for _, _, drops in read_sockets(inventory, switch))


def softnet_drops() -> int:
    """Packets dropped from the kernel's per-CPU backlogs since boot, whole machine."""
    return sum(int(line.split()[1], 16) for line in Path("/proc/net/softnet_stat").read_text().splitlines())


def snapshot(inventory: Inventory, policy: PolicyReader, dead: Collection[str] = ()) -> Counters:
    """All counters now. Rule counters lag behind packets, so the switches are asked to catch up first, but the dead."""
    alive = [process for name, process in inventory.switches.items() if name not in dead]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda process: unixctl.call(process, "revalidator/wait"), alive))
    received, sent = read_devices(inventory)
    return Counters(
        received=received, sent=sent, queues=read_queues(inventory),
        sockets={s: overruns(inventory, s) for s in inventory.switches},
        policy=policy(), softnet=softnet_drops(),
        host_errors={h.name: _udp_errors(inventory.netns[h.name]) for h in inventory.fabric.all_hosts})


def wait_quiet(inventory: Inventory, timeout: float = 10.0) -> None:
    """Until no device counts and no queue holds a packet. Raises RunError naming what still moves."""
    deadline = time.monotonic() + timeout
    last, equal = read_devices(inventory), 1
    while equal < QUIET_READS:
        time.sleep(QUIET_STEP)
        now = read_devices(inventory)
        waiting = [d for d, q in read_queues(inventory).items() if q.waiting]
        equal = equal + 1 if now == last and not waiting else 1
        if time.monotonic() > deadline:
            moving = waiting or sorted(k for k in now[0] if now[0][k] != last[0].get(k))
            raise RunError("the end of the measurement", f"a quiet network within {timeout:g} s",
                           f"packets still moving at {', '.join(moving[:5])}",
                           "something beside the workload sends: look at `aifab exec` programs")
        last = now


def wires_by_link(inventory: Inventory) -> dict[str, tuple[str, str]]:
    return {link: (pair.a, pair.b) for link, pair in inventory.wires.items()}
