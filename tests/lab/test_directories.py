"""Root in directories of other people: what lies there is not run, what is written there is theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.evidence.results import RunDirectory
from scenarios.study.store import Store
from scenarios.workshops import skeleton
from scenarios.workshops.learner import start as start_workshop
from tests.bench import book as books
from tests.hostile import SAYS, executed, plant
from tests.unit import run_factory
from topologies.access import files
from topologies.model.errors import LabError

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[2]
SOMEBODY = 61_234       # nobody has this number: what belongs to it was given to it
SCENARIO = """
name: theirs
question: Whose is what a run leaves?
fabric: {name: theirs, leaves: 2, spines: 1, hosts_per_leaf: 2, host_rate: 5mbit, queue: 20packets}
workloads:
  ring: {kind: collective, op: all-reduce, ranks: 4, size: 50kB, iterations: 1}
  flow: {kind: udp, pairs: [[h1, h3]], rate: 1mbit, duration: 1s}
  writes: {kind: rocev2, pairs: [[h2, h4]], rate: 1mbit, size: 50kB}
  bulk: {kind: bulk, pairs: [[h1, h4]], duration: 1s}
"""
# The command as sudo starts it: from another directory than the sources, with the installed entry point's own path.
COMMAND = (f"import sys; sys.path.insert(0, {str(ROOT)!r}); from scenarios.cli import main; "
           "sys.argv[0] = 'aifab'; main()")


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """As if SOMEBODY had called sudo."""
    monkeypatch.setenv("SUDO_UID", str(SOMEBODY))
    monkeypatch.setenv("SUDO_GID", str(SOMEBODY))
    return SOMEBODY


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory of SOMEBODY's, which they can reach."""
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    tmp_path.chmod(0o755)
    directory = tmp_path / "theirs"
    directory.mkdir()
    os.chown(directory, SOMEBODY, SOMEBODY)
    return directory


def owners(directory: Path) -> set[int]:
    return {p.lstat().st_uid for p in (directory, *directory.rglob("*"))}


def aifab(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-P", "-c", COMMAND, *words], cwd=cwd, capture_output=True, text=True,
                          timeout=180, check=False)


def test_a_run_executes_nothing_of_the_directory_and_leaves_everything_to_who_called_it(
        theirs: Path, caller: int) -> None:
    plant(theirs)
    (theirs / "here.yml").write_text(SCENARIO)
    done = aifab("run", "here.yml", "--no-lock", "--json", "--runs", "all/runs", "--junit", "checks.xml", cwd=theirs)
    assert executed(theirs) == []
    assert SAYS not in done.stdout + done.stderr
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    run = theirs / "all/runs" / found["run"]
    assert found["verdict"] in {"SUSPECT", "INVALID"}, "without the lock it is never VALID"
    assert {"report.html", "records.jsonl", "counters.jsonl", "logs"} <= {p.name for p in run.iterdir()}
    assert owners(theirs / "all") == {caller}
    assert (theirs / "checks.xml").stat().st_uid == caller
    with_rights = subprocess.run(["sh", "-c", f"rm {run}/report.html && : > {run}/report.html"], user=SOMEBODY,
                                 group=SOMEBODY, extra_groups=[], check=False)
    assert with_rights.returncode == 0, "so that `aifab report` can write its page anew without root"


def test_a_run_that_fails_belongs_to_its_caller_too(theirs: Path, caller: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from scenarios.run import runner  # noqa: PLC0415 - only here

    def broken(*_: object) -> None:
        raise LabError("the lab", "one that comes up", "none")

    monkeypatch.setattr(runner, "_measure", broken)
    with pytest.raises(LabError, match="one that comes up"):
        runner.run_scenario(run_factory.scenario(), theirs / "runs", lock=False)
    assert owners(theirs / "runs") == {caller}


def test_workshops_studies_and_benchmarks_belong_to_their_caller(
        theirs: Path, caller: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start_workshop("01-slowest-link", theirs / "lessons/mine")
    with Store(theirs / "studies/mine").locked():
        pass
    monkeypatch.setattr(books, "RESULTS", theirs / "bench-results")
    book = books.Book("quick", "nothing", quick=True)
    (book.work / "log").write_text("of root")
    book.save()
    assert owners(theirs) == {caller}


def test_what_is_not_ours_stays_whose_it_is(theirs: Path, caller: int) -> None:
    """Files that were there before, a file with another name elsewhere, what a link leads to."""
    precious = theirs.parent / "precious"
    precious.write_text("root's")
    made = theirs / "made"
    made.mkdir()
    (made / "link").symlink_to(precious)
    (made / "folder").symlink_to(theirs.parent)
    (made / "name").hardlink_to(precious)
    (made / "file").touch()
    files.hand_over(made, files.identity(made))
    assert (made / "file").stat().st_uid == (made.stat().st_uid) == caller
    assert (precious.stat().st_uid, theirs.parent.stat().st_uid) == (0, 0)
    old = theirs.parent / "old"
    old.mkdir()
    files.make_directory(old / "new")
    assert (old.stat().st_uid, (old / "new").stat().st_uid) == (0, caller)


def test_another_directory_in_the_place_of_a_run_is_not_given_away(theirs: Path, caller: int) -> None:
    run = RunDirectory.create(theirs / "runs", run_factory.scenario())
    run.path.rename(theirs / "away")
    run.path.mkdir()
    with pytest.raises(LabError, match="a directory other than the one that was made"):
        run.hand_over()
    assert run.path.stat().st_uid == 0 != caller


@pytest.mark.parametrize("to", ["there", "there/not/yet"])
def test_a_link_of_somebody_does_not_lead_root_to_what_is_not_theirs(theirs: Path, caller: int, to: str) -> None:
    there = theirs.parent / "there"
    there.mkdir()
    link = theirs / "runs"
    link.symlink_to(theirs.parent / to)
    os.chown(link, caller, caller, follow_symlinks=False)
    with pytest.raises(LabError, match="a symbolic link to a directory of another owner"):
        RunDirectory.create(link, run_factory.scenario())
    with pytest.raises(OSError, match="a symbolic link to a directory of another owner"):
        files.write_whole(link / "file", b"")
    assert list(there.iterdir()) == []
    os.chown(there, caller, caller)
    if to == "there":
        assert owners(RunDirectory.create(link, run_factory.scenario()).path) == {0, caller}, "its own it may use"


def test_a_report_of_a_run_from_elsewhere_overwrites_nothing(theirs: Path, caller: int) -> None:
    run = run_factory.make(theirs, metrics=run_factory.metrics(), verdict=run_factory.verdict("VALID", 0),
                           ledger=run_factory.ledger())
    victim = theirs.parent / "victim"
    victim.write_text("precious")
    (run.path / "report.html.part").symlink_to(victim)
    refused = aifab("report", str(run.path), cwd=theirs)
    assert refused.returncode == 1
    assert "report.html.part: expected a file of the run; found a symbolic link" in refused.stderr
    assert victim.read_text() == "precious"
    (run.path / "report.html.part").unlink()
    assert aifab("report", str(run.path), cwd=theirs).returncode == 0
    assert run.report_path.stat().st_uid == caller


def test_a_report_that_cannot_be_written_is_shown_all_the_same(theirs: Path) -> None:
    run = run_factory.make(theirs, metrics=run_factory.metrics(), verdict=run_factory.verdict("VALID", 0),
                           ledger=run_factory.ledger())
    run.report_path.mkdir()         # root can write anywhere but over a directory
    done = aifab("report", str(run.path), cwd=theirs)
    assert done.returncode == 0, done.stderr
    assert "VALID" in done.stdout
    assert f"not written: {run.report_path}: Is a directory" in " ".join(done.stdout.split())


def test_a_learners_file_runs_with_the_rights_of_who_called_sudo(theirs: Path, caller: int) -> None:
    file = theirs / "mine.py"
    file.write_text("import os\ndef who():\n    return [os.geteuid(), os.getegid(), os.getgroups()]\n")
    readable = ["test", "-x", sys.executable, "-a", "-r", str(ROOT / "topologies/access/start.py")]
    if subprocess.run(readable, user=caller, group=caller, extra_groups=[], check=False).returncode:
        pytest.skip("these sources and their Python can be read by root alone")
    assert [r.value for r in skeleton.call(file, [("who", [])])] == [[caller, caller, []]]
