"""Run a collective and print its bus bandwidth, and whether to believe it.

    sudo .venv/bin/python scenarios/examples/allreduce.py
"""

from pathlib import Path

from scenarios.run.runner import Result, run_scenario
from scenarios.spec.scenario import Scenario

SCENARIO = {
    "name": "example-allreduce",
    "question": "What bus bandwidth does a ring all-reduce of four hosts reach on two leaves?",
    "fabric": {"leaves": 2, "spines": 2, "hosts_per_leaf": 2, "host_rate": "10mbit"},
    "workloads": {"ring": {"kind": "collective", "op": "all-reduce", "size": "1MB", "iterations": 2}},
}


def main(runs: Path = Path("runs")) -> Result:
    """The finished run; its report is in its directory."""
    return run_scenario(Scenario.model_validate(SCENARIO), runs)


if __name__ == "__main__":
    result = main()
    busbw = result.metrics["ring.busbw"]
    print(f"bus bandwidth {busbw.value / 1e6:.2f} Mbit/s, {result.metrics['ring.busbw_of_limit'].value:.3f} "
          f"of the ring limit")
    print(f"verdict {result.verdict.level.name}; report: {result.run.report_path}")
