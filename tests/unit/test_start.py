"""Processes of ours import aifab and nothing of the directory or the environment that they are started in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scenarios import cli
from scenarios.run.child import Child
from scenarios.workshops import skeleton
from tests.hostile import SAYS, executed, plant
from topologies.access import start
from topologies.lab.programs import find_program
from topologies.model.errors import LabError

ROOT = Path(__file__).parents[2]
MODULES = ("controller", "controller.bgp.speaker", "traffic.engine", "traffic.transports.udp",
           "traffic.transports.rocev2", "traffic.transports.iperf", "traffic.transports.replay", "traffic.inference",
           "topologies.proof.sampler")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, full of files that have the names of what we import."""
    plant(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "queue.py"))
    return tmp_path


@pytest.mark.large
@pytest.mark.parametrize("module", MODULES)
def test_a_process_of_ours_imports_nothing_of_the_directory_that_it_is_started_in(hostile: Path, module: str) -> None:
    done = subprocess.run(start.command(module, "--help"), input="", capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" not in done.stderr
    assert executed(hostile) == []


def test_the_same_files_are_imported_by_python_m_there(hostile: Path) -> None:
    """Without which the test above would pass whatever was planted."""
    subprocess.run([sys.executable, "-m", "controller", "--help"], capture_output=True, check=False)
    assert executed(hostile)


def test_children_and_a_learners_file_are_started_like_that(hostile: Path) -> None:
    child = Child("engine", "the engine", "traffic.engine", "nowhere.json", logs=hostile)
    with pytest.raises(LabError, match=r"nowhere\.json"):
        child.ready(30)
    child.end()
    file = hostile / "mine.py"
    file.write_text("def double(x):\n    return 2 * x\n")
    assert [r.value for r in skeleton.call(file, [("double", [21])])] == [42]
    assert executed(hostile) == []


def test_what_is_started_is_the_code_that_starts_it_whatever_is_installed(tmp_path: Path) -> None:
    program = "import topologies.access.start as s, subprocess; print(s.PACKAGES, *s.command('traffic.engine'))"
    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(ROOT / "topologies/access/start.py") in done.stdout
    program = str(ROOT / "topologies/access/start.py")
    shown = subprocess.run([sys.executable, "-I", program, "topologies.access.start"], cwd=tmp_path,
                           capture_output=True, text=True, check=False)
    assert "IndexError" in shown.stderr, "it has become that module, which finds no argument"


def test_no_process_of_ours_is_started_in_another_way() -> None:
    named = [f"{path.relative_to(ROOT)}" for package in start.PACKAGES
             for path in sorted((ROOT / package).rglob("*.py"))
             if "[sys.executable" in path.read_text()]
    assert named == ["topologies/access/start.py"]


@pytest.mark.parametrize("where", [".", "", "bin"])
def test_a_program_is_not_looked_for_in_the_working_directory(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    (tmp_path / where).mkdir(exist_ok=True)
    program = tmp_path / where / "ip"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([where, "/usr/bin", "/bin"]))
    found = find_program("ip")
    assert found is None or Path(found).is_absolute()


def test_no_command_looks_for_programs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([".", "", "/usr/bin", "bin", "/bin"]))
    monkeypatch.setattr(cli, "app", lambda **_: None)
    cli.main()
    assert os.environ["PATH"] == os.pathsep.join(["/usr/bin", "/bin"])


@pytest.mark.large
def test_a_matplotlibrc_of_the_working_directory_changes_no_page(hostile: Path) -> None:
    (hostile / "matplotlibrc").write_text("savefig.dpi: 7\n")
    program = ("import scenarios.report.page, scenarios.study.figures, matplotlib\n"
               "print(matplotlib.matplotlib_fname(), matplotlib.rcParams['savefig.dpi'])")
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True,
                          env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")})
    assert done.stdout.split()[-1] != "7.0"
    assert SAYS not in done.stdout
