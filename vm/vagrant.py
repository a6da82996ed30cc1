"""The lab VM by Vagrant itself: a box made of the image, a real `vagrant up` by libvirt, and away again.

    image ──> lab.box ──> vagrant_session.sh: box add, up, ssh, provision, halt, destroy
              (disk, kernel, initrd: libvirt boots the kernel directly, so the disk needs no boot loader)
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from topologies.model.errors import HostError, RunError
from vm import host, qemu

SESSION = host.ROOT / "vm" / "vagrant_session.sh"
PROGRAMS = {"vagrant": "vagrant", "libvirtd": "libvirt-daemon-system", "qemu-img": "qemu-utils",
            "dnsmasq": "dnsmasq-base", "dbus-daemon": "dbus", "rsync": "rsync", "ssh": "openssh-client",
            "unshare": "util-linux", **host.BOOT_PROGRAMS}
PLUGIN = "vagrant-libvirt"
SPACE = 15e9        # bytes: the box as a file, as Vagrant keeps it, as libvirt keeps it

# A processor of libvirt's without AVX (see vm/qemu.py): vagrant-libvirt takes no features off where it names no model.
WITHOUT_AVX = "Westmere"
# What a box tells Vagrant about itself; the project's Vagrantfile comes on top of it.
BOX = """\
Vagrant.configure("2") do |config|
  config.vm.provider "libvirt" do |machine|
    machine.driver = "{driver}"
    machine.cpu_mode = "{cpu}"
{model}    machine.kernel = File.join(__dir__, "vmlinuz")
    machine.initrd = File.join(__dir__, "initrd.img")
    machine.cmd_line = "{words}"
    machine.management_network_mode = "none"    # the host reaches the guest, the guest nobody else
  end
end
"""


def require(how: host.Settings) -> None:
    """Raises HostError naming what this machine lacks, with the packages that have it."""
    host.require_root("a private libvirtd", "namespaces and a network of its own")
    host.require_programs(PROGRAMS)
    host.require_virtualization(how)
    listed = subprocess.run(["vagrant", "plugin", "list"], capture_output=True, text=True, check=False,
                            stdin=subprocess.DEVNULL).stdout
    if PLUGIN not in listed:
        raise HostError("vagrant plugin list", PLUGIN, " ".join(listed.split()) or "nothing",
                        f"apt-get install {PLUGIN}")
    host.require_memory(how.memory, Path("/proc/meminfo").read_text())
    host.require_space(how.cache, SPACE)


def box_files(how: host.Settings) -> dict[str, str]:
    """Name -> text of what describes the box."""
    driver, cpu, model = (("kvm", "host-passthrough", "") if how.accel == "kvm" else
                          ("qemu", "custom", f'    machine.cpu_model = "{WITHOUT_AVX}"\n'))
    return {"metadata.json": json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": 8}),
            "Vagrantfile": BOX.format(driver=driver, cpu=cpu, model=model, words=qemu.KERNEL_WORDS)}


def make_box(how: host.Settings, image: Path, path: Path) -> None:
    """A box of the image. Raises RunError if the disk cannot be converted."""
    disk = path.with_name("box.img")
    done = subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(image / "disk.ext4"), str(disk)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError("qemu-img convert", "a disk for the box", done.stderr.strip() or f"exit code {done.returncode}")
    with tarfile.open(path, "w") as box:
        for name, text in box_files(how).items():
            path.with_name(name).write_text(text)
            box.add(path.with_name(name), name)
        box.add(disk, "box.img")
        for name in ("vmlinuz", "initrd.img"):
            box.add(image / name, name)
    disk.unlink()


def test(how: host.Settings, results: Path) -> bool:
    """All of it; true if every step went as it should. What was said is in results/. Raises LabError."""
    require(how)
    results.mkdir(exist_ok=True)
    log = results / "vagrant.log"
    image = host.image(how)
    started = time.monotonic()
    environment = os.environ | {"AIFAB_CPUS": str(how.cpus), "AIFAB_MEMORY": str(how.memory),
                                "VAGRANT_CWD": str(host.ROOT)}
    with tempfile.TemporaryDirectory(dir=how.cache) as scratch:
        print("== box", flush=True)
        make_box(how, image, Path(scratch) / "lab.box")
        # The processes of the session have a namespace of their own and end with it, whatever happens.
        words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                 "bash", str(SESSION), scratch]
        code = _session(words, environment, log)
    print(f"{(time.monotonic() - started) / 60:.1f} minutes; what was said is in {log}")
    return code == 0


def _session(words: list[str], environment: dict[str, str], log: Path) -> int:
    """Run it with its words in a log and its progress on the terminal; its exit code."""
    with log.open("w") as out, subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace") as session:
        try:
            qemu.follow(session.stdout, out)
            return session.wait()
        finally:
            session.kill()
