"""What a machine needs to build and boot the lab VM, and where its image is kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from topologies.model.errors import HostError

ROOT = Path(__file__).parents[1]
BUILDER = ROOT / "vm" / "build_image.sh"
BOOT_PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86"}
BUILD_PROGRAMS = {"debootstrap": "debootstrap", "mkfs.ext4": "e2fsprogs", "unshare": "util-linux"}
BUILD_SPACE = 8e9       # bytes: the tree, the disk made of it, packages
BOOT_SPACE = 3e9        # bytes: the overlay, job and results
SPARE_MEMORY = 500      # MB beside the guest's own, for QEMU's translated code
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Settings:
    """How the VM is made. memory MB; accel: tcg emulates the processor and works everywhere."""

    cache: Path
    cpus: int
    memory: int
    accel: str
    suite: str
    mirror: str


def settings(environment: Mapping[str, str]) -> Settings:
    """From AIFAB_CACHE, AIFAB_CPUS, AIFAB_MEMORY, AIFAB_ACCEL, AIFAB_SUITE, AIFAB_MIRROR. Raises HostError."""
    accel = environment.get("AIFAB_ACCEL", "tcg")
    if accel not in ("tcg", "kvm"):
        raise HostError("AIFAB_ACCEL", "tcg or kvm", accel)
    return Settings(
        cache=Path(environment.get("AIFAB_CACHE") or Path.home() / ".cache" / "aifab"),
        cpus=_number(environment, "AIFAB_CPUS", 2, least=1),
        memory=_number(environment, "AIFAB_MEMORY", 4096, least=2048), accel=accel,
        suite=environment.get("AIFAB_SUITE", "bookworm"), mirror=environment.get("AIFAB_MIRROR", ""))


def _number(environment: Mapping[str, str], key: str, default: int, least: int) -> int:
    text = environment.get(key, str(default))
    if not text.isdigit() or int(text) < least:
        raise HostError(key, f"a whole number of at least {least}", text or "nothing")
    return int(text)


def require_root(what: str, why: str) -> None:
    """Raises HostError if this user is not root."""
    if os.geteuid() != 0:
        raise HostError(what, f"root, for {why}", f"user id {os.geteuid()}", "run it with sudo")


def require_virtualization(how: Settings, device: Path = Path("/dev/kvm")) -> None:
    """Raises HostError if the processor's own virtualization is asked for and this machine does not offer it."""
    if how.accel == "kvm" and not os.access(device, os.R_OK | os.W_OK):
        raise HostError("AIFAB_ACCEL=kvm", f"{device}, which this user may open",
                        "none" if not device.exists() else "one that this user may not open",
                        "switch virtualization on in the firmware, or leave AIFAB_ACCEL out: slow, but it works")


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """The only test of the lab VM that uses this cache. Raises HostError if another one does."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "running").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError("this machine", "no other test of the lab VM", f"one that uses {directory}",
                            "wait for it, or name another place by AIFAB_CACHE") from None
        yield


def require_programs(programs: Mapping[str, str]) -> None:
    missing = {p: package for p, package in programs.items()
               if shutil.which(p) is None and shutil.which(p, path=_SBIN) is None}
    if missing:
        raise HostError("this machine", f"the programs {', '.join(missing)}", "not installed",
                        f"apt-get install {' '.join(sorted(set(missing.values())))}")


def require_space(directory: Path, needed: float) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise HostError(str(directory), f"{needed / 1e9:.0f} GB of free disk", f"{free / 1e9:.1f} GB",
                        "make room, or name another place by AIFAB_CACHE")


def require_memory(wanted: int, meminfo: str) -> None:
    """wanted MB beside QEMU's own need; meminfo: text of /proc/meminfo."""
    fields = dict(line.split(":", 1) for line in meminfo.splitlines() if ":" in line)
    available = int(fields["MemAvailable"].split()[0]) // 1024
    if available < wanted + SPARE_MEMORY:
        raise HostError("this machine", f"{wanted + SPARE_MEMORY} MB of memory to spare", f"{available} MB",
                        "end other programs, or give the VM less by AIFAB_MEMORY (2048 or more)")


def image_key(how: Settings, root: Path = ROOT) -> str:
    """Names all that an image is made of: what changes it makes another image."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    parts = [how.suite, how.mirror, repr(project["dependencies"]), repr(project["optional-dependencies"]),
             (root / "provision.sh").read_text(),
             *((root / "vm" / name).read_text() for name in (
                 "build_image.sh", "guest/aifab-job", "guest/aifab-job.service", "guest/vagrant.pub"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def image(how: Settings) -> Path:
    """The directory with disk.ext4, vmlinuz and initrd.img, built first if there is none. Raises HostError."""
    wanted = how.cache / f"image-{image_key(how)}"
    how.cache.mkdir(parents=True, exist_ok=True)
    with (how.cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (wanted / "disk.ext4").exists():
            build(how, wanted)
            for other in set(how.cache.glob("image-*")) - {wanted}:
                shutil.rmtree(other)
    return wanted


def build(how: Settings, directory: Path) -> None:
    require_root("building the VM's image", "a tree with the owners of a system")
    require_programs(BUILD_PROGRAMS)
    require_space(how.cache, BUILD_SPACE)
    environment = os.environ | {"AIFAB_CACHE": str(how.cache), "AIFAB_SUITE": how.suite, "AIFAB_MIRROR": how.mirror}
    done = subprocess.run(["bash", str(BUILDER), str(directory)], env=environment, check=False)
    if done.returncode != 0:
        raise HostError(str(BUILDER.relative_to(ROOT)), "an image", f"exit code {done.returncode}",
                        f"the logs are in {directory}; without a network take an image along (AIFAB_CACHE), "
                        "with a mirror of your own name it by AIFAB_MIRROR")
