"""Reports as a browser shows them: at desk and telephone width, light, dark and on paper; nothing cut or fetched.

One Chromium shows all pages. A page is what its kind of run would leave: a training job, serving, VPCs; and that of a
study with costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scenarios.report.page import build
from scenarios.study.analysis import analyse
from scenarios.study.page import build as study_page
from tests.docs.chromium import PROGRAM, Browser
from tests.unit import run_factory, test_cost_study, test_report_tenants
from topologies.model.expansion import expand

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine (apt-get install chromium)")
DESK, TELEPHONE, PAPER = 1280, 400, 718     # pixels; A4 between Chromium's margins
SMALLEST = 8                                # pixels of a letter
FIGURES = {"training": 4, "inference": 4, "vpcs": 2, "study": 2}
# what can be wrong with a page, each a list of the culprits' texts
PROBE = """(() => {
  const width = document.documentElement.clientWidth, inside = e => e.closest(".scroll, pre, svg");
  const seen = e => e.getClientRects().length > 0, text = e => e.textContent.trim().slice(0, 60);
  const svgTexts = [...document.querySelectorAll("svg text")].filter(t => t.getBoundingClientRect().width);
  const beyond = t => {
    const box = t.getBoundingClientRect(), edge = t.ownerSVGElement.getBoundingClientRect();
    return box.left < Math.max(edge.left - 3, 0) || box.right > Math.min(edge.right + 3, width);
  };
  const all = [...document.querySelectorAll("body *")].filter(e => seen(e) && !inside(e) && e.textContent.trim());
  const size = t => parseFloat(getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b);
  return {
    across: document.documentElement.scrollWidth,
    shown: [...document.querySelectorAll(".drawing")].filter(seen).length,
    figures: document.querySelectorAll("figure").length,
    cut: [...svgTexts.filter(beyond), ...all.filter(e => e.getBoundingClientRect().right > width + 1),
          ...all.filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1)].map(text),
    scrolls: [...document.querySelectorAll(".scroll")].filter(
      s => seen(s) && s.scrollWidth > s.clientWidth + 1).map(text),
    smallest: Math.min(...svgTexts.map(size)),
    nameless: [...document.querySelectorAll(".drawing")].filter(
      d => d.getAttribute("role") !== "img" || (d.getAttribute("aria-label") || "").length < 20).map(text),
    bare: [...document.querySelectorAll("figure")].filter(
      f => !f.querySelector("figcaption") || !f.querySelector("details table tbody tr")).map(text),
    unlabelled: [...document.querySelectorAll("section")].filter(
      s => !document.getElementById(s.getAttribute("aria-labelledby"))).map(text),
    ground: getComputedStyle(document.body).backgroundColor,
    foreground: getComputedStyle(document.body).color,
  };
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Kind -> its report on disk."""
    base = tmp_path_factory.mktemp("runs")
    tenants = test_report_tenants
    vpcs = tenants.run(base, {"changes": [tenants.CHANGE], "proofs": [tenants.PROOF]}, tenants.stream("h3", "h7", 2))
    run_factory.write_lines(vpcs.counters_path, run_factory.counters(vpcs.fabric))
    runs = {"training": run_factory.ring(base, "SUSPECT", 2, queues={"leaf1->h3": 1100, "leaf1->spine2": 104}),
            "inference": _serving(base), "vpcs": vpcs}
    compared = base / "study.html"
    compared.write_text(study_page(analyse(test_cost_study.study(
        two=test_cost_study.design([10.0, 12.0, 11.0]), four=test_cost_study.design([9.0, 9.5, 9.2], spines=4)))))
    return {"study": compared, **{kind: run.write_report(build(run)) for kind, run in runs.items()}}


def _serving(base: Path) -> Any:
    spec = run_factory.scenario("chat", "How soon do first tokens come?", workloads={
        "chat": {"kind": "serving", "rate": 1, "clients": ["h8"], "kv_memory": "1GB"}})
    return run_factory.make(base, spec, records=run_factory.serving(), samples=run_factory.counters(
        expand(spec.fabric)), verdict=run_factory.verdict(), ledger=run_factory.ledger())


@pytest.mark.parametrize("width", [DESK, TELEPHONE])
@pytest.mark.parametrize("kind", FIGURES)
def test_a_page_is_whole_readable_and_silent(browser: Browser, pages: dict[str, Path], kind: str, width: int) -> None:
    browser.open(pages[kind], width)
    found = browser.run(PROBE)
    assert found["across"] <= width
    assert found["shown"] == found["figures"] == FIGURES[kind]
    assert found["cut"] == []
    assert found["scrolls"] == []       # tables that are not folded away fit
    assert found["smallest"] >= SMALLEST
    assert [found[fault] for fault in ("nameless", "bare", "unlabelled")] == [[], [], []]
    fetched = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert fetched == [pages[kind].as_uri()]
    assert [e for e in browser.events if e["method"] != "Network.requestWillBeSent"] == []


@pytest.mark.parametrize("kind", FIGURES)
def test_dark_is_dark_and_light_is_light(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    grounds = []
    for dark in (False, True):
        browser.open(pages[kind], DESK, dark=dark)
        found = browser.run(PROBE)
        grounds.append([int(part) for part in found["ground"][4:-1].split(",")])
        assert found["ground"] != found["foreground"]
    assert min(grounds[0]) > 240
    assert max(grounds[1]) < 40


@pytest.mark.parametrize("kind", FIGURES)
def test_paper_shows_all_of_it(browser: Browser, pages: dict[str, Path], kind: str) -> None:
    browser.open(pages[kind], PAPER, dark=True, media="print")
    found = browser.run(PROBE)
    assert found["ground"] in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
    assert found["shown"] == FIGURES[kind]
    assert found["cut"] == []
    assert browser.run("[...document.querySelectorAll('.scroll')].every(s => s.scrollHeight <= s.clientHeight + 1)")
    assert browser.pdf().startswith(b"%PDF-")


def test_the_probe_finds_what_is_wrong(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """A page with a line too long, a drawing without a name and a script that fails."""
    text = pages["training"].read_text().replace("default-src 'none'", "script-src 'unsafe-inline'")
    wrong = tmp_path / "wrong.html"
    wrong.write_text(text.replace("<main>", "<main><p style='white-space: nowrap'>" + "too long " * 40 + "</p>"
                                  "<div style='overflow: hidden; width: 40px; white-space: nowrap'>cut off here</div>"
                                  "<figure><div class='drawing'>?</div></figure><script>nothing()</script>"
                                  "<img src='missing.png'>"))
    browser.open(wrong, TELEPHONE)
    found = browser.run(PROBE)
    assert found["across"] > TELEPHONE
    assert any(t.startswith("too long") for t in found["cut"])
    assert "cut off here" in found["cut"]
    assert found["nameless"] == ["?"]
    assert found["bare"] == ["?"]
    assert {"Runtime.exceptionThrown", "Network.requestWillBeSent"} <= {e["method"] for e in browser.events}
    assert len([e for e in browser.events if e["method"] == "Network.requestWillBeSent"]) > 1
