"""What a switch's drop rules have counted, read from the switch itself."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable

from topologies.model.errors import LabError
from topologies.model.inventory import SwitchProcess
from topologies.switches.ovs.management.commands import settle_counters
from topologies.switches.ovs.management.process import openflow_socket

TIMEOUT = 20.0      # seconds for a switch to list its rules
_DROP = re.compile(r"cookie=(0x[0-9a-f]+),.*\bn_packets=(\d+),.*\bactions=drop\s*$")


def drop_counts(switch: SwitchProcess) -> Counter[int]:
    """Cookie of a drop rule -> packets. Raises LabError if the switch does not answer."""
    settle_counters(switch)
    command = ["ovs-ofctl", "-O", "OpenFlow15", "dump-flows", f"unix:{openflow_socket(switch)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"switch {switch.name}", "a list of its rules", f"none within {TIMEOUT:g} s") from None
    if done.returncode:
        raise LabError(f"switch {switch.name}", "a list of its rules", done.stderr.strip()[-500:])
    return parse(done.stdout.splitlines())


def parse(lines: Iterable[str]) -> Counter[int]:
    """Cookie -> packets, from what `ovs-ofctl dump-flows` prints."""
    found: Counter[int] = Counter()
    for line in lines:
        if rule := _DROP.search(line):
            found[int(rule[1], 16)] += int(rule[2])
    return found
