"""Reading the ledger's sources from a running lab: devices, queues, switches, host sockets.

Each source is the kernel's own count; which one is exact, and which one lies, is the matter of
the ledger's design (docs/decisions).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from topologies.access.counts import udp_receive_errors
from topologies.model.errors import RunError
from topologies.model.inventory import Inventory
from topologies.proof.ledger import Counters, Walk
from topologies.switches.datapaths import datapath_of
from topologies.switches.managements import management_of

PolicyReader = Callable[[], Mapping[str, Mapping[str, int]]]
QUIET_READS = 3         # equal readings in a row, QUIET_STEP apart, that count as quiet
QUIET_STEP = 0.05       # seconds


def softnet_drops() -> int:
    """Packets dropped from the kernel's per-CPU backlogs since boot, whole machine."""
    return sum(int(line.split()[1], 16) for line in Path("/proc/net/softnet_stat").read_text().splitlines())


def snapshot(inventory: Inventory, policy: PolicyReader, dead: Collection[str] = ()) -> Counters:
    """All counters now. Rule counters lag behind packets, so the switches are asked to catch up first, but the dead."""
    alive = [process for name, process in inventory.switches.items() if name not in dead]
    datapath = datapath_of(inventory)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(management_of(inventory).settle_counters, alive))
    received, sent = datapath.devices(inventory)
    return Counters(
        received=received, sent=sent, queues=datapath.queues(inventory),
        overruns={s: datapath.losses(inventory, s) for s in inventory.switches},
        policy=policy(), softnet=softnet_drops(), overrun_at=datapath.overrun_at,
        host_errors={h.name: udp_receive_errors(inventory.netns_path(h.name)) for h in inventory.fabric.all_hosts})


def wait_quiet(inventory: Inventory, timeout: float = 10.0) -> None:
    """Until no device counts and no queue holds a packet. Raises RunError naming what still moves."""
    deadline, datapath = time.monotonic() + timeout, datapath_of(inventory)
    last, equal = datapath.devices(inventory), 1
    while equal < QUIET_READS:
        time.sleep(QUIET_STEP)
        now = datapath.devices(inventory)
        waiting = [d for d, q in datapath.queues(inventory).items() if q.waiting]
        equal = equal + 1 if now == last and not waiting else 1
        if said := datapath.ended(inventory):
            raise RunError("the end of the measurement", "a quiet network", said)
        if time.monotonic() > deadline:
            moving = waiting or sorted(k for k in now[0] if now[0][k] != last[0].get(k))
            raise RunError("the end of the measurement", f"a quiet network within {timeout:g} s",
                           f"packets still moving at {', '.join(moving[:5])}",
                           "something beside the workload sends: look at `aifab exec` programs")
        last = now


def hops(inventory: Inventory) -> Walk:
    """How packet accounting walks the hops of a running lab."""
    return partial(datapath_of(inventory).walk, inventory)
