"""What the kernel of a namespace counts, by device and by protocol."""

from __future__ import annotations

from pathlib import Path

from topologies.access.netns import inside


def device_counts(netns_path: str) -> dict[str, tuple[int, int]]:
    """Device -> packets received and sent, of one namespace."""
    with inside(netns_path):
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    found = {}
    for line in lines:
        name, numbers = line.split(":", 1)
        n = numbers.split()
        found[name.strip()] = (int(n[1]), int(n[9]))
    return found


def udp_receive_errors(netns_path: str) -> int:
    """UDP datagrams that arrived in a namespace and found no room in their socket."""
    with inside(netns_path):
        lines = [x.split() for x in Path("/proc/thread-self/net/snmp").read_text().splitlines() if x.startswith("Udp:")]
    return int(dict(zip(lines[0][1:], lines[1][1:], strict=True))["RcvbufErrors"])
