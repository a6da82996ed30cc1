"""Real BGP routers beside the fabric: FRR or GoBGP in namespaces of their own, linked with the controller's speaker.

    namespace of the speaker   bgp1 10.254.1.1/30 ──── eth0 10.254.1.2/30   namespace of router 1
                               bgp2 10.254.2.1/30 ──── eth0 10.254.2.2/30   namespace of router 2

No host, leaf or spine has a way into these namespaces. All that a router writes is in a directory of its own
below the lab's; its namespace and its processes are in the lab's journal.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from topologies.access.netns import inside
from topologies.lab import remote_vtep
from topologies.lab.interfaces import bring_up
from topologies.lab.journal import Journal
from topologies.lab.namespaces import make_namespaces
from topologies.lab.programs import find_program
from topologies.lab.shell import ip_batch
from topologies.model import addressing as addr
from topologies.model.bgp_spec import BgpSpec, RemoteVtepSpec
from topologies.model.errors import HostError
from topologies.model.fabric import Fabric

FRR = Path("/usr/lib/frr")      # where Debian and Ubuntu have its daemons
FABRIC_ASN = 65000              # of the speaker, for all leaves
PACKAGES = {"frr": "frr", "gobgp": "gobgpd"}


@dataclass(frozen=True)
class Router:
    """One peer of the speaker."""

    name: str
    kind: str
    asn: int
    number: int
    netns: str
    directory: Path
    vtep: RemoteVtepSpec | None = None

    @property
    def addresses(self) -> tuple[str, str]:
        """The speaker's address and the router's."""
        return addr.bgp_link(self.number)


def router_program(kind: str) -> str | None:
    """Path of what a router of this kind runs, if it is installed."""
    if kind == "gobgp":
        return find_program("gobgpd")
    return str(FRR / "bgpd") if (FRR / "bgpd").exists() else None


def require_routers(spec: BgpSpec | None) -> None:
    """Raises HostError for a router whose program is not installed."""
    for name, peer in spec.peers.items() if spec else ():
        if router_program(peer.router) is None:
            raise HostError(f"bgp.peers.{name}", f"the program of router: {peer.router}", "not installed",
                            f"apt-get install {PACKAGES[peer.router]}, or run ./provision.sh")


def speaker_netns(lab: str) -> str:
    return f"af{lab}.bgp"


def start_routers(fabric: Fabric, spec: BgpSpec, journal: Journal) -> dict[str, str]:
    """Namespaces, links and processes; router, or a host behind it -> its namespace. The speaker's is speaker_netns().

    A router with a VTEP has its namespace and its links with the spines already: it is a node of the fabric.
    """
    speaker = speaker_netns(journal.lab)
    routers = [Router(name, peer.router, peer.asn, n, f"af{journal.lab}-{name}", journal.directory / name, peer.vtep)
               for n, (name, peer) in enumerate(spec.peers.items(), start=1)]
    hosts = {name: f"af{journal.lab}-{name}" for vtep in spec.vteps.values() for name in vtep.hosts}
    made = [speaker, *(r.netns for r in routers if r.vtep is None), *hosts.values()]
    journal.note_all([{"netns": name} for name in made])
    make_namespaces(made)
    with inside(f"/run/netns/{speaker}"):
        bring_up("lo")
    for router in routers:
        _link(router, speaker)
        if router.vtep is not None:
            remote_vtep.prepare(fabric, fabric.node(router.name), router.vtep, router.netns, hosts)
        _start(router, journal)
    return {r.name: r.netns for r in routers} | hosts


def _link(router: Router, speaker: str) -> None:
    here, there = router.addresses
    device = f"bgp{router.number}"
    ip_batch([f"link add {device} type veth peer name eth0 netns {router.netns}"], speaker)
    with inside(f"/run/netns/{speaker}"):
        bring_up(device, here, 30)
    with inside(f"/run/netns/{router.netns}"):
        bring_up("lo")
        bring_up("eth0", there, 30)
    # A route whose next hop cannot be reached is no best path: the VTEPs are behind the speaker.
    ip_batch([f"route add default via {here}"], router.netns)


def _start(router: Router, journal: Journal) -> None:
    router.directory.mkdir()
    commands = _frr(router) if router.kind == "frr" else _gobgp(router)
    with (router.directory / "log").open("ab") as log:
        for command in commands:
            process = subprocess.Popen(["nsenter", f"--net=/run/netns/{router.netns}", *command],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            journal.note_process(process.pid, f"{command[0].rsplit('/', 1)[-1]} of {router.name}")


def _frr(router: Router) -> list[list[str]]:
    """zebra, which knows the kernel's routes, and bgpd; vtysh finds them with --vty_socket DIRECTORY."""
    directory = router.directory
    (directory / "bgpd.conf").write_text(frr_configuration(router))
    vrfs = remote_vtep.zebra_configuration(router.vtep) if router.vtep else ""
    (directory / "zebra.conf").write_text(f"hostname {router.name}\n{vrfs}")
    shutil.chown(directory, "frr", "frr")       # the user that its daemons change to
    common = ["--vty_socket", str(directory), "-z", str(directory / "zserv.api")]
    return [[str(FRR / daemon), *common, "-f", f"{directory}/{daemon}.conf", "-i", f"{directory}/{daemon}.pid"]
            for daemon in ("zebra", "bgpd")]


def frr_configuration(router: Router) -> str:
    """What bgpd reads. Without a policy of its own FRR would neither take nor give a route over eBGP."""
    here, there = router.addresses
    vnis = remote_vtep.evpn_configuration(router.vtep, FABRIC_ASN) if router.vtep else ""
    vrf = remote_vtep.vrf_configuration(router.vtep, router.asn, there, FABRIC_ASN) if router.vtep else ""
    return f"""hostname {router.name}
router bgp {router.asn}
 bgp router-id {there}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor {here} remote-as {FABRIC_ASN}
 neighbor {here} timers connect 1
 address-family l2vpn evpn
  neighbor {here} activate
{vnis} exit-address-family
{vrf}"""


def _gobgp(router: Router) -> list[list[str]]:
    """gobgpd; the gobgp command of its namespace finds it on its usual port."""
    (router.directory / "gobgpd.json").write_text(json.dumps(gobgp_configuration(router)))
    return [[router_program("gobgp") or "gobgpd", "-f", str(router.directory / "gobgpd.json"), "-t", "json",
             "--api-hosts", "127.0.0.1:50051", "--pprof-disable"]]


def gobgp_configuration(router: Router) -> dict[str, object]:
    """What gobgpd reads."""
    here, there = router.addresses
    return {"global": {"config": {"as": router.asn, "router-id": there}},
            "neighbors": [{"config": {"neighbor-address": here, "peer-as": FABRIC_ASN},
                           "timers": {"config": {"connect-retry": 5}},
                           "afi-safis": [{"config": {"afi-safi-name": "l2vpn-evpn"}}]}]}
