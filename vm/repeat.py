"""Inside the VM: whether a scenario's last run has to be made once more.

    python -m vm.repeat RUNS STEP       ends with 0 if so

So it is where calibration found the network not to be the one of the spec: late timers held it up, and what was
measured on it says nothing about the spec's. The second run counts, whatever it says; a wrong wire is wrong in both.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vm.figures import broken

REPEATED = "calibration"


def main(runs: Path, step: str) -> int:
    return 0 if REPEATED in broken(runs, step) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
