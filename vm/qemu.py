"""Boot the VM in QEMU and wait until it has powered itself off."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from topologies.model.errors import RunError
from vm.host import Settings

# What only costs time on an emulated processor is off, as programs at random addresses are: what was translated for one
# process does not serve the next. A host clock that TCG delivers can be trusted.
KERNEL_WORDS = ("root=LABEL=aifab rw console=ttyS0 quiet mitigations=off nokaslr norandmaps audit=0 apparmor=0 "
                "selinux=0 net.ifnames=0 tsc=reliable systemd.mask=serial-getty@ttyS0.service")
# Software emulation of AVX is young, and slower than what it replaces.
CPU = "max,-avx,-avx2,-fma,-f16c"
ECHOED = "== "      # lines of the console that are worth the terminal


def command(how: Settings, image: Path, job: Path, results: Path) -> list[str]:
    """QEMU's words: the image's disk with changes thrown away, the two tars, no network beyond the guest."""
    accel = "tcg,thread=multi,tb-size=512" if how.accel == "tcg" else "kvm"
    words = ["qemu-system-x86_64", "-machine", "q35", "-accel", accel, "-cpu", CPU if how.accel == "tcg" else "host",
             "-smp", str(how.cpus), "-m", str(how.memory), "-display", "none", "-no-reboot", "-serial", "stdio",
             "-monitor", "none", "-nic", "user,restrict=on,model=virtio-net-pci",
             "-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img"), "-append", KERNEL_WORDS]
    for path, serial, extra in ((image / "disk.ext4", "system", ",snapshot=on"),
                                (job, "job", ",readonly=on"), (results, "results", "")):
        words += ["-drive", f"file={path},format=raw,if=none,id={serial},cache=unsafe{extra}",
                  "-device", f"virtio-blk-pci,drive={serial},serial={serial}"]
    return words


def boot(words: list[str], console: Path, timeout: float) -> None:
    """Until the guest powers off; its console goes to a file, progress to the terminal. Raises RunError.

    timeout in seconds. The VM never outlives the call.
    """
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as machine, console.open("w") as log:
        reader = threading.Thread(target=follow, args=(machine.stdout, log))
        reader.start()
        try:
            code = machine.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RunError("the VM", f"to power off within {timeout / 60:.0f} minutes", "still running",
                           f"what it said last is in {console}") from None
        finally:
            machine.kill()
            machine.wait()
            reader.join()
    if code != 0:
        raise RunError("QEMU", "exit code 0", str(code), f"what it said is in {console}")


def follow(stream: IO[str] | None, log: IO[str]) -> None:
    """Keep every line in the log; show those that begin with ==."""
    for line in stream or ():
        log.write(line)
        log.flush()
        if line.startswith(ECHOED):
            sys.stdout.write(line.rstrip() + "\n")
            sys.stdout.flush()
