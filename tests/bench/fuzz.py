"""Fault fuzzing by seeds: is every pair of hosts as it should be after every step?"""

from __future__ import annotations

from tests.bench.book import Book
from tests.fuzz import STEPS, fuzz_lab, run_seed
from topologies.lab.host_limits import measuring_lock


def fuzz(book: Book) -> None:
    """20 seeds of links, switches and the controller going and coming, VPCs changing between: observed reachability is
    the expected one after each of 12 steps.
    """
    seeds = range(1, (2 if book.quick else 20) + 1)
    with measuring_lock(wait=True), fuzz_lab() as lab:
        wrong = {seed: found for seed in seeds if (found := run_seed(lab, seed))}
    book.figure(f"seeds of {STEPS} steps in which all was as expected", f"{len(seeds) - len(wrong)}/{len(seeds)}",
                target="all", met=not wrong, wrong={str(seed): found for seed, found in wrong.items()})
