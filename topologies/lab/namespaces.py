"""Making network namespaces."""

from __future__ import annotations

from collections.abc import Sequence

from topologies.access.netns import inside, set_sysctl
from topologies.lab.shell import ip_batch


def make_namespaces(names: Sequence[str]) -> None:
    """Namespaces without IPv6: its own chatter would be in packet accounting."""
    ip_batch(f"netns add {n}" for n in names)
    for name in names:
        with inside(f"/run/netns/{name}"):
            for scope in ("all", "default"):
                set_sysctl(f"net.ipv6.conf.{scope}.disable_ipv6", 1)
