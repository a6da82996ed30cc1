"""What a lab can use of this machine: `aifab doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from topologies.lab.bgp_routers import PACKAGES, router_program
from topologies.lab.host_limits import can_open, congestion_controls, has_module, programs
from topologies.lab.programs import find_program
from topologies.switches.datapaths import AUTO, DATAPATHS

LAB_VM = "run in the lab VM (vagrant up), whose kernel has it"
MIN_CORES = 2
MIN_MEMORY = 2e9    # bytes


@dataclass(frozen=True)
class Feature:
    """needed: no lab runs without it."""

    name: str
    present: bool
    needed: bool
    found: str
    remedy: str


_MODULES = {
    **{module: what for d in DATAPATHS.values() for module, what in d.requirements.optional.items()},
    "tcp_dctcp": "DCTCP",
    "vrf": "routing behind a router's own VTEP (bgp: vtep: l3vni)",
}


def features() -> list[Feature]:
    """All of them, needed ones first."""
    return [*_basics(), *_programs(), *_devices(), *_optional()]


def _basics() -> Iterator[Feature]:
    root = os.geteuid() == 0
    yield Feature("root", root, True, f"user id {os.geteuid()}", "use sudo")
    cores = os.cpu_count() or 1
    yield Feature("two processors", cores >= MIN_CORES, False, str(cores),
                  "lower rates: the verdict says when the machine does not keep up")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Feature("2 GB of memory", memory >= MIN_MEMORY, True, f"{memory / 1e9:.1f} GB", "a larger machine")
    yield Feature("network namespaces", Path("/proc/self/ns/net").exists(), True,
                  f"kernel {os.uname().release}", "a kernel with CONFIG_NET_NS")
    for module, what in DATAPATHS[AUTO].requirements.modules.items():
        # Built-in parts need no entry below /sys/module: only a modular kernel can be asked.
        present = has_module(module) or not Path(f"/lib/modules/{os.uname().release}").exists()
        yield Feature(module, present, True, what, "a stock kernel of the distribution")


def _devices() -> Iterator[Feature]:
    for d in DATAPATHS.values():
        for device, remedy in d.requirements.devices.items():
            present = can_open(device)
            yield Feature(device, present, d.name == AUTO, f"datapath: {d.name}" if present else "missing", remedy)


def _programs() -> Iterator[Feature]:
    needed = programs(DATAPATHS[AUTO])
    every = needed | {name: package for d in DATAPATHS.values() for name, package in programs(d).items()}
    for program, package in every.items():
        path = find_program(program)
        yield Feature(program, path is not None, program in needed, path or "missing",
                      f"apt-get install {package}, or ./provision.sh")


def _optional() -> Iterator[Feature]:
    for module, what in _MODULES.items():
        yield Feature(module, has_module(module), False, what, LAB_VM)
    for kind, package in PACKAGES.items():
        yield Feature(package, router_program(kind) is not None, False, f"bgp: routers of kind {kind}",
                      f"apt-get install {package}, or ./provision.sh")
    controls = congestion_controls()
    yield Feature("cubic", "cubic" in controls, False, f"TCP has {', '.join(controls)}", "modprobe tcp_cubic")
