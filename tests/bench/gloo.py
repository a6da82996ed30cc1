"""Our ring all-reduce beside PyTorch Gloo's, on the same running fabric."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from statistics import median
from typing import Any

from scenarios.lab import Lab
from scenarios.ranks import check, run_ranks
from tests.bench.book import Book
from tests.bench.labs import Row, books, lab_alone, of_kind, run_collective
from topologies.errors import LabError
from topologies.ledger import Ledger
from topologies.load import load_fabric
from traffic.specs import CollectiveSpec

RANKS = 8
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
    sizes, iterations = ((500_000,), 1) if book.quick else ((4_000_000, 16_000_000), 3)
    with lab_alone(load_fabric("small", ["paths=pinned"])) as it:
        for size in sizes:
            ours, our_books = by_us(it, book, size, iterations)
            theirs, their_books, torch = by_gloo(it, python, size, iterations)
            ratio = median(ours) / median(theirs)
            book.figure(f"{size // 1000} kB: our step time / Gloo's", round(ratio, 4),
                        target=f"within {APART:.0%} of 1", met=abs(ratio - 1) <= APART, ours=ours, gloo=theirs,
                        torch=torch, our_packets=our_books.sent, gloo_packets=their_books.sent,
                        our_drops=sum(our_books.queue_drops.values()),
                        gloo_drops=sum(their_books.queue_drops.values()))
            print(f"    ours {median(ours):.3f} s and {our_books.sent} packets in all, "
                  f"Gloo (PyTorch {torch}) {median(theirs):.3f} s and {their_books.sent}", flush=True)


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


def by_us(it: Lab, book: Book, size: int, iterations: int) -> tuple[list[float], Ledger]:
    """Step times in seconds, the first iteration left out; and the books."""
    spec = CollectiveSpec(kind="collective", size=f"{size}B", ranks=RANKS, placement="strided", algorithm="ring",
                          iterations=iterations, warmup=1)
    with books(it) as found:
        records = run_collective(it, spec, book.work)
    steps: list[Row] = of_kind(records, "step")
    return durations((s["iteration"], s["start"], s["end"]) for s in steps), found.ledger


def by_gloo(it: Lab, python: str, size: int, iterations: int) -> tuple[list[float], Ledger, str]:
    """The same of PyTorch Gloo, whose default is its ring; and its version. Raises LabError, RunError."""
    said: list[dict[str, Any]] = []
    words: list[str] = []

    def tell(_rank: int, name: str, line: str) -> None:
        if name == "stdout" and line.startswith("{"):
            said.append(json.loads(line))
        else:
            words.append(line)

    try:
        ledger = run_ranks(it.inventory, RANKS, [python, "-c", PROGRAM, str(size), str(iterations + 1)], tell)
    except LabError as error:
        raise LabError(error.where, error.expected, error.found, "; ".join(words[-3:])) from None
    check(ledger)
    if not all(s["right"] for s in said) or len(said) != RANKS * (iterations + 1):
        raise LabError("PyTorch Gloo", "the right sum on every rank", f"{len(said)} answers, not all of them right")
    return durations((s["iteration"], s["start"], s["end"]) for s in said), ledger, said[0]["torch"]


def durations(spans: Iterable[tuple[int, float, float]]) -> list[float]:
    """Last end - first start of each iteration (seconds), without the first iteration.

    spans: (iteration, start, end), any number for each iteration.
    """
    found: dict[int, tuple[float, float]] = {}
    for iteration, start, end in spans:
        first, last = found.get(iteration, (start, end))
        found[iteration] = min(first, start), max(last, end)
    return [end - start for iteration, (start, end) in sorted(found.items()) if iteration > min(found)]
