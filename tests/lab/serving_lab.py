"""Serving on the engine's small network: hosts on a Linux bridge, each shaped where it sends; h1 is the gateway."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.engine_lab import EngineLab
from traffic.inference.plan import Serving, ServingJob, serving_of
from traffic.records import lines
from traffic.specs import ServingSpec

Json = dict[str, Any]
LONGEST = 120.0     # seconds


@dataclass(frozen=True)
class ServingRun:
    """What a run of the serving process left."""

    serving: Serving
    code: int
    events: list[Json]
    records: list[Json]

    def of(self, kind: str) -> list[Json]:
        return [r for r in self.records if r["kind"] == kind]

    @property
    def requests(self) -> list[Json]:
        return sorted(self.of("serving"), key=lambda r: int(r["id"]))


def serve(lab: EngineLab, seed: int = 1, **keys: Any) -> ServingRun:
    """Run one workload to its end; clients are h1's neighbours unless named. Seconds are real ones."""
    spec = ServingSpec.model_validate({"kind": "serving", "gateway": "h1", "clients": ["h2"], **keys})
    serving = serving_of(spec, lab.fabric, "chat", seed)
    records = lab.directory / f"serving-{time.monotonic_ns()}.jsonl"
    job = ServingJob(inventory=lab.inventory, t0=time.monotonic(), records=records, phase="main", seed=seed,
                     workloads=(serving,))
    path = Path(f"{records}.job")
    path.write_text(json.dumps(job.model_dump(mode="json")))
    done = subprocess.run([sys.executable, "-m", "traffic.inference", str(path)], input="go\n", text=True, check=False,
                          capture_output=True, timeout=LONGEST)
    assert not done.stderr, done.stderr
    return ServingRun(serving, done.returncode, [json.loads(line) for line in done.stdout.splitlines()],
                      list(lines(records)))
