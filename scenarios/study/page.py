"""The report of a study: one HTML file that needs nothing else, and its data beside it as CSV and JSON."""

from __future__ import annotations

from pathlib import Path

from scenarios.cost.study import HEADER
from scenarios.evidence.results import RunDirectory, write_whole
from scenarios.report.page import build as build_run
from scenarios.report.page import render
from scenarios.study import tables
from scenarios.study.analysis import Analysis
from scenarios.study.figures import figures
from scenarios.study.narrative import caveats, findings, lead_sentence
from scenarios.study.statistics import MIN_PAIRS

_HERE = Path(__file__).parent
SUMMARY, RUNS = "summary.csv", "runs.csv"


def build(analysis: Analysis) -> str:
    """The report as HTML."""
    result = analysis.result
    return render(
        "study.html", _HERE, result=result, leads=[lead_sentence(m) for m in analysis.metrics],
        findings=findings(analysis), caveats=caveats(analysis), verdicts=tables.verdicts(result),
        overview=tables.overview(analysis), figures=figures(analysis), runs=tables.runs(result),
        costs=analysis.costs, cost_header=HEADER,
        run_header=tables.RUNS, min_pairs=MIN_PAIRS, files=(SUMMARY, RUNS, "study.json"),
        designs=[(name, d.description, d.scenario.name, tables.settings(d)) for name, d in result.designs.items()])


def write(analysis: Analysis, directory: Path) -> Path:
    """Report and CSV files into the study's directory; its runs get the reports that a kill has kept from them."""
    for _, outcome in analysis.result.outcomes:
        run = RunDirectory(directory / "runs" / outcome.run)
        if not run.report_path.exists():
            run.write_report(build_run(run))
    write_whole(directory / SUMMARY, tables.summary_csv(analysis).encode())
    write_whole(directory / RUNS, tables.runs_csv(analysis).encode())
    path = directory / "report.html"
    write_whole(path, build(analysis).encode())
    return path
