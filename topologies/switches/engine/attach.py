"""How hosts' devices are attached to the engine, and what is set up on them.

    calm    a discipline at the link's rate on the device: a sender that is too fast is held back in its own socket, and
            classes have their shares of it; costs a timer for each frame
    fast    none: what finds the device's ring full is dropped there and counted, TCP sends it again; short frames have
            a ring of their own

Fast costs a third of the processor, and is what carries hundreds of Mbit/s; calm is what a network card does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

from topologies.access.netns import inside, set_sysctl
from topologies.lab.shell import at_once, ip_batch, tc_batch
from topologies.links.htb.wires import host_lines, router_lines
from topologies.model.fabric import End, Fabric, Link
from topologies.switches.engine.layout import host_ends

Attachment = Literal["calm", "fast"]
CALM_SUM = 400e6        # bit/s of all hosts: above it their timers take what the engine needs (docs/decisions/082)
REMARKS: dict[Attachment, str] = {
    "calm": "Hosts are held back by a discipline at their links' rates, as by a network card: a sender that is too "
            "fast waits in its own socket.",
    "fast": "Hosts send without a discipline of their own, for their rates together are above "
            f"{CALM_SUM / 1e6:.0f} Mbit/s: what does not fit a device's ring is dropped there, and counted as a drop "
            "of the host's own direction.",
}
STEERING = "net.core.rps_default_mask"      # of Linux from 6.3 on


def attachment(fabric: Fabric) -> Attachment:
    """Of all hosts of a fabric: fast above CALM_SUM, unless traffic classes share the hosts' own links."""
    total = sum(link.rate for link, _ in host_ends(fabric))
    return "fast" if total > CALM_SUM and not fabric.spec.classes else "calm"


def engine_processor() -> int:
    """The processor that is the engine's, -1 where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[-1] if len(usable) > 1 else -1


def receiving_mask() -> int:
    """Processors that take up what hosts receive: all but the engine's, which would do their work in its writes."""
    usable = os.sched_getaffinity(0)
    return sum(1 << number for number in usable if number != engine_processor()) if len(usable) > 1 else 0


def steer(fabric: Fabric, netns: Mapping[str, str]) -> None:
    """What devices of these namespaces receive is taken up by other processors than the engine's, each flow by one.

    For devices that are made from now on. Kernels before 6.3 do not know it: there it costs what the engine can carry.
    """
    mask = receiving_mask()
    for node in dict.fromkeys(end.node for _, end in host_ends(fabric)) if mask else ():
        with inside(f"/run/netns/{netns[node]}"), suppress(FileNotFoundError):
            set_sysctl(STEERING, f"{mask:x}")


def shape(fabric: Fabric, netns: Mapping[str, str]) -> None:
    """What devices need beside their addresses. Raises HostError."""
    at_once(lambda at: _shape(fabric, netns[at[1].node], *at), host_ends(fabric))


def _shape(fabric: Fabric, netns: str, link: Link, end: End) -> None:
    """One frame at a time: a discipline would take a super-packet for one frame, and TCP would not learn which of its
    frames a full ring has dropped."""
    ip_batch([f"link set dev {end.interface} gso_max_segs 1"], netns)
    tc_batch(_discipline(fabric, link, end), netns)


def _discipline(fabric: Fabric, link: Link, end: End) -> list[str]:
    if attachment(fabric) == "fast":        # none, in place of what the system gives to any device that is taken up
        return [f"qdisc replace dev {end.interface} root noqueue"]
    return host_lines(fabric, end.node) if link.kind == "access" else router_lines(fabric, link)
