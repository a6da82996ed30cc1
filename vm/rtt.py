"""Inside the VM: a round trip over links of 1 ms, in parts, so that it can be held against the spec.

    python -m vm.rtt FILE       writes {src, dst, measured, floor, delays, serialisation}, seconds

floor is the same trip in the class that neither delays nor rates hold up, delays the sum over all hops,
serialisation what a lone frame would pay on real links (docs/decisions/003-isolated-frames.md).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from scenarios.run.lab import lab
from scenarios.spec.load_scenario import load_scenario
from topologies.model.expansion import expand
from topologies.proof.calibrate import serialisation, settled_rtts

SCENARIO = Path(__file__).parent / "scenarios" / "delay.yml"
ECHO_FRAME = 98     # bytes of ping's echo request with its headers: 14 + 20 + 8 + 56


def main(path: Path) -> None:
    with lab(expand(load_scenario(str(SCENARIO), ["fabric.probes=true"]).fabric)) as it:
        trip = settled_rtts(it.inventory)[0]
        wire = 2 * serialisation(it.fabric, trip.src, trip.dst, ECHO_FRAME)
    path.write_text(json.dumps({
        "src": trip.src, "dst": trip.dst, "measured": trip.measured, "floor": trip.floor,
        "delays": trip.expected - trip.floor, "serialisation": wire}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
