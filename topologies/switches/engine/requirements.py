"""What the engine needs of the machine."""

from __future__ import annotations

from topologies.links.htb import requirements as host_needs
from topologies.switches.datapath import Requirements

REQUIREMENTS = Requirements(
    programs={"cc": "gcc libc6-dev", **host_needs.PROGRAMS},
    versions={"cc": ("cc", "--version"), "iproute2": host_needs.VERSION},
    devices={"/dev/net/tun": "modprobe tun; in a container, give it the device"},
    modules={host_needs.SHAPER: "hosts' rates", "cls_u32": "classes at hosts"})
