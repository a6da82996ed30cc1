"""A host of a running lab gets another address, as DHCP would give it one when it is attached elsewhere."""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterable

from topologies.access.netns import inside
from topologies.lab.shell import ip_batch, run
from topologies.model.inventory import Inventory

SIOCGIFADDR = 0x8915        # linux/sockios.h


def device_of(inventory: Inventory, host: str) -> str:
    return inventory.fabric.access_link(host).end(host).interface


def address_of(inventory: Inventory, host: str) -> str:
    """The IPv4 address that a host has now; '' for none."""
    name = device_of(inventory, host).encode()
    with inside(inventory.netns_path(host)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            return socket.inet_ntoa(fcntl.ioctl(sock, SIOCGIFADDR, name.ljust(40, b"\0"))[20:24])
        except OSError:
            return ""


def readdress(inventory: Inventory, host: str, ip: str, prefix: int, gateway: str = "") -> None:
    """Replace a host's address, and with it all of its routes and what it knows of its neighbours."""
    device = device_of(inventory, host)
    ip_batch([f"addr flush dev {device}", f"addr add {ip}/{prefix} brd + dev {device}",
              *([f"route replace default via {gateway}"] if gateway else []), f"neigh flush dev {device}"],
             inventory.netns[host])


def forget_neighbours(inventory: Inventory, hosts: Iterable[str], addresses: Iterable[str]) -> None:
    """Hosts ask by ARP again who has these addresses; what they know of others stays, for they may be sending there.

    Not by `neigh flush`: that gives up with an error if traffic brings an entry back while it flushes.
    """
    forgotten = sorted(set(addresses))
    for host in hosts:
        text = "".join(f"neigh del {ip} dev {device_of(inventory, host)}\n" for ip in forgotten)
        # An entry that is not there is an error to ip, and none to us.
        run("ip", "-n", inventory.netns[host], "-force", "-batch", "-", text=text, check=False)
