"""An Open vSwitch without devices: its userspace datapath on ports that take frames by a command and keep in a file
what leaves by them. So frames come and go one by one, nothing else is on the wires, and a test need not wait."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fabricd.drawn_rules import NEIGHBOURS, PORTS, TUNNEL, VTEP_MAC, VTEPS
from topologies.lab.clean import end_processes
from topologies.lab.journal import Process, process_start
from topologies.model.inventory import SwitchProcess
from topologies.switches.ovs.management import unixctl
from topologies.switches.ovs.switch import SCHEMA

NAME = "s"
LAST_PORT, LAST = 9, bytes.fromhex("02000000000902000000000988b5") + b"the last one"
TIMEOUT = 20.0
QUIET = ("-vconsole:off", "-vsyslog:off", "--log-file", "--detach", "--no-chdir", "--pidfile")
_RULE = re.compile(r"cookie=(0x[0-9a-f]+),.*\bn_packets=(\d+), n_bytes=(\d+)")
_GROUP = re.compile(r"group_id=(\d+),.*?packet_count=(\d+),byte_count=(\d+)(.*)")
_BUCKET = re.compile(r"bucket(\d+):packet_count=(\d+)")


class DummyOvs:
    """A switch with ports PORTS, a tunnel with VTEPS and NEIGHBOURS, and no rules."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process = SwitchProcess(name=NAME, directory=str(directory), pid=0, policy=0)
        self._read = dict.fromkeys((*PORTS, LAST_PORT), 24)     # bytes of its capture that are known

    def _call(self, method: str, *words: str) -> str:
        return unixctl.call(self._process, method, *words)

    def _ofctl(self, command: str, *lines: str) -> str:
        done = subprocess.run(["ovs-ofctl", "-O", "OpenFlow15", command, f"unix:{self._directory}/{NAME}.mgmt",
                               *(["-"] if lines else [])], input="\n".join(lines), capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, (command, lines, done.stderr)
        return done.stdout

    def prepare(self) -> None:
        for n, address in enumerate(VTEPS):
            self._call("netdev-dummy/ip4addr", NAME, f"{address}/24")
            self._call("ovs/route/add", f"10.255.{n}.0/24", NAME)
        for address, mac in NEIGHBOURS.items():
            self._call("tnl/neigh/set", NAME, address, mac)

    def set_rules(self, rules: Iterable[str], groups: Iterable[str]) -> None:
        """In the place of all that there were."""
        self._ofctl("del-flows")
        self._ofctl("del-groups")
        groups = list(groups)
        if groups:
            self._ofctl("add-groups", *groups)
        self._ofctl("add-flows", f"table=0,priority=65535,dl_type=0x88b5,actions=output:{LAST_PORT}", *rules)
        self._call("revalidator/purge")

    def send(self, port: int, frame: bytes) -> list[tuple[int, bytes]]:
        """A frame comes in; what leaves. A last frame behind it tells that the switch is done with it."""
        self._call("netdev-dummy/receive", f"p{port}", frame.hex())
        self._call("netdev-dummy/receive", f"p{port}", LAST.hex())
        deadline = time.monotonic() + TIMEOUT
        while not self._new_frames(LAST_PORT):
            assert time.monotonic() < deadline, "the switch does not forward"
            time.sleep(0.0002)
        return [(p, it) for p in PORTS for it in self._new_frames(p)]

    def _new_frames(self, port: int) -> list[bytes]:
        data = (self._directory / f"p{port}.pcap").read_bytes()
        at, found = self._read[port], []
        while at + 16 <= len(data):
            (size,) = struct.unpack_from("<I", data, at + 8)
            if at + 16 + size > len(data):
                break
            found.append(data[at + 16:at + 16 + size])
            at += 16 + size
        self._read[port] = at
        return found

    def counters(self) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int, list[int]]]]:
        """Cookie -> packets, bytes; group -> packets, bytes, packets of its buckets."""
        self._call("revalidator/purge")
        rules = map(_RULE.search, self._ofctl("dump-flows").splitlines())
        groups = map(_GROUP.search, self._ofctl("dump-group-stats").splitlines())
        return ({int(m[1], 16): (int(m[2]), int(m[3])) for m in rules if m and int(m[1], 16)},
                {int(m[1]): (int(m[2]), int(m[3]), [int(b[2]) for b in _BUCKET.finditer(m[4])]) for m in groups if m})


def _settings(directory: Path) -> list[str]:
    words = ["init", "--", "add-br", NAME, "--", "set", "bridge", NAME, "datapath_type=dummy", "fail_mode=secure",
             "protocols=OpenFlow15", f"other_config:hwaddr={VTEP_MAC}"]
    for port in (*PORTS, LAST_PORT):
        words += ["--", "add-port", NAME, f"p{port}", "--", "set", "interface", f"p{port}", "type=dummy",
                  f"ofport_request={port}", f"options:tx_pcap={directory}/p{port}.pcap"]
    return [*words, "--", "add-port", NAME, "vx0", "--", "set", "interface", "vx0", "type=vxlan",
            f"ofport_request={TUNNEL}", "options:key=flow", "options:remote_ip=flow", "options:tos=inherit"]


@contextmanager
def dummy_ovs(directory: Path) -> Iterator[DummyOvs]:
    names = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
    env = {**os.environ, **dict.fromkeys(names, str(directory))}
    started: list[Process] = []

    def run(*command: str) -> None:
        subprocess.run(command, env=env, check=True, capture_output=True)

    def daemon(name: str, *words: str) -> None:
        run(name, *words, *QUIET)
        pid = int((directory / f"{name}.pid").read_text())
        started.append(Process(pid, process_start(pid) or 0))

    try:
        run("ovsdb-tool", "create", f"{directory}/conf.db", SCHEMA)
        daemon("ovsdb-server", f"{directory}/conf.db", f"--remote=punix:{directory}/db.sock",
               f"--unixctl={directory}/db.ctl")
        daemon("ovs-vswitchd", f"unix:{directory}/db.sock", f"--unixctl={directory}/vs.ctl", "--enable-dummy",
               "--disable-system", "--disable-system-route")
        run("ovs-vsctl", f"--db=unix:{directory}/db.sock", *_settings(directory))
        switch = DummyOvs(directory)
        switch.prepare()
        yield switch
    finally:
        end_processes(started)
