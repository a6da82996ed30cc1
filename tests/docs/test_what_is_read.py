"""What the docs say a user reads exists: metrics, limits, reasons, files of a run."""

from __future__ import annotations

import ast
import pkgutil
import re
from typing import get_args

import pytest

import scenarios.commands
from scenarios.evidence.results import Part
from scenarios.verdict.invariants import headroom, link, timers
from tests.docs.test_docs import COMMAND, ROOT, table_keys
from topologies.model.scale import MIN_PACKETS, MIN_RTTS
from topologies.proof import calibrate
from traffic.metrics.known import definitions, unit_of
from traffic.metrics.metric import ENOUGH

# ---- what a user reads

METHODS = (ROOT / "docs/reference/methods.md").read_text()


def test_every_metric_is_explained_with_its_unit() -> None:
    rows = {key: row for row in METHODS.splitlines() if row.startswith("| `") for key in table_keys(row)}
    assert len(definitions()) > 30
    for tag, definition in definitions().items():
        assert tag in rows, tag
        if definition.unit:
            assert f"| {definition.unit} |" in rows[tag], tag


def test_every_metric_that_is_explained_exists() -> None:
    ours = set(definitions())
    explained = {key for key in table_keys(METHODS) if re.fullmatch(r"[a-z0-9_]+", key)}
    assert explained <= ours | {"--no-lock"}


def test_every_section_of_methods_that_the_code_cites_is_there() -> None:
    sections = tuple(line.removeprefix("## ").lower() for line in METHODS.splitlines() if line.startswith("## "))
    code = "\n".join(p.read_text() for package in ("topologies", "traffic", "scenarios")
                     for p in (ROOT / package).rglob("*.py"))
    cited = {" ".join(c.split()) for c in re.findall(r"docs/reference/methods\.md: ([a-z][a-z\s-]+)", code)}
    assert len(cited) > 8
    assert [c for c in sorted(cited) if not c.startswith(sections)] == []


def test_every_metric_that_the_glossary_names_exists() -> None:
    lines = (ROOT / "docs/reference/glossary.md").read_text().splitlines()
    here = " ".join(line.split(" | ")[-1] for line in lines if line.startswith("| "))
    named = re.findall(r"`([a-z][a-z0-9_]*)`", here)
    assert len(named) > 60
    assert [tag for tag in named if unit_of(tag) is None] == []


def row(text: str) -> str:
    """The one row of the verdict's table that holds `text`."""
    found = [line for line in METHODS.splitlines() if line.startswith("|") and text in line]
    assert len(found) == 1, text
    return found[0]


def percent(share: float) -> str:
    return f"{100 * share:g} %"


@pytest.mark.parametrize(("text", "suspect", "invalid"), [
    ("measured rate", percent(calibrate.RATE_LIMIT), percent(2 * calibrate.RATE_LIMIT)),
    ("round trip between", f"{percent(calibrate.RTT_SHARE)} or {1e3 * calibrate.RTT_LIMIT:g} ms", "twice"),
    ("packets waiting at every sample", f"{percent(link.OUTSIDE)} of", percent(link.TWICE_OUTSIDE)),
    ("the lowest window", f"below {percent(link.FLOOR)}", f"below {percent(link.HARD_FLOOR)}"),
    ("late sampler", percent(link.UNUSABLE), "-"),
    ("machine idle", f"below {percent(headroom.IDLE)}", f"below {percent(headroom.HALF_IDLE)}"),
    ("switch's worst thread", f"1/{1 / headroom.SWITCH_WAIT:g} of", f"2/{1 / headroom.SWITCH_WAIT:g}"),
    ("sender and receiver", percent(headroom.ENGINE_WAIT), percent(2 * headroom.ENGINE_WAIT)),
    ("| steal", percent(headroom.STEAL), percent(2 * headroom.STEAL)),
    ("sentinel p99", f"{1e3 * headroom.SENTINEL_FLOOR:g} ms", "twice"),
    ("p99 timer lateness", f"{1e3 * timers.FLOOR:g} ms, or {percent(timers.SHARE)}", "twice"),
])
def test_the_limits_of_the_verdict_are_those_of_the_code(text: str, suspect: str, invalid: str) -> None:
    cells = [c.strip() for c in row(text).strip("|").split("|")]
    assert suspect in cells[2]
    assert cells[3].startswith(invalid)


def test_the_windows_samples_and_scale_that_methods_names_are_those_of_the_code() -> None:
    for text in (f"{percent(link.LOW)[:-2]} to {percent(link.HIGH)} of the rate", f"lasts {1e3 * link.WINDOW:g} ms",
                 f"{link.WINDOW_FRAMES} full frames", f"any {headroom.SAMPLES:,} packets in a row",
                 f"p90 is reported from {ENOUGH[90]} samples", f"p99 from {ENOUGH[99]:,}",
                 f"under {MIN_PACKETS} packets", f"under {MIN_RTTS:g} idle"):
        assert text in METHODS, text


def reported() -> str:
    """What the invariants may say: the constant parts of their texts, in small letters."""
    trees = [ast.parse(p.read_text()) for p in (ROOT / "scenarios/verdict/invariants").glob("*.py")]
    constants = [n.value for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    return "\n".join(c for c in constants if isinstance(c, str)).lower()


def test_the_reasons_that_troubleshooting_explains_are_those_that_the_verdict_gives() -> None:
    text = (ROOT / "docs/how-to/troubleshooting.md").read_text()
    explained = re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text[text.index("## The verdict"):text.index("**lock.**")])
    pieces = [p.strip() for e in explained for p in " ".join(e.split()).lower().split("...") if p.strip()]
    assert len(pieces) > 8
    corpus = reported()
    assert [p for p in pieces if p not in corpus] == []


def test_every_part_of_a_run_directory_is_listed() -> None:
    listed = table_keys((ROOT / "docs/explanation/architecture.md").read_text())
    assert {f"{part}.json" for part in get_args(Part)} <= listed


def test_every_module_of_commands_belongs_to_a_command() -> None:
    modules = {COMMAND.commands[name].callback.__module__ for name in COMMAND.commands}     # type: ignore[attr-defined]
    assert modules == {f"scenarios.commands.{m.name}" for m in pkgutil.iter_modules(scenarios.commands.__path__)}
