"""Real programs on the hosts of a running lab, as `aifab exec --ranks` starts them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from scenarios.run.lab import Lab
from scenarios.run.ranks import link_bytes, run_ranks
from tests.bench.gloo import PYTHON, require_torch
from topologies.model.errors import LabError, RunError, SpecError

pytestmark = pytest.mark.lab
RING = str(Path(__file__).parents[2] / "scenarios/examples/ring.py")


class Said:
    """What the ranks said: (rank, stream, line)."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str, str]] = []

    def __call__(self, rank: int, name: str, line: str) -> None:
        self.lines.append((rank, name, line))

    def of(self, name: str) -> dict[int, str]:
        return {rank: line for rank, stream, line in self.lines if stream == name}


def test_a_ring_program_gets_its_bytes_round_and_every_packet_is_in_the_books(small_lab: Lab) -> None:
    said, before = Said(), link_bytes(small_lab.inventory)
    ledger = run_ranks(small_lab.inventory, 4, [sys.executable, RING], said)
    moved = {d: count - before[d] for d, count in link_bytes(small_lab.inventory).items()}
    # Ranks sit on the two leaves in turn, so every hop of the ring crosses the spines.
    assert sum(b for d, b in moved.items() if d.startswith("leaf")) > 4 * 786_432
    assert all(d.split("->")[0][:4] in {"leaf", "spin"} for d in moved)
    assert sorted(said.of("stdout")) == [0, 1, 2, 3]
    assert all(line.startswith("right: 786432 bytes") for line in said.of("stdout").values())
    assert ledger.balances
    full_frames = 4 * 786_432 / 1448
    assert full_frames < ledger.received < 2.5 * full_frames      # data, and fewer ACKs than data


def test_a_killed_rank_is_named_and_the_others_end(small_lab: Lab) -> None:
    said, begun = Said(), time.monotonic()
    program = "echo $$; [ $RANK = 2 ] && kill -9 $$; sleep 60"
    with pytest.raises(RunError) as caught:
        run_ranks(small_lab.inventory, 4, ["sh", "-c", program], said)
    assert "rank 2 on h2 was killed by SIGKILL" in caught.value.found
    assert time.monotonic() - begun < 50
    pids = [int(line) for line in said.of("stdout").values()]
    assert len(pids) >= 1
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_a_rank_that_ends_badly_is_named_with_its_code_and_its_last_words(small_lab: Lab) -> None:
    said = Said()
    with pytest.raises(RunError, match="exit code 3") as caught:
        run_ranks(small_lab.inventory, 2, ["sh", "-c", "[ $RANK = 1 ] && { echo no >&2; exit 3; }; sleep 60"], said)
    assert "rank 1 on h5" in caught.value.found
    assert said.of("stderr") == {1: "no"}


def test_a_program_that_does_not_exist_and_too_many_ranks_are_reported(small_lab: Lab) -> None:
    said = Said()
    with pytest.raises(LabError, match="exit code 127"):
        run_ranks(small_lab.inventory, 2, ["no-such-program"], said)
    assert any("no-such-program" in line for line in said.of("stderr").values())
    with pytest.raises(SpecError, match="at most 8"):
        run_ranks(small_lab.inventory, 9, ["true"], said)


def test_pytorch_gloo_reduces_over_the_fabric(small_lab: Lab) -> None:
    python = os.environ.get(PYTHON, sys.executable)
    try:
        require_torch(python)
    except LabError as error:
        pytest.skip(f"no PyTorch with Gloo: {error.found}; {PYTHON} can name a Python that has it")
    program = ("import torch, torch.distributed as dist; dist.init_process_group('gloo'); "
               "x = torch.full((1000,), float(dist.get_rank())); dist.all_reduce(x); print(x[0].item())")
    said = Said()
    ledger = run_ranks(small_lab.inventory, 4, [python, "-c", program], said)
    assert set(said.of("stdout").values()) == {"6.0"}
    assert ledger.balances
