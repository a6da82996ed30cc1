"""What the kernel of a namespace counts, by device and by protocol."""

from __future__ import annotations

from pathlib import Path

from topologies.access.netns import inside


def device_counts(netns_path: str) -> dict[str, tuple[int, int]]:
    """Device -> packets received and sent, of one namespace."""
    return {name: (n[1], n[9]) for name, n in _devices(netns_path).items()}


def send_drops(netns_path: str) -> dict[str, int]:
    """Device -> packets that found no room in it when they were to be sent, of one namespace."""
    return {name: n[11] for name, n in _devices(netns_path).items()}


def _devices(netns_path: str) -> dict[str, list[int]]:
    """Device -> the columns of /proc/net/dev, behind its name."""
    with inside(netns_path):
        lines = [line.split(":", 1) for line in Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]]
    return {name.strip(): [int(n) for n in numbers.split()] for name, numbers in lines}


def udp_receive_errors(netns_path: str) -> int:
    """UDP datagrams that arrived in a namespace and found no room in their socket."""
    with inside(netns_path):
        lines = [x.split() for x in Path("/proc/thread-self/net/snmp").read_text().splitlines() if x.startswith("Udp:")]
    return int(dict(zip(lines[0][1:], lines[1][1:], strict=True))["RcvbufErrors"])
