"""What it costs to spread a model over hosts: inside a leaf, across leaves, in stages; and if it is as predicted."""

from __future__ import annotations

from statistics import median

from tests.bench.book import Book
from tests.bench.labs import library_run

LAYOUTS = ("inside", "across", "pipeline", "both")
RINGS = ("inside", "across")
# one request after the other: nobody else is on the network
ALONE = [f"workloads.{layout}.{key}" for layout in LAYOUTS
         for key in ("requests=4", "process=constant", "rate=5", "output_tokens=2", "variation=0")]


def tensor(book: Book) -> None:
    """A prefill alone within 5 % of what was predicted for an idle network; four layouts compared, VALID."""
    result = library_run(book, "inference-tensor-parallel", ALONE)
    reported = result.run.read("predictions") or {}
    for layout in LAYOUTS:
        tag = f"{layout}.ttft_prefill"
        ratio = result.metrics[tag].value / reported[tag]["value"]
        book.figure(f"{layout}: prefill alone on the fabric / predicted", ratio, target="0.95 to 1.05",
                    met=None if book.quick else abs(ratio - 1) <= 0.05, verdict=result.verdict.level.name)
    rows: list[dict[str, float]] = []
    for seed in range(1, 2 if book.quick else 4):
        run = library_run(book, "inference-tensor-parallel", [f"seed={seed}"])
        level = run.verdict.level.name
        rows.append({key: metric.value for key, metric in run.metrics.items()})
        book.figure(f"seed {seed}: tokens take so much longer across leaves than inside one",
                    rows[-1]["across.tpot"] / rows[-1]["inside.tpot"], verdict=level, target="VALID",
                    met=None if book.quick else level == "VALID")
    for layout in LAYOUTS:
        book.median(f"{layout}: time per output token", [1e3 * r[f"{layout}.tpot"] for r in rows], "ms")
        book.median(f"{layout}: time to first token", [1e3 * r[f"{layout}.ttft"] for r in rows], "ms")
    for layout in RINGS:
        book.median(f"{layout}: share of the steps that the fabric takes",
                    [100 * r[f"{layout}.fabric_share"] for r in rows], "%")
        slowdown = median(r[f"{layout}.communication_slowdown"] for r in rows)
        book.figure(f"{layout}: exchange against an idle network", slowdown)
