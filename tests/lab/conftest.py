"""A small lab that all tests of a module share; a disk that is full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.run.lab import Lab, lab
from tests.lab.fabric_lab import SMALL


@pytest.fixture(scope="module")
def small_lab() -> Iterator[Lab]:
    """Two leaves, two spines, h1 to h8 at 10 Mbit/s, queues of 40 packets. Leave it as you found it."""
    with lab(SMALL) as it:
        yield it


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one page, which is taken."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)], check=True)
    try:
        (disk / "rest").write_bytes(bytes(4096))
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)
