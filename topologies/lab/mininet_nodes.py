"""Mininet nodes, interfaces and links over namespaces that exist already.

A Mininet node starts a shell when it is made; ours start it when it is first asked for a command.
64 shells cost more time than the whole fabric.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
from typing import Required, TypedDict

import topologies.lab.mininet_first  # noqa: F401

# isort: split
from mininet.link import Intf, Link
from mininet.node import Host, Node, Switch


class LabNode(Node):    # type: ignore[misc]
    """A Mininet node in the namespace `netns`."""

    def __init__(self, name: str, netns: str = "", **params: object) -> None:
        self.netns = netns
        self.shell: subprocess.Popen[bytes] | None = None
        super().__init__(name, inNamespace=True, **params)

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802 - Mininet's name
        """Not yet: see need_shell."""

    def need_shell(self) -> None:
        """Start the node's shell if it has none, as Mininet does but inside our namespace."""
        if self.shell:
            return
        self.master, self.slave = pty.openpty()
        command = ["mnexec", "-cd", "nsenter", f"--net=/run/netns/{self.netns}", "env", "PS1=" + chr(127),
                   "bash", "--norc", "--noediting", "-is", "mininet:" + self.name]
        shell = self._popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave, close_fds=False)
        self.shell, self.pid = shell, shell.pid
        self.stdin = self.stdout = os.fdopen(self.master, "r")
        self.pollOut = select.poll()
        self.pollOut.register(self.stdout)
        self.outToNode[self.stdout.fileno()] = self.inToNode[self.stdin.fileno()] = self
        self.execed, self.readbuf = False, ""
        while not self.read(1024).endswith(chr(127)):
            self.pollOut.poll()
        self.waiting = False
        self.cmd("unset HISTFILE; stty -echo; set +m")

    def sendCmd(self, *args: object, **kwargs: object) -> object:  # noqa: N802 - Mininet's name
        self.need_shell()
        return super().sendCmd(*args, **kwargs)

    def cmd(self, *args: object, **kwargs: object) -> object:
        self.need_shell()
        return super().cmd(*args, **kwargs)

    def popen(self, *args: object, **kwargs: object) -> object:
        self.need_shell()
        return super().popen(*args, **kwargs)

    def terminate(self) -> None:
        """End the shell, if there is one."""
        if self.shell:
            with contextlib.suppress(ProcessLookupError):
                super().terminate()


class LabHost(LabNode, Host):   # type: ignore[misc]
    """A host; `net.get('h1').cmd('ping ...')` works as in Mininet."""


class LabSwitch(LabNode, Switch):   # type: ignore[misc]
    """A switch, seen from Mininet; what forwards is in topologies/switches."""

    def __init__(self, name: str, netns: str = "", **params: object) -> None:
        LabNode.__init__(self, name, netns=netns, **params)
        self.opts, self.listenPort, self.dpid = "", None, params.get("dpid", "")

    def start(self, controllers: object) -> None:
        """Started by the lab before Mininet knew of it."""

    def stop(self, deleteIntfs: bool = False) -> None:  # noqa: N803 - Mininet's name
        self.terminate()

    def connected(self) -> bool:
        return True


class LinkEnd(TypedDict, total=False):
    """What a LabIntf is made of, but for its link."""

    name: Required[str]
    node: Required[LabNode]
    port: Required[int]
    ip: str
    prefix: int
    mac: str


class LabIntf(Intf):    # type: ignore[misc]
    """An interface that is configured already."""

    def __init__(self, name: str, node: LabNode, port: int, link: LabLink, ip: str = "", prefix: int = 0,
                 mac: str = "") -> None:
        self.name, self.node, self.link = name, node, link
        self.params: dict[str, object] = {}
        self.ip, self.prefixLen, self.mac = ip or None, prefix or None, mac or None
        node.intfs[port] = self
        node.ports[self] = port
        node.nameToIntf[name] = self

    def delete(self) -> None:
        """It goes with its namespace."""


class LabLink(Link):    # type: ignore[misc]
    """A wire, seen from Mininet."""

    def __init__(self, intf1: LinkEnd, intf2: LinkEnd) -> None:
        self.intf1, self.intf2 = LabIntf(link=self, **intf1), LabIntf(link=self, **intf2)

    def stop(self) -> None:
        """It goes with its namespaces."""
