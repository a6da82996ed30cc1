"""One ovsdb-server and one ovs-vswitchd per switch, in the switch's own namespace and directory.

One daemon for several switches would terminate a tunnel that it also starts, so packets would skip
the fabric; and nothing of ours touches the Open vSwitch that a machine may run by itself.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from topologies.access.netns import inside
from topologies.lab.journal import Journal
from topologies.lab.shell import run
from topologies.model.addressing import VXLAN_PORT
from topologies.model.errors import HostError
from topologies.model.fabric import Fabric, Node
from topologies.model.inventory import SwitchProcess
from topologies.switches.ovs.management.process import DAEMON, pid_file
from topologies.switches.ovs.requirements import IN_KERNEL

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
START_TIMEOUT = 20.0    # seconds
REAL_TIME_PRIORITY = 1  # below the sampler's and the sentinel's: what is measured must not hold up the measuring
QUIET = ("-vconsole:off", "-vsyslog:off", "-vfile:warn", "--log-file", "--detach", "--no-chdir", "--pidfile")
# vswitchd allocates and frees a buffer of some 2 kB for every packet; glibc keeps a cache per thread for
# sizes up to 1 kB only unless told otherwise (docs/decisions/009-wires-release-bursts.md).
ALLOCATOR = "glibc.malloc.tcache_max=16384:glibc.malloc.tcache_count=1024"


def in_kernel(fabric: Fabric) -> bool:
    """Whether the kernel's own datapath forwards, and not the userspace one."""
    return fabric.spec.datapath == IN_KERNEL


def make_template(path: Path) -> None:
    """An empty switch database; made once and copied, because making them side by side races."""
    if not Path(SCHEMA).exists():
        raise HostError(SCHEMA, "Open vSwitch's database schema", "no such file",
                        "apt-get install openvswitch-switch")
    run("ovsdb-tool", "create", str(path), SCHEMA)


def _settings(fabric: Fabric, switch: Node) -> list[str]:
    """The whole database content as one ovs-vsctl transaction."""
    name, kind = switch.name, "system" if in_kernel(fabric) else "netdev"
    words = ["init", "--", "set", "Open_vSwitch", ".", "other_config:n-handler-threads=1",
             "other_config:n-revalidator-threads=1",
             "--", "add-br", name, "--", "set", "bridge", name, f"datapath_type={kind}",
             # Without a controller a switch of ours forwards by the rules it has, and by no others.
             "fail_mode=secure", "protocols=OpenFlow13,OpenFlow15", "other_config:disable-in-band=true",
             f"other_config:datapath-id={switch.dpid:016x}"]
    if switch.is_leaf:      # the VTEP's MAC has to be set here, not on the interface; no quoting
        words.append(f"other_config:hwaddr={switch.mac}")
        if in_kernel(fabric):       # its IP stack sends the outer packets, which are longer than a host's
            words += ["--", "set", "interface", name, f"mtu_request={max(k.mtu for k in fabric.links_of(name))}"]
    for link in fabric.links_of(name):
        end = link.end(name)
        words += ["--", "add-port", name, end.interface,
                  "--", "set", "interface", end.interface, f"ofport_request={end.ofport}"]
    if switch.is_leaf:
        words += ["--", "add-port", name, "vx0", "--", "set", "interface", "vx0", "type=vxlan",
                  f"ofport_request={VXLAN_PORT}", "options:key=flow", "options:remote_ip=flow", "options:tos=inherit"]
    return words


def start(fabric: Fabric, switch: Node, netns: str, template: Path, journal: Journal,
          controller_socket: str) -> SwitchProcess:
    """Start one switch. Its bridge has the switch's name; rules are the controller's business."""
    directory = journal.directory / switch.name
    directory.mkdir()
    (directory / "conf.db").write_bytes(template.read_bytes())
    # OVS opens a controller socket in its own directory only.
    (directory / "of.sock").symlink_to(controller_socket)
    env = _environment(directory)
    run("nsenter", f"--net=/run/netns/{netns}", "ovsdb-server", f"{directory}/conf.db",
        f"--remote=punix:{directory}/db.sock", f"--unixctl={directory}/db.ctl", *QUIET, env=env)
    run("ovs-vsctl", f"--db=unix:{directory}/db.sock", "--no-wait", *_settings(fabric, switch),
        "--", "set-controller", switch.name, f"unix:{directory}/of.sock",
        "--", "set", "controller", switch.name, "max_backoff=1000", "inactivity_probe=0", env=env)
    pid = start_daemon(directory, netns)
    journal.note_process(pid, f"{DAEMON} of {switch.name}")
    journal.note_process(_pid(directory / "ovsdb-server.pid"), f"ovsdb-server of {switch.name}")
    return SwitchProcess(name=switch.name, directory=str(directory), pid=pid, policy=run_first(pid))


def start_daemon(directory: Path, netns: str) -> int:
    """Start the ovs-vswitchd of a switch whose database runs; its pid. Nothing of it has run in real time yet."""
    run("nsenter", f"--net=/run/netns/{netns}", "ovs-vswitchd", f"unix:{directory}/db.sock",
        f"--unixctl={directory}/vs.ctl", *QUIET, env=_environment(directory) | {"GLIBC_TUNABLES": ALLOCATOR})
    return _pid(pid_file(str(directory)))


def _environment(directory: Path) -> dict[str, str]:
    """Open vSwitch's programs keep to the switch's own directory."""
    names = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
    return {**os.environ, **dict.fromkeys(names, str(directory))}


def run_first(pid: int) -> int:
    """Let a switch go before ordinary programs, as hardware does (docs/decisions/015-switches-run-first.md).

    Returns the scheduling policy that it has now: SCHED_RR, or what it was where that is not allowed.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(REAL_TIME_PRIORITY))
        except ProcessLookupError:      # a thread that has just ended
            continue
        except PermissionError:
            break
    return os.sched_getscheduler(pid)


def _pid(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        raise HostError(str(path), "the pid of a started switch", "none",
                        f"see the log files in {path.parent}") from None


def wait_for_device(netns_path: str, device: str) -> None:
    """Until the bridge's own interface exists: vswitchd makes it after it has detached."""
    deadline = time.monotonic() + START_TIMEOUT
    with inside(netns_path):
        while device not in {name for _, name in socket.if_nameindex()}:
            if time.monotonic() > deadline:
                raise HostError(f"switch {device}", f"its interface within {START_TIMEOUT:g} s", "none")
            time.sleep(0.002)
