"""Transports by name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from topologies.model.errors import SpecError
from traffic.transports.base import Host, Network, Transport
from traffic.transports.tcp import TCP

TRANSPORTS: dict[str, Transport] = {t.name: t for t in (TCP,)}


def transport(name: str) -> Transport:
    """Raises SpecError naming those that exist."""
    found = TRANSPORTS.get(name)
    if found is None:
        raise SpecError("transport", f"one of {', '.join(sorted(TRANSPORTS))}", name)
    return found


class Networks:
    """The network of each transport that a process uses."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hosts: Mapping[str, Host]) -> None:
        self._loop, self.hosts = loop, hosts
        self._networks: dict[str, Network] = {}

    def of(self, name: str) -> Network:
        """The one of a transport, started where it is not. Raises SpecError."""
        if name not in self._networks:
            self._networks[name] = transport(name).network(self._loop, self.hosts)
        return self._networks[name]

    def close(self) -> None:
        for network in self._networks.values():
            network.close()
