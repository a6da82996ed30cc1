"""The page: complete, offline, honest about what it lacks, and small."""

from __future__ import annotations

import io
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest
from rich.console import Console

from scenarios.evidence.results import RunDirectory
from scenarios.report.charts.canvas import to_svg
from scenarios.report.charts.drawing import DIGIT, LINE, TIER, label_places
from scenarios.report.data import load
from scenarios.report.figures import figures
from scenarios.report.page import build
from scenarios.report.series import active, loads
from scenarios.report.tables import accounting, limits, metric_rows, prediction_rows, scenario_yaml
from scenarios.report.terminal import json_object, show
from scenarios.report.text import number, percent, quantity
from scenarios.spec.load_scenario import load_scenario
from scenarios.spec.scenario import Scenario
from tests.unit import run_factory
from topologies.model.expansion import expand
from traffic.runtime.counters import Counters


class _Page(HTMLParser):
    """Collects ids, references, open elements and text."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: set[str] = set()
        self.open: list[str] = []
        self.words: list[str] = []
        self.labels: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            if name == "href" and value:
                self.references.add(value.removeprefix("#"))
            if name == "aria-label" and value:
                self.labels.append(value)
            self.references.update(re.findall(r"url\(#([^)]+)\)", value or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run_factory.ring(tmp_path_factory.mktemp("runs"), queues={"leaf1->h3": 1100, "leaf1->spine2": 104})


@pytest.fixture(scope="module")
def html(lossy: RunDirectory) -> str:
    return build(lossy)


def test_the_page_needs_nothing_from_anywhere(html: str) -> None:
    assert "://" not in html
    assert not re.search(r"<(script|link|img|iframe)\b|@import|src=", html)
    assert "default-src 'none'" in html


def test_the_page_is_well_formed_and_every_id_is_used_once(html: str) -> None:
    page = _Page(html)
    assert page.open == []
    assert [i for i, n in Counter(page.ids).items() if n > 1] == []
    assert page.references <= set(page.ids)


def test_figures_follow_the_colours_of_the_page(html: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert re.findall(r"#[0-9a-fA-F]{6}\b", drawings) == []
    css = html[html.index("<style>"):html.index("</style>")]
    for variable in set(re.findall(r"var\((--\w+)\)", drawings)):
        assert css.count(f"{variable}:") == 2, f"{variable} has a light and a dark value"


def test_each_figure_has_a_description_and_its_data(html: str) -> None:
    page = _Page(html)
    assert html.count("<figure") == 4
    assert sum("chart" in label or "Drawing" in label for label in page.labels) == 8
    assert html.count("<summary>Data (") == 4


def test_the_page_tells_question_answer_verdict_and_sum(html: str) -> None:
    text = _Page(html).text
    order = ["Does an 8-host ring reach the ring limit?", "reached 9.21 Mbit/s", "✓ VALID", "Step times of ring",
             "Link load over time", "Loss by queue", "92,408 sent = 91,204 received + 1,204 dropped at 2 queues",
             "Metrics", "Predictions and measurements", "What this emulation cannot tell", "Where this comes from"]
    found = [text.index(part) for part in order]
    assert found == sorted(found)
    assert "Do not use these numbers" not in text


@pytest.mark.large
def test_equal_runs_give_equal_pages(lossy: RunDirectory, html: str) -> None:
    assert build(lossy) == html


@pytest.mark.parametrize(("level", "reasons"), [("SUSPECT", 2), ("INVALID", 9)])
def test_a_run_that_is_not_valid_says_so_first_and_why(tmp_path: Path, level: str, reasons: int) -> None:
    run = run_factory.make(tmp_path, verdict=run_factory.verdict(level, reasons), metrics=run_factory.metrics())
    text = _Page(build(run)).text
    banner = text.index("Do not use these numbers.")
    assert banner < text.index("Does an 8-host ring")
    assert "What was measured, not to be used" in text
    for reason in run_factory.verdict(level, reasons)["reasons"]:
        assert reason["text"].replace("->", "→") in text


@pytest.mark.parametrize(("status", "reported"), [
    ("interrupted", "This run was interrupted"), ("failed", "This run failed: the interface of h3 went down"),
    ("running", "it is still going, or it was killed")])
def test_a_broken_run_has_a_page_that_says_so(tmp_path: Path, status: str, reported: str) -> None:
    text = _Page(build(run_factory.make(tmp_path, status=status))).text
    assert reported in text
    assert "the run ended before a verdict could be given" in text
    assert "Drops were not counted." in text
    assert "metrics: nothing was recorded" in text


def test_a_valid_verdict_of_an_interrupted_run_does_not_make_it_usable(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path, status="interrupted", verdict=run_factory.verdict())
    assert "Do not use these numbers" in build(run)


def test_a_damaged_part_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path, metrics=run_factory.metrics(), verdict=run_factory.verdict())
    (run.path / "ledger.json").write_text("{\"balances\": tr")
    run.counters_path.write_text('{"kind": "header"}\n')
    text = _Page(build(run)).text
    assert "ledger: " in text
    assert "ledger.json" in text
    assert "counters: not as this version of aifab writes it" in text
    assert "9.21 Mbit/s" in text


def test_text_of_the_scenario_is_shown_as_text(tmp_path: Path) -> None:
    spec = run_factory.scenario(question="Is <b>h1->h2</b> & all that <script>alert(1)</script> fast?")
    html = build(run_factory.make(tmp_path, spec))
    assert "<script>" not in html
    assert "Is &lt;b&gt;h1" in html


def test_requests_streams_and_probes_have_figures_of_their_own(tmp_path: Path) -> None:
    records = [*run_factory.requests(), *run_factory.packets(),
               *run_factory.packets("probe1-probe2", 500, 0, 250, "sentinel")]
    found = {f.key: f for f in figures(load(run_factory.make(tmp_path, records=records)))}
    assert set(found) == {"fabric", "requests", "latency", "sentinel"}
    assert "397 of 400 requests answered" in found["requests"].caption
    assert [row[:3] for row in found["latency"].rows] == [("incast-0", "5,000", "100")]
    assert "none of the sampled packets was lost" in found["sentinel"].caption


def test_requests_that_all_failed_make_no_curve(tmp_path: Path) -> None:
    run = run_factory.make(tmp_path, records=run_factory.requests(5, 5))
    assert [f.key for f in figures(load(run))] == ["fabric"]


@pytest.mark.large
def test_a_large_fabric_fits_a_small_page(tmp_path: Path) -> None:
    fabric = {"leaves": 16, "spines": 4, "hosts_per_leaf": 4, "host_rate": "2mbit"}
    spec = run_factory.scenario(fabric=fabric)
    samples = run_factory.counters(expand(spec.fabric), 8, 0.2, drops={"leaf1->spine2": 9000})
    html = build(run_factory.make(tmp_path, spec, samples=samples, verdict=run_factory.verdict()))
    assert len(html) < 2_000_000
    assert "64 hosts, 16 leaves, 4 spines." in html
    assert "leaf1→spine2" in html
    assert re.search(r"Crosses mark the 1 queue", html)


def sampled(directions: str, *readings: list[list[int]]) -> Counters:
    """A reading a second of links of 8 kbit/s."""
    names = directions.split()
    header = {"kind": "header", "period": 1, "directions": names, "rates": [8000] * len(names),
              "queues": [3000] * len(names), "frames": [1514] * len(names), "switches": []}
    return Counters.of([header, *({"kind": "wires", "t": t, "took": 0, "late": 0, "v": v}
                                  for t, v in enumerate(readings))])


def test_loads_are_what_the_counters_say() -> None:
    busiest, other = loads(sampled("a->b b->a", *([[500 * t, t, 0, 0], [1000 * t, t, 2 * t, 1500]] for t in range(5))))
    assert (busiest.direction, busiest.mean, busiest.peak, busiest.drops) == ("b->a", 1.0, 1.0, 8)
    assert (other.direction, other.mean, other.max_backlog) == ("a->b", 0.5, 0)


def test_quiet_time_before_and_after_the_traffic_does_not_dilute_the_load() -> None:
    sent = [0, 0, 0, 500, 1000, 1000, 1500, 1500, 1500]      # bytes: traffic from 2 s to 6 s, with a pause in it
    counters = sampled("a->b", *([[b, 0, 0, 0]] for b in sent))
    assert active(counters) == (2, 6)
    assert loads(counters)[0].mean == pytest.approx(1500 / 4 * 8 / 8000)


def test_counters_of_one_sample_or_none_are_missing_not_zero(tmp_path: Path) -> None:
    spec = run_factory.scenario()
    samples = run_factory.counters(expand(spec.fabric))
    for kept in ([], samples[:1], samples[:2]):
        data = load(run_factory.make(tmp_path, spec, samples=kept))
        assert data.loads == []
        assert "counters: nothing was recorded" in data.missing


def test_probes_are_not_among_the_loads(lossy: RunDirectory) -> None:
    data = load(lossy)
    assert len(data.loads) == 24
    assert not [x for x in data.loads if "probe" in x.direction]


def test_books_add_up_by_themselves() -> None:
    good = accounting(run_factory.ledger(900, {"leaf1->h3": 100}))
    assert (good.total, good.difference, good.balances) == (1000, 0, True)
    assert good.line == "1,000 sent = 900 received + 100 dropped at leaf1->h3; packet accounting balances."
    bad = accounting(run_factory.ledger(900, {"leaf1->h3": 100}, unexplained={"leaf2": 17}))
    assert bad.line == ("1,017 sent = 900 received + 100 dropped at leaf1->h3 + 17 unexplained; "
                        "packet accounting does not balance.")


def test_books_that_only_claim_to_close_do_not() -> None:
    claimed = run_factory.ledger(900) | {"sent": 950}
    assert not accounting(claimed).balances
    assert "+ 50 unexplained; packet accounting does not balance" in accounting(claimed).line


def test_predictions_stand_beside_their_measurements(lossy: RunDirectory) -> None:
    assert ("ring.busbw: ring limit", "9.4 Mbit/s", "9.21 Mbit/s", "0.98") in prediction_rows(load(lossy))


def test_the_scenario_in_the_report_can_be_run_again(lossy: RunDirectory) -> None:
    from ruamel.yaml import YAML  # noqa: PLC0415 - only this test reads it back
    again = Scenario.model_validate(YAML(typ="safe").load(scenario_yaml(lossy.scenario)))
    assert again == lossy.scenario


@pytest.mark.parametrize(("value", "unit", "shown"), [
    (9207000.0, "bit/s", "9.21 Mbit/s"), (0.01234, "s", "12.3 ms"), (8_000_000, "B", "8 MB"), (0.98213, "", "0.982"),
    ([1.0, 2.5], "s", "1 s to 2.5 s"), (None, "s", "-"), (1204, "packets", "1,204 packets"), (0, "s", "0 s"),
    (12345.6, "", "12,300")])
def test_numbers_have_their_unit_and_three_digits(value: object, unit: str, shown: str) -> None:
    assert quantity(value, unit) == shown


def test_small_shares_are_not_reported_as_none() -> None:
    assert [percent(x) for x in (0.0, 0.00042, 0.01303, 0.934)] == ["0 %", "0.042 %", "1.3 %", "93 %"]
    assert number(12_408) == "12,408"


def test_the_terminal_tells_the_same(lossy: RunDirectory) -> None:
    console = Console(width=100, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115 - lives as long as the test
    show(lossy, console)
    text = console.export_text()
    for part in ("Does an 8-host ring", "reached 9.21 Mbit/s", "Verdict: VALID", "ring.busbw", "leaf1->spine2",
                 "packet accounting balances"):
        assert part in text
    assert "do not use" not in text


def test_the_terminal_warns_of_an_invalid_run(tmp_path: Path) -> None:
    console = Console(width=60, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115 - lives as long as the test
    show(run_factory.make(tmp_path, verdict=run_factory.verdict("INVALID", 9)), console)
    text = console.export_text()
    assert "do not use these numbers" in text
    assert text.count("INVALID headroom") == 4


def test_json_has_run_verdict_reasons_metrics_and_ledger(lossy: RunDirectory, tmp_path: Path) -> None:
    found = json_object(lossy)
    assert found["run"] == lossy.id
    assert (found["verdict"], found["reasons"]) == ("VALID", [])
    assert found["metrics"]["ring.busbw"]["value"] == 9.21e6
    assert found["ledger"]["queue_drops"] == {"leaf1->h3": 1100, "leaf1->spine2": 104}
    empty = json_object(run_factory.make(tmp_path))
    assert (empty["verdict"], empty["metrics"], empty["ledger"]) == (None, {}, None)


def test_what_a_reader_folded_or_left_out_is_reported_on_the_page_in_the_terminal_and_as_json(tmp_path: Path) -> None:
    notes = {"step": {"fused": "3 layers taken as one", "left out": "ARP (7) & <others>"}}
    run = run_factory.make(tmp_path, notes=notes)
    assert json_object(run)["notes"] == notes
    page = build(run)
    assert "3 layers taken as one" in page
    assert "ARP (7) &amp; &lt;others&gt;" in page
    console = Console(record=True, width=200, file=io.StringIO())
    show(run, console)
    assert "step, fused: 3 layers taken as one" in console.export_text()
    without = json_object(run_factory.make(tmp_path))
    assert without["notes"] == {}
    assert not any("notes" in m for m in without["missing"])


def test_a_drawing_leaves_no_link_to_its_maker() -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - only this test draws by itself
    svg = to_svg(Figure(figsize=(1, 1)), "x")
    assert svg.startswith("<svg viewBox=")
    assert "matplotlib.org" not in svg
    assert 'id="x-figure_1"' in svg


def test_a_report_of_latencies_says_what_an_isolated_frame_would_pay_on_real_links() -> None:
    spec, other = load_scenario("link-failure"), load_scenario("allreduce")
    said = [text for text in limits(spec, expand(spec.fabric)) if "serialisation" in text]
    # 128 bytes on two links of 10 Mbit/s, and with 50 more on two of 21.2: 205 + 134 microseconds
    assert len(said) == 1
    assert "128 bytes from h5 to h1, takes 339 us longer" in said[0]
    assert not any("serialisation" in text for text in limits(other, expand(other.fabric)))


@pytest.mark.parametrize(("rate", "hosts"), [("10mbit", "held back by a discipline"), ("100mbit", "without a")])
def test_a_report_of_the_engine_says_how_hosts_are_attached_and_that_frames_pay_for_themselves(
        rate: str, hosts: str) -> None:
    spec = load_scenario("link-failure", ["fabric.datapath=engine", f"fabric.host_rate={rate}"])
    said = limits(spec, expand(spec.fabric))
    assert not any("serialisation" in text for text in said)
    assert any(text.startswith("Switches and links are the fabric engine") for text in said)
    assert any(hosts in text for text in said)


def test_a_metric_of_a_workload_in_several_phases_is_listed_once(tmp_path: Path) -> None:
    spec = run_factory.scenario().model_dump(mode="json")
    spec["phases"] = [{"name": "alone", "run": ["ring"]}, {"name": "beside", "run": ["ring"]}]
    metrics = {**run_factory.metrics(9e6, "ring"), **run_factory.metrics(9e6, "ring.alone"),
               **run_factory.metrics(4e6, "ring.beside")}
    run = run_factory.make(tmp_path, type(run_factory.scenario()).model_validate(spec), metrics=metrics)
    shown = [row.key for row in metric_rows(load(run))]
    assert "ring.busbw" not in shown
    assert {"ring.alone.busbw", "ring.beside.busbw"} <= set(shown)


def test_numbers_of_drops_beside_each_other_do_not_meet() -> None:
    crosses = [((0.28 * n, 0.78), count) for n, count in enumerate((13, 3, 21, 982, 6, 12_345, 9))]
    boxes = []
    for ((x, y), count), (dx, dy, align) in zip(crosses, label_places(crosses), strict=True):
        width = len(f"{count:,}") * DIGIT
        left = x * 72 + dx - {"left": 0.0, "right": width, "center": width / 2}[align]
        boxes.append((left, y * TIER + dy - LINE / 2, left + width, y * TIER + dy + LINE / 2))
    assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for a, b in combinations(boxes, 2))
