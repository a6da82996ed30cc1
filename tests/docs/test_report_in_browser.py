"""The report as a browser shows it: at desk and telephone width, light and dark, nothing cut, nothing fetched."""

from __future__ import annotations

import html
import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from scenarios.report.page import build
from tests.unit import run_factory

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars")
# Measures the page inside a frame of the wanted width: Chromium's own window is never narrower than 500 pixels.
PROBE = """
<!DOCTYPE html><meta charset="utf-8">
<iframe id="f" style="border:0;width:{width}px;height:9000px" srcdoc="{page}"></iframe>
<pre id="out">not measured</pre>
<script>
const frame = document.getElementById("f");
frame.onload = () => {{
  const d = frame.contentDocument, w = frame.contentWindow, bad = [];
  for (const text of d.querySelectorAll("svg text")) {{
    const box = text.getBoundingClientRect(), edge = text.ownerSVGElement.getBoundingClientRect();
    if (box.width && (box.left < edge.left - 3 || box.right > edge.right + 3)) bad.push(text.textContent);
  }}
  const sizes = [...d.querySelectorAll("svg text")].filter(t => t.getBoundingClientRect().width)
    .map(t => parseFloat(w.getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b));
  document.getElementById("out").textContent = JSON.stringify({{
    across: d.documentElement.scrollWidth,
    shown: [...d.querySelectorAll(".drawing")].filter(x => x.offsetHeight).length,
    cut: bad, smallest: Math.min(...sizes), fetched: w.performance.getEntriesByType("resource").length}});
}};
</script>
"""


def _chromium(tmp_path: Path, page: Path, *arguments: str) -> str:
    profile = tmp_path / "profile"
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *arguments, page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False)
    shutil.rmtree(profile, ignore_errors=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _page(tmp_path: Path) -> str:
    run = run_factory.ring(tmp_path, "SUSPECT", 2, queues={"leaf1->h3": 1100, "leaf1->spine2": 104})
    # the frame that measures is not part of the page, so the page's own policy must let it in
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", build(run))


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_cut_and_every_text_can_be_read(tmp_path: Path, width: int) -> None:
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(width=width, page=html.escape(_page(tmp_path), quote=True)))
    dom = _chromium(tmp_path, probe, "--dump-dom", "--virtual-time-budget=5000", "--window-size=1400,1000")
    match = re.search(r'<pre id="out">(.*?)</pre>', dom, flags=re.DOTALL)
    assert match is not None
    found = json.loads(html.unescape(match[1]))
    assert found["across"] <= width
    assert found["shown"] == 4
    assert found["cut"] == []
    assert found["smallest"] >= 8
    assert found["fetched"] == 0


def test_light_and_dark_differ_where_they_should(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(_page(tmp_path))
    corner = {}
    for name, flags in (("light", ()), ("dark", ("--force-dark-mode", "--blink-settings=preferredColorScheme=0"))):
        shot = tmp_path / f"{name}.png"
        _chromium(tmp_path, page, f"--screenshot={shot}", "--window-size=1280,1000", *flags)
        corner[name] = _first_pixel(shot)
    assert min(corner["light"]) > 240
    assert max(corner["dark"]) < 40


def _first_pixel(png: Path) -> tuple[int, int, int]:
    """Red, green and blue of the top left pixel; with any PNG filter it stands unchanged after the filter byte."""
    data = png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        (length,) = struct.unpack(">I", data[at:at + 4])
        if data[at + 4:at + 8] == b"IDAT":
            packed += data[at + 8:at + 8 + length]
        at += 12 + length
    row = zlib.decompress(packed)
    return row[1], row[2], row[3]
