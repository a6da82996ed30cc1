"""Our ring all-reduce beside PyTorch Gloo's, on the same running fabric."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from statistics import median
from typing import Any

from scenarios.run.lab import Lab
from scenarios.run.ranks import check, run_ranks
from tests.bench.book import Book
from tests.bench.labs import Row, accounting, lab_alone, of_kind, run_collective
from topologies.model.errors import LabError
from topologies.model.load import load_fabric
from topologies.proof.ledger import Ledger
from traffic.workloads.specs import CollectiveSpec

RANKS = 8
STEPS = 2           # on fresh connections, the first of which is not counted
APART = 0.05        # of Gloo's step time
PYTHON = "AIFAB_TORCH_PYTHON"       # a Python that has PyTorch, where ours has not
PROGRAM = """
import json, sys, time
import torch, torch.distributed as dist
size, iterations = map(int, sys.argv[1:])
torch.set_num_threads(1)
dist.init_process_group("gloo")
right = sum(range(1, dist.get_world_size() + 1))
for i in range(iterations):
    x = torch.full((size // 4,), float(dist.get_rank() + 1))
    dist.barrier()
    start = time.monotonic()
    dist.all_reduce(x)
    end = time.monotonic()
    print(json.dumps({"iteration": i, "start": start, "end": end, "right": bool((x == right).all()),
                      "torch": torch.__version__}), flush=True)
dist.barrier()
dist.destroy_process_group()
"""


def gloo(book: Book) -> None:
    """A ring all-reduce of 4 MB and of 16 MB over 8 hosts at 10 Mbit/s: our step time within 5 % of PyTorch Gloo's
    in the same lab, medians of 3; without PyTorch it cannot be run.
    """
    python = os.environ.get(PYTHON, sys.executable)
    require_torch(python)
    sizes, rounds = ((500_000,), 1) if book.quick else ((4_000_000, 16_000_000), 3)
    with lab_alone(load_fabric("small", ["paths=pinned"])) as it:
        for size in sizes:
            compare(book, it, python, size, rounds)


def compare(book: Book, it: Lab, python: str, size: int, rounds: int) -> None:
    """Ours and Gloo's by turns, so that what disturbs the machine for a while disturbs both."""
    found = [(by_us(it, book, size), by_gloo(it, python, size)) for _ in range(rounds)]
    ratios = [ours[0] / gloo[0] for ours, gloo in found]
    book.median(f"{size // 1000} kB: our step time / Gloo's", ratios, target=f"within {APART:.0%} of 1",
                met=abs(median(ratios) - 1) <= APART, ours=[ours[0] for ours, _ in found],
                gloo=[gloo[0] for _, gloo in found], torch=found[0][1][2],
                our_packets=[ours[1].sent for ours, _ in found], gloo_packets=[gloo[1].sent for _, gloo in found],
                our_drops=[sum(ours[1].queue_drops.values()) for ours, _ in found],
                gloo_drops=[sum(gloo[1].queue_drops.values()) for _, gloo in found])


def require_torch(python: str) -> None:
    """Raises LabError if that Python has no PyTorch with Gloo."""
    look = "import torch.distributed as d, sys; sys.exit(not d.is_gloo_available())"
    try:
        found = subprocess.run([python, "-c", look], capture_output=True, text=True, check=False)
    except OSError as error:
        raise LabError(PYTHON, "a Python that has PyTorch", f"{python}: {error.strerror}") from None
    if found.returncode:
        raise LabError(python, "a Python that has PyTorch with Gloo",
                       (found.stderr.strip().splitlines() or ["PyTorch without Gloo"])[-1],
                       f"pip install torch into an environment of its own and name its Python in {PYTHON}")


def by_us(it: Lab, book: Book, size: int) -> tuple[float, Ledger]:
    """Seconds of the second step on fresh connections; and packet accounting."""
    spec = CollectiveSpec(kind="collective", size=f"{size}B", ranks=RANKS, placement="strided", algorithm="ring",
                          iterations=1, warmup=1)
    with accounting(it) as found:
        records = run_collective(it, spec, book.work)
    steps: list[Row] = of_kind(records, "step")
    return second((s["iteration"], s["start"], s["end"]) for s in steps), found.ledger


def by_gloo(it: Lab, python: str, size: int) -> tuple[float, Ledger, str]:
    """The same of PyTorch Gloo, whose default is its ring; and its version. Raises LabError, RunError."""
    said: list[dict[str, Any]] = []
    words: list[str] = []

    def tell(_rank: int, name: str, line: str) -> None:
        if name == "stdout" and line.startswith("{"):
            said.append(json.loads(line))
        else:
            words.append(line)

    try:
        ledger = run_ranks(it.inventory, RANKS, [python, "-c", PROGRAM, str(size), str(STEPS)], tell)
    except LabError as error:
        raise LabError(error.where, error.expected, error.found, "; ".join(words[-3:])) from None
    check(ledger)
    if not all(s["right"] for s in said) or len(said) != RANKS * STEPS:
        raise LabError("PyTorch Gloo", "the right sum on every rank", f"{len(said)} answers, not all of them right")
    return second((s["iteration"], s["start"], s["end"]) for s in said), ledger, said[0]["torch"]


def second(spans: Iterable[tuple[int, float, float]]) -> float:
    """Last end - first start of the last iteration (seconds).

    spans: (iteration, start, end), any number for each iteration.
    """
    rows = list(spans)
    last = max(iteration for iteration, _, _ in rows)
    return max(end for i, _, end in rows if i == last) - min(start for i, start, _ in rows if i == last)
