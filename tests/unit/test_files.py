"""What is written into a directory that came from elsewhere changes no file outside of it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios.commands.schema import Kind, schema
from scenarios.evidence.results import RunDirectory, write_whole
from scenarios.study.store import Store
from scenarios.validation.junit import check_writable, write
from tests.unit import run_factory
from topologies.access import files
from topologies.model.errors import LabError, RunError
from topologies.proof.sampler import Output
from traffic.runtime.records import RecordWriter

PRECIOUS = "precious"
WRITERS: dict[str, Callable[[Path], object]] = {
    "write_whole": lambda path: write_whole(path, b"new"),
    "state of a lab": lambda path: files.write_whole(path, b"new", ours=True),
    "new_file": lambda path: os.close(files.new_file(path)),
    "append": lambda path: os.close(files.append(path)), "check_writable": files.check_writable,
    "junit": lambda path: write(path, []), "junit before the run": check_writable,
    "schema": lambda path: schema(Kind.fabric, path), "records": lambda path: RecordWriter(path).close(),
    "counters": Output}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text(PRECIOUS)
    return path


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_writes_through_a_link(tmp_path: Path, victim: Path, name: str) -> None:
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(victim)
    dangling.symlink_to(tmp_path / "elsewhere")
    for path in (link, dangling):
        with pytest.raises((LabError, OSError), match="symbolic link"):
            WRITERS[name](path)
        assert path.is_symlink()
    assert victim.read_text() == PRECIOUS
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_writes_into_a_file_that_has_another_name(tmp_path: Path, victim: Path, name: str) -> None:
    other = tmp_path / "other"
    other.hardlink_to(victim)
    with contextlib.suppress(LabError, OSError):    # those that add to a file refuse, those that replace one do
        WRITERS[name](other)
    assert victim.read_text() == PRECIOUS


@pytest.mark.parametrize("name", WRITERS)
def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path, name: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises((LabError, OSError), match="a device or a pipe"):
        WRITERS[name](pipe)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_names_that_could_be_guessed_are_not_used_on_the_way(tmp_path: Path, victim: Path) -> None:
    for name in ("report.html.part", "report.part", ".report.html.part"):
        (tmp_path / name).symlink_to(victim)
    write_whole(tmp_path / "report.html", b"new")
    assert (tmp_path / "report.html").read_bytes() == b"new"
    assert victim.read_text() == PRECIOUS


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="room on the disk"):
        write_whole(tmp_path / "a", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("where", ["report.html", "logs/engine.log", "metrics.json", "records.jsonl", "logs/deep/dir"])
def test_a_run_with_a_link_in_it_is_refused(tmp_path: Path, victim: Path, where: str) -> None:
    run = run_factory.make(tmp_path, metrics=run_factory.metrics())
    link = run.path / where
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    with pytest.raises(LabError, match=r"expected a file of the run; found a symbolic link") as caught:
        RunDirectory.open(run.path)
    assert caught.value.where == str(link)


@pytest.mark.parametrize("where", ["study.json", ".lock", "report.html", "runs"])
def test_a_study_with_a_link_in_it_is_refused(tmp_path: Path, victim: Path, where: str) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / where).symlink_to(tmp_path if where == "runs" else victim)
    with pytest.raises(LabError, match="a symbolic link"), Store(study).locked():
        pass
    assert victim.read_text() == PRECIOUS


def test_a_directory_on_the_way_may_be_a_link_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    run = run_factory.make(tmp_path / "runs")
    assert (tmp_path / "disk" / run.id / "meta.json").exists()


def test_directories_are_made_with_all_above_them(tmp_path: Path) -> None:
    assert files.make_directory(tmp_path / "a/b/c") == tmp_path / "a/b/c"
    assert files.make_directory(tmp_path / "a/b/c").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.make_directory(tmp_path / "file" / "x")
    with pytest.raises(NotADirectoryError):
        files.make_directory(tmp_path / "file")


def test_only_root_has_a_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1000")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert files.caller() is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert files.caller() == (1000, 1000)
    for wrong in ("0", "-1", "root", ""):
        monkeypatch.setenv("SUDO_UID", wrong)
        assert files.caller() is None


def test_a_labs_state_stays_roots_and_what_a_user_asked_for_is_theirs(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(files, "caller", lambda: (1234, 1234))
    monkeypatch.setattr(os, "fchown", lambda _file, *who: owners.append(who))
    files.write_whole(tmp_path / "inventory.json", b"{}", ours=True)
    assert owners == []
    files.write_whole(tmp_path / "report.html", b"")
    assert owners == [(1234, 1234)]
