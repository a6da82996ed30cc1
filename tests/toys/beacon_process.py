"""The process of the beacons: python -m tests.toys.beacon_process JOB.json."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.toys.beacon import BeaconRecord, Job
from topologies.access.events import Done, Ready, emit
from traffic.runtime.records import RecordWriter


def main(path: str) -> None:
    job = Job.read(Path(path))
    emit(Ready())
    sys.stdin.readline()
    with RecordWriter(job.records) as writer:
        for name, count in job.beacons.items():
            for n in range(count):
                writer.write(BeaconRecord(workload=name, phase=job.phase, number=n, seconds=0.01))
    emit(Done())


if __name__ == "__main__":
    main(sys.argv[1])
