"""Shared by all tests: lab tests need root; originals of traces may lie beside the repository."""

from __future__ import annotations

import functools
import gc
import os
import signal
from pathlib import Path

import pytest
import typer.main
from hypothesis import settings

from tests.examples import examples

settings.register_profile("aifab", parent=examples(100))
settings.load_profile("aifab")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and all that they start; they send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The words of the command line are made of some hundred signatures at each call of it; they are the same in all tests.
typer.main.get_command = functools.cache(typer.main.get_command)

ROOT = Path(__file__).parents[1]


def pytest_collection_finish() -> None:
    """What thousands of collected tests consist of stays: the garbage collector need not look it through each time."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root a lab test is skipped, and says so."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root: run it by `make test`")
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(skip)


@pytest.fixture
def original_traces() -> Path:
    """The folder of original traces beside the repository; the test is skipped where there is none."""
    folder = ROOT.parent / "shared" / "traces"
    if not folder.is_dir():
        pytest.skip(f"no original traces in {os.path.relpath(folder, ROOT)}")
    return folder
