"""python3 -m vm test: boot the lab VM, run its steps, show what came of them. python3 -m vm vagrant: by Vagrant."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from topologies.access import files
from topologies.model.errors import LabError, RunError
from topologies.proof.cpu import Machine
from vm import disks, host, qemu, vagrant
from vm.figures import broken, figures, reasons, times
from vm.steps import STEPS, Step, outcomes

RESULTS = host.ROOT / "vm-results"
BOOT_TIMEOUT = 300      # seconds, beside the steps' own


def test(how: host.Settings, only: str) -> bool:
    """Boot the VM and run the steps; true if each of them went as it should. Raises LabError."""
    steps = [s for s in STEPS if any(word in s.name for word in only.split(",")) or s.name == "provision"]
    host.require_programs(host.BOOT_PROGRAMS)
    host.require_virtualization(how)
    image = host.image(how)
    host.require_space(how.cache, host.BOOT_SPACE)
    host.require_memory(how.memory, Path("/proc/meminfo").read_text())
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir()
    started, machine = time.monotonic(), Machine()
    with tempfile.TemporaryDirectory(dir=how.cache) as scratch:
        _run(how, image, Path(scratch), steps)
    return show(steps, time.monotonic() - started, machine.step().steal)


def _run(how: host.Settings, image: Path, scratch: Path, steps: list[Step]) -> None:
    job, results = scratch / "job.tar", scratch / "results.tar"
    disks.pack(job, host.ROOT, steps)
    disks.empty(results)
    os.environ["TMPDIR"] = str(scratch)     # where QEMU keeps what the guest changes
    try:
        qemu.boot(qemu.command(how, image, job, results), RESULTS / "console.log",
                  BOOT_TIMEOUT + sum(s.timeout for s in steps))
    except RunError:
        with contextlib.suppress(RunError):     # what it brought back before
            disks.unpack(results, RESULTS)
        raise
    disks.unpack(results, RESULTS)


def show(steps: list[Step], seconds: float, steal: float) -> bool:
    """Print and keep what came of it; true if every step and every figure is good.

    steal: share of this machine's processor time that its hypervisor kept from it meanwhile.
    """
    found = json.loads((RESULTS / "steps.json").read_text())
    lines = list(outcomes(steps, found, partial(broken, RESULTS / "runs"), partial(times, RESULTS / "runs")))
    for line in lines:
        print(f"{'ok  ' if line.good else 'FAIL'}  {line.name:32} {line.seconds:6.0f} s  {line.found}")
        for reason in reasons(RESULTS / "runs", line.name):
            print(f"        {reason}")
    reached = figures(RESULTS)
    for figure in reached:
        print(f"{'ok  ' if figure.good else 'FAIL'}  {figure.text}")
    print(f"{seconds / 60:.1f} minutes, with {steal:.0%} of the processors taken by a hypervisor; "
          f"logs and runs are in {RESULTS}")
    reported = [asdict(x) | {"reasons": reasons(RESULTS / "runs", x.name)} for x in lines]
    (RESULTS / "summary.json").write_text(json.dumps(
        {"minutes": round(seconds / 60, 1), "steal": round(steal, 3), "steps": reported,
         "figures": [asdict(x) for x in reached]}, indent=1))
    return all(x.good for x in lines) and all(x.good for x in reached)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 -m vm", description="The lab VM in QEMU.")
    parser.add_argument("what", choices=["image", "test", "vagrant"])
    parser.add_argument("--only", default="", metavar="WORD,...", help="test: only steps with a word in their names")
    arguments = parser.parse_args()
    try:
        how = host.settings(os.environ)
        if arguments.what == "image":
            print(host.image(how))
            return
        with host.alone(how.cache):
            if not (vagrant.test(how, RESULTS) if arguments.what == "vagrant" else test(how, arguments.only)):
                sys.exit(1)
    except LabError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if arguments.what != "image" and RESULTS.is_dir():      # they are of who called sudo
            files.hand_over(RESULTS, files.identity(RESULTS))


if __name__ == "__main__":
    main()
