"""Keep each flow's packets in order where the kernel forwards: receive packet steering (RPS) on every veth.

A veth hands a frame to the processor that sent it. Two frames of one flow that left a queue on two processors
wait in two backlogs, and the second may be taken up first: a reordering that is the emulator's own. RPS gives all
frames of a flow to the same processor at every device (Documentation/networking/scaling.rst of the kernel), so
that they stay in the order in which the queue let them go.

Its setting is a file of sysfs, which shows the devices of the namespace it was mounted in. So a thread with mounts
of its own walks through the namespaces, and everything it mounted ends with it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from topologies.access.netns import inside
from topologies.model.errors import HostError

CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 0x40000, 2
SYSFS = "/sys"
_libc = ctypes.CDLL(None, use_errno=True)


def mask(processors: int) -> str:
    """All of them in sysfs's notation: hexadecimal, in groups of 32 bits."""
    bits = f"{(1 << processors) - 1:x}"
    bits = bits.zfill(-(-len(bits) // 8) * 8)
    return ",".join(bits[i:i + 8] for i in range(0, len(bits), 8))


def keep_flows_together(netns: Iterable[str]) -> None:
    """Spread flows, not frames, over the processors, at every device of these namespaces. Raises HostError."""
    processors = os.cpu_count() or 1
    if processors > 1:
        with ThreadPoolExecutor(1) as pool:     # a thread's own mounts cannot be given back: it ends with them
            pool.submit(_walk, list(netns), mask(processors)).result()


def _walk(netns: list[str], processors: str) -> None:
    _call("unshare", _libc.unshare(CLONE_NEWNS))
    _call("mount", _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    for name in netns:
        with inside(f"/run/netns/{name}"):
            _call("mount", _libc.mount(b"sysfs", SYSFS.encode(), b"sysfs", 0, None))
            try:
                for queue in Path(SYSFS, "class/net").glob("*/queues/rx-*/rps_cpus"):
                    queue.write_text(processors)
            finally:
                _call("umount", _libc.umount2(SYSFS.encode(), MNT_DETACH))


def _call(what: str, result: int) -> None:
    if result != 0:
        raise HostError(f"{what} for {SYSFS}", "mounts of its own, to steer received packets",
                        os.strerror(ctypes.get_errno()), "run as root, in a container with the right to mount")
