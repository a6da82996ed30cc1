"""Serving on the engine's small network: hosts on a Linux bridge, each shaped where it sends; h1 is the gateway."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.engine_lab import EngineLab
from traffic.inference.plan import Serving, ServingJob, serving_of
from traffic.runtime.reading import lines
from traffic.workloads.specs import ServingSpec

Json = dict[str, Any]
LONGEST = 120.0     # seconds


@dataclass(frozen=True)
class ServingRun:
    """What a run of the serving process left."""

    serving: Serving
    code: int
    events: list[Json]
    records: list[Json]
    path: Path          # where they are

    def of(self, kind: str) -> list[Json]:
        return [r for r in self.records if r["kind"] == kind]

    @property
    def requests(self) -> list[Json]:
        return sorted(self.of("serving"), key=lambda r: int(r["id"]))


def serve(lab: EngineLab, seed: int = 1, meanwhile: Callable[[], None] | None = None, **keys: Any) -> ServingRun:
    """Run one workload to its end; clients are h1's neighbours unless named. Seconds are real ones.

    meanwhile: called once, when the first bytes have moved.
    """
    spec = ServingSpec.model_validate({"kind": "serving", "gateway": "h1", "clients": ["h2"], **keys})
    serving = serving_of(spec, lab.fabric, "chat", seed)
    records = lab.directory / f"serving-{time.monotonic_ns()}.jsonl"
    job = ServingJob(inventory=lab.inventory, t0=time.monotonic(), records=records, phase="main", seed=seed,
                     workloads=(serving,))
    path = Path(f"{records}.job")
    path.write_text(json.dumps(job.model_dump(mode="json")))
    command = [sys.executable, "-m", "traffic.inference", str(path)]
    if meanwhile is None:
        done = subprocess.run(command, input="go\n", text=True, check=False, capture_output=True, timeout=LONGEST)
        assert not done.stderr, done.stderr
        return ServingRun(serving, done.returncode, [json.loads(line) for line in done.stdout.splitlines()],
                          list(lines(records)), records)
    code, events = _disturbed(command, meanwhile)
    return ServingRun(serving, code, events, list(lines(records)), records)


def _disturbed(command: list[str], meanwhile: Callable[[], None]) -> tuple[int, list[Json]]:
    """(exit code, events) of a run in which something happens as soon as bytes have moved."""
    events: list[Json] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        guard = threading.Timer(LONGEST, process.kill)
        guard.start()
        print("go", file=process.stdin, flush=True)
        happened = False
        for line in process.stdout:
            events.append(json.loads(line))
            if not happened and events[-1].get("done"):
                happened = True
                meanwhile()
        guard.cancel()
    return process.returncode, events
