"""The Vagrantfile as Vagrant reads it; nothing is started."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.lab,
              pytest.mark.skipif(shutil.which("vagrant") is None, reason="Vagrant is not installed")]


def validate(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    own = {"VAGRANT_HOME": str(home), "VAGRANT_DOTFILE_PATH": str(home / "machines"), "VAGRANT_CWD": str(ROOT),
           "VAGRANT_CHECKPOINT_DISABLE": "1"}
    return subprocess.run(["vagrant", "validate"], env=os.environ | own | variables, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)


def test_the_vagrantfile_is_one_that_vagrant_takes(tmp_path: Path) -> None:
    done = validate(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("variable", "value", "reported"), [
    ("AIFAB_CPUS", "0", "AIFAB_CPUS: expected a whole number of at least 1; found 0"),
    ("AIFAB_MEMORY", "lots", "AIFAB_MEMORY: expected a whole number of at least 2048; found lots"),
    ("AIFAB_MEMORY", "512", "AIFAB_MEMORY: expected a whole number of at least 2048; found 512"),
    ("AIFAB_PORT", "80", "AIFAB_PORT: expected a whole number of at least 1024; found 80")])
def test_a_wrong_variable_is_reported_in_one_line(tmp_path: Path, variable: str, value: str, reported: str) -> None:
    done = validate(tmp_path, **{variable: value})
    assert done.returncode != 0
    assert done.stderr.strip() == reported
