"""A run directory: everything that one run was and found, each part written whole or not at all.

    runs/20261123T001451Z-ring8-3fa9/
        scenario.json     the frozen spec                  records.jsonl   traffic, appended while it runs
        meta.json         versions, times, status          counters.jsonl  wires and CPU, appended too
        inventory.json    the lab as it was                ledger.json     where every packet went
        predictions.json  written before traffic starts    verdict.json    whether to believe it
        metrics.json      what was measured                report.html     the page; logs/ of the processes
        tenants.json      VPCs: changes and proofs, where there are any

JSON parts are written under another name and then renamed, so a part that exists is complete. What a broken
run left behind stays and is marked. The directory is root's alone while the run goes on, and then belongs to who
called sudo; one with links in it is none of ours, and is not opened.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import secrets
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from scenarios.evidence import old_names
from scenarios.spec.scenario import Scenario
from topologies.access import files
from topologies.model.errors import LabError, RunError
from topologies.model.expansion import expand
from topologies.model.fabric import Fabric
from topologies.switches.datapaths import DATAPATHS
from traffic.runtime.counters import Counters
from traffic.runtime.reading import Records, read_records
from traffic.workloads.kinds.registry import record_kinds

M = TypeVar("M", bound=BaseModel)
Status = Literal["running", "complete", "interrupted", "failed"]
Part = Literal["scenario", "meta", "inventory", "predictions", "ledger", "verdict", "metrics", "tenants", "serving",
               "tasks", "notes"]
_COPY = "a run holds plain files and directories only: copy them, without the links, into a new directory"
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[a-z0-9-]+-[0-9a-f]{4}")
_PROGRAMS = {
    **{name: command for d in DATAPATHS.values() for name, command in d.requirements.versions.items()},
    "iperf3": ("iperf3", "--version"),
}
_PACKAGES = ("mininet", "os-ken", "pyroute2", "numpy", "pydantic")


class _Built(BaseModel):
    """What is read of a run's inventory: the lab's processes and devices are gone."""

    fabric: Fabric


class Meta(BaseModel):
    """Where a run comes from and how it ended. Times are ISO 8601 in UTC; cores of this machine.

    `running` is also what a run says that was killed before it could say anything else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    scenario: str
    aifab: str
    versions: dict[str, str]
    seed: int
    cores: int
    started: str
    finished: str | None = None
    status: Status = "running"
    error: str | None = None
    argv: tuple[str, ...] = ()


class RunDirectory:
    """One run on disk. Make it with `create`, find it with `open` or `latest`."""

    def __init__(self, path: Path, made: files.Identity | None = None) -> None:
        self.path, self._made = path, made

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def records_path(self) -> Path:
        return self.path / "records.jsonl"

    @property
    def counters_path(self) -> Path:
        return self.path / "counters.jsonl"

    @property
    def inventory_path(self) -> Path:
        return self.path / "inventory.json"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @classmethod
    def create(cls, base: Path, scenario: Scenario, argv: Sequence[str] = ()) -> RunDirectory:
        """A new directory under `base` with the frozen scenario and a meta that says `running`."""
        started = datetime.now(UTC)
        name = f"{started:%Y%m%dT%H%M%SZ}-{scenario.name}-{secrets.token_hex(2)}"
        try:
            files.make_directory(base)
            path = base / name
            path.mkdir()
            run = cls(path, files.identity(path))
            run.logs.mkdir()
        except OSError as error:
            raise RunError(str(base / name), "a directory that can be made for the results",
                           error.strerror or str(error), "choose another place for the runs") from error
        run._write("scenario.json", scenario.model_dump_json(indent=1).encode())
        run._write_meta(Meta(
            id=run.id, scenario=scenario.name, aifab=metadata.version("aifab"), versions=versions(),
            seed=scenario.seed, cores=os.cpu_count() or 1, started=started.isoformat(timespec="milliseconds"),
            argv=tuple(argv)))
        return run

    @classmethod
    def open(cls, target: str | Path, base: Path = Path("runs")) -> RunDirectory:
        """The run at a path, or the one of that id under `base`. Raises LabError if it is none."""
        path = next((p for p in (Path(target), base / target) if p.is_dir()), None)
        if path is None:
            known = ", ".join(run.name for run in run_directories(base)[:5])
            raise LabError(str(target), f"a run directory, or the id of a run in {base}/", "no such directory",
                           f"the newest runs are {known}" if known else "start one with: aifab run SCENARIO")
        try:
            run = cls(files.followed(path))
        except OSError as error:
            raise LabError(str(target), "a run directory", error.strerror or str(error), _COPY) from None
        if run.part("meta").exists() and (link := files.link_in(run.path)):
            raise LabError(str(link), "a file of the run", files.LINK, _COPY)
        _ = run.meta, run.scenario      # says at once what is missing or damaged
        return run

    @classmethod
    def latest(cls, base: Path = Path("runs")) -> RunDirectory:
        """The run that started last."""
        runs = run_directories(base)
        if not runs:
            raise LabError(f"{base}/", "at least one run", "none", "start one with: aifab run SCENARIO")
        return cls.open(runs[0])

    @property
    def meta(self) -> Meta:
        return self._model("meta", Meta)

    @property
    def scenario(self) -> Scenario:
        return self._model("scenario", Scenario)

    @property
    def fabric(self) -> Fabric:
        """As it was built; as the scenario describes it if the run ended before that."""
        if self.inventory_path.exists():
            return self._model("inventory", _Built).fabric
        return expand(self.scenario.fabric)

    def part(self, part: Part) -> Path:
        """Where a JSON part is, or will be."""
        return self.path / f"{part}.json"

    def hand_over(self) -> None:
        """Give a run that we have made to who called sudo; from now on others may change what is in it."""
        if self._made is None:
            return
        try:
            files.hand_over(self.path, self._made)
        except OSError as error:
            raise RunError(str(self.path), "the directory that this run was made in", error.strerror or str(error),
                           "it is left as it is, with root as its owner") from error

    def mark(self, status: Status, error: str | None = None) -> None:
        """Says how the run ended, and why if it failed."""
        finished = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write_meta(self.meta.model_copy(update={"status": status, "error": error, "finished": finished}))

    def write(self, part: Part, value: object) -> None:
        """A JSON part: a dict, a dataclass or a pydantic model. A value that is no number becomes null."""
        text = to_json(value, indent=1, inf_nan_mode="null", fallback=_plain)
        self._write(f"{part}.json", text)

    def write_report(self, html: str) -> Path:
        self._write("report.html", html.encode())
        return self.report_path

    def read(self, part: Part) -> dict[str, Any] | None:
        """A JSON part, None if the run did not come to write it. Raises LabError if it is damaged."""
        path = self.part(part)
        try:
            value = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise LabError(str(path), "a part of a run, in JSON", str(error),
                           "it was changed after the run or the disk is damaged; run the scenario again") from None
        if not isinstance(value, dict):
            raise LabError(str(path), "a JSON object", f"a {type(value).__name__}")
        return old_names.part(part, value)

    def records(self) -> Records:
        """What the traffic did; none if there was no traffic yet. Raises LabError if the file is damaged."""
        if not self.records_path.exists():
            return Records()
        return read_records(self.records_path, record_kinds(), old_names.record)

    def counters(self) -> Counters | None:
        """What the sampler saw; None if it never started. Raises LabError if the file is damaged."""
        path = self.counters_path
        return Counters.read(path) if path.exists() and path.stat().st_size else None

    def _model(self, part: Part, model: type[M]) -> M:
        value, path = self.read(part), self.part(part)
        if value is None:
            raise LabError(str(path), "a run directory, which has this file", "no such file",
                           "give the directory that a run has printed, such as runs/20260101T120000Z-ring-1f2e")
        try:
            return model.model_validate_json(json.dumps(value))
        except ValidationError as error:
            first = error.errors()[0]
            raise LabError(f"{path}: {'.'.join(map(str, first['loc']))}", "what this version of aifab writes",
                           first["msg"], "it was changed after the run or comes from another version") from None

    def _write_meta(self, meta: Meta) -> None:
        self._write("meta.json", meta.model_dump_json(indent=1).encode())

    def _write(self, name: str, content: bytes) -> None:
        write_whole(self.path / name, content)


class Recorded:
    """What the processes of a finished run wrote, each file read once, when it is first asked for."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run

    @cached_property
    def records(self) -> Records:
        return self._run.records()

    @cached_property
    def counters(self) -> Counters | None:
        return self._run.counters()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name and rename it: one that exists is whole. Raises RunError."""
    try:
        files.write_whole(path, content)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> RunError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return RunError(
        str(path), "room on the disk" if full else "a file that can be written", error.strerror or str(error),
        f"{'free some space; ' if full else ''}what the run has recorded so far is kept in {path.parent}")


def _plain(value: object) -> object:
    """numpy's scalars and arrays as Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"no JSON for {type(value).__name__}")


def run_directories(base: Path) -> list[Path]:
    """Run directories below `base`, newest first; two of one second in the order of their making."""
    found = [p for p in base.glob("*") if RUN_ID.fullmatch(p.name) and p.is_dir()]
    return sorted(found, key=_started, reverse=True)


def _started(run: Path) -> tuple[str, int]:
    spec = run / "scenario.json"
    return run.name[:16], spec.stat().st_mtime_ns if spec.exists() else 0


@cache
def versions() -> dict[str, str]:
    """Versions of what shapes a result; 'absent' for a program that is not there. Asked once in a process."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    found |= {name: _program_version(command) for name, command in _PROGRAMS.items()}
    return found | {name: _package_version(name) for name in _PACKAGES}


def _package_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _program_version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "absent"
    match = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return match[0] if match else "unknown"
