"""Random and mutated frames and commands into the engine's pipeline, under the address and behaviour sanitizers."""

from __future__ import annotations

import subprocess

import pytest

from tests.fabricd.build import pipeline_program


@pytest.mark.parametrize("seed", [1, 2])
def test_neither_frames_nor_commands_break_it_and_no_packet_is_lost(seed: int) -> None:
    done = subprocess.run([pipeline_program("pipeline_fuzz"), str(seed), "60000"], capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ok ")
