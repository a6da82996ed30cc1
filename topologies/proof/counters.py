"""Reading the ledger's sources from a running lab: devices, queues, switches, host sockets.

Each source is the kernel's own count; which one is exact, and which one lies, is the matter of
the ledger's design (docs/decisions).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from topologies.access.netns import inside
from topologies.links.htb.counters import read_queues
from topologies.model.errors import RunError
from topologies.model.inventory import Inventory
from topologies.proof.ledger import Counters, device_key
from topologies.switches.ovs.losses import losses
from topologies.switches.ovs.management.commands import settle_counters

PolicyReader = Callable[[], Mapping[str, Mapping[str, int]]]
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


def softnet_drops() -> int:
    """Packets dropped from the kernel's per-CPU backlogs since boot, whole machine."""
    return sum(int(line.split()[1], 16) for line in Path("/proc/net/softnet_stat").read_text().splitlines())


def snapshot(inventory: Inventory, policy: PolicyReader, dead: Collection[str] = ()) -> Counters:
    """All counters now. Rule counters lag behind packets, so the switches are asked to catch up first, but the dead."""
    alive = [process for name, process in inventory.switches.items() if name not in dead]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(settle_counters, alive))
    received, sent = read_devices(inventory)
    return Counters(
        received=received, sent=sent, queues=read_queues(inventory),
        overruns={s: losses(inventory, s) for s in inventory.switches},
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
