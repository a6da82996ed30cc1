"""What this machine offers, and the global settings that must be right before a switch starts.

The settings are global to the machine, so labs count each other: the first one to come saves the
old values, the last one to go puts them back.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from topologies.access import files
from topologies.access.netns import get_sysctl, set_sysctl
from topologies.lab import journal
from topologies.lab.programs import find_program
from topologies.model.errors import HostError
from topologies.model.fabric import Fabric
from topologies.switches.datapath import Datapath
from topologies.switches.datapaths import DATAPATHS, chosen, require_asked

# Neighbour table: it is one table for all namespaces, and 64 hosts that all talk to each other need 4,032 entries.
SYSCTLS = {
    **{key: value for d in DATAPATHS.values() for key, value in d.requirements.settings.items()},
    "net.ipv4.neigh.default.gc_thresh1": 65536,
    "net.ipv4.neigh.default.gc_thresh2": 131072,
    "net.ipv4.neigh.default.gc_thresh3": 262144,
}
MODULE_PARAMETERS = {path: value for d in DATAPATHS.values() for path, value in d.requirements.parameters.items()}
_PROGRAMS = {"ip": "iproute2", "ss": "iproute2", "nsenter": "util-linux", "mnexec": "mininet", "iperf3": "iperf3",
             "tcpdump": "tcpdump", "ethtool": "ethtool"}

@cache
def has_module(name: str) -> bool:
    """Whether the running kernel has a module, built in, loaded or loadable."""
    name = name.replace("-", "_")
    if Path(f"/sys/module/{name}").exists():
        return True
    directory = Path("/lib/modules") / os.uname().release
    for index in ("modules.builtin", "modules.dep"):
        try:
            text = (directory / index).read_text()
        except OSError:
            continue
        if any(line.split(":")[0].rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_") == name
               for line in text.splitlines()):
            return True
    return False


def can_open(device: str) -> bool:
    """Whether there is such a special file, and something behind it."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def congestion_controls() -> list[str]:
    return get_sysctl("net.ipv4.tcp_available_congestion_control").split()


def require_root() -> None:
    if os.geteuid() != 0:
        raise HostError("this command", "root, for network namespaces and interfaces",
                        f"user id {os.geteuid()}", "run it with sudo")


def programs(datapath: Datapath) -> dict[str, str]:
    """Program -> its package, of all that a lab with this datapath runs."""
    return _PROGRAMS | dict(datapath.requirements.programs)


def require_programs(datapath: Datapath) -> None:
    missing = {p: package for p, package in programs(datapath).items() if find_program(p) is None}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise HostError("this machine", f"the programs {', '.join(missing)}", "not installed",
                        f"apt-get install {packages}, or run ./provision.sh")


def require_features(fabric: Fabric) -> None:
    """Refuse a fabric that this kernel cannot emulate, by the name of what it lacks."""
    require_asked(fabric)
    datapath = chosen(fabric)
    for device, hint in datapath.requirements.devices.items():
        if not can_open(device):
            raise HostError(f"fabric {fabric.spec.name}, datapath: {datapath.name}", f"the device {device}",
                            "none that can be opened", hint)
    for key, module, hint in datapath.modules(fabric):
        if not has_module(module):
            raise HostError(f"fabric {fabric.spec.name}, {key}", f"a kernel with the module {module}",
                            "a kernel without it", hint)
    for name, vtep in fabric.spec.bgp.vteps.items() if fabric.spec.bgp else ():
        for module in ("vxlan", "bridge", *(("vrf",) if vtep.l3vni else ())):
            if not has_module(module):
                raise HostError(f"fabric {fabric.spec.name}: bgp.peers.{name}.vtep",
                                f"a kernel with the module {module}", "a kernel without it",
                                "run in the lab VM (vagrant up), whose kernel has it"
                                + (", or leave l3vni out: the router bridges then" if module == "vrf" else ""))
    wanted = fabric.spec.tcp.congestion_control
    if wanted not in congestion_controls() and not has_module(f"tcp_{wanted}"):
        raise HostError(f"fabric {fabric.spec.name}: tcp.congestion_control",
                        f"one of {', '.join(congestion_controls())}", wanted,
                        f"it needs the kernel module tcp_{wanted}")


@contextmanager
def _held_settings() -> Iterator[dict[str, dict[str, str] | list[str]]]:
    """The shared record under a lock, written back at the end of the block."""
    path = journal.state() / "sysctl.json"
    with (journal.BASE / "sysctl.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(path.read_text()) if path.exists() else {"holders": [], "original": {}}
        yield state
        files.write_whole(path, json.dumps(state).encode(), ours=True)


def hold_settings(lab: str) -> None:
    """Make the global settings right and keep them so until this lab releases them."""
    with _held_settings() as state:
        if not state["holders"]:
            state["original"] = {key: get_setting(key) for key in settings()}
        state["holders"] = [*state["holders"], lab]
        # The old values are on disk before the first new one is set: a kill in between loses nothing.
        files.write_whole(journal.BASE / "sysctl.json", json.dumps(state).encode(), ours=True)
        for key, value in settings().items():
            set_setting(key, value)


def settings() -> dict[str, int]:
    """What a lab wants of the machine: sysctls, and parameters of modules that this kernel has."""
    for path in MODULE_PARAMETERS:      # below /sys/module/NAME
        if not Path(path).exists():
            subprocess.run([find_program("modprobe") or "modprobe", Path(path).parts[3]], capture_output=True,
                           check=False)
    return SYSCTLS | {path: value for path, value in MODULE_PARAMETERS.items() if Path(path).exists()}


def get_setting(key: str) -> str:
    """A sysctl by its dotted name, or a file below /sys by its path."""
    return Path(key).read_text().strip() if key.startswith("/") else get_sysctl(key)


def set_setting(key: str, value: str | int) -> None:
    if key.startswith("/"):
        Path(key).write_text(str(value))
    else:
        set_sysctl(key, value)


def release_settings(lab: str) -> None:
    """Give the settings back; the last lab restores what the first one found."""
    with _held_settings() as state:
        if lab not in state["holders"]:
            return
        state["holders"] = [h for h in state["holders"] if h != lab]
        if not state["holders"] and isinstance(state["original"], dict):
            for key, value in state["original"].items():
                if get_setting(key) == str(settings().get(key)):    # changed by somebody else since: theirs
                    set_setting(key, value)
            state["original"] = {}


@contextmanager
def measuring_lock(wait: bool = False) -> Iterator[None]:
    """Held by the one measuring run of this machine. Raises HostError naming the run that holds it."""
    with (journal.state() / "measure.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            lock.seek(0)
            raise HostError("this machine", "no other measuring run", f"one by process {lock.read() or '?'}",
                            "wait for it; or use --no-lock, which makes the result SUSPECT") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)
