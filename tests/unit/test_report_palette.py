"""Colours of reports: contrast as WCAG 2.2 asks for it, and series that colour-blind readers tell apart."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest

import scenarios.report
from scenarios.report.charts.canvas import DASHES, Ink

CSS = (Path(scenarios.report.__file__).parent / "report.css").read_text()
BLOCKS = dict(zip(("light", "dark"), re.findall(r":root \{(.*?)\}", CSS, re.DOTALL), strict=True))
SERIES = [f"s{n}" for n in range(1, len(Ink.SERIES) + 1)]
LOADS = [f"l{n}" for n in range(1, len(Ink.LOAD) + 1)]
TEXT, GRAPHIC = 4.5, 3.0        # WCAG 2.2, 1.4.3 and 1.4.11, level AA
# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB
BLIND = {
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}


def colours(scheme: str) -> dict[str, np.ndarray]:
    """Variable -> linear RGB."""
    found = re.findall(r"--([\w-]+): (#[0-9a-f]{6});", BLOCKS[scheme])
    return {name: linear(text) for name, text in found}


def linear(text: str) -> np.ndarray:
    s = np.array([int(text[i:i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)


def luminance(rgb: np.ndarray) -> float:
    return float(rgb @ [0.2126, 0.7152, 0.0722])


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b*, D65."""
    xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                    [0.0193339, 0.1191920, 0.9503041]]) @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast(linear("#000000"), linear("#ffffff")) == pytest.approx(21)
    assert contrast(linear("#777777"), linear("#ffffff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", BLOCKS)
@pytest.mark.parametrize(("text", "ground"), [
    *((t, g) for t in ("fg", "muted", "accent", "bad") for g in ("paper", "panel")),
    *((level, "paper") for level in ("valid", "suspect", "invalid")),
    *((t, f"{level}-bg") for level in ("valid", "suspect", "invalid") for t in (level, "fg"))])
def test_every_text_has_the_contrast_of_level_aa(scheme: str, text: str, ground: str) -> None:
    found = colours(scheme)
    assert contrast(found[text], found[ground]) >= TEXT


@pytest.mark.parametrize("scheme", BLOCKS)
@pytest.mark.parametrize("name", [*SERIES, *LOADS, "bad"])
def test_every_line_and_bar_stands_out_from_its_ground(scheme: str, name: str) -> None:
    found = colours(scheme)
    assert contrast(found[name], found["paper"]) >= GRAPHIC


@pytest.mark.parametrize("scheme", BLOCKS)
def test_classes_of_load_grow_darker_or_lighter_step_by_step(scheme: str) -> None:
    found = colours(scheme)
    steps = [contrast(found[name], found["paper"]) for name in LOADS]
    assert steps == sorted(steps)
    assert all(b / a > 1.2 for a, b in pairwise(steps))


@pytest.mark.parametrize("scheme", BLOCKS)
@pytest.mark.parametrize("kind", ["none", *BLIND])
def test_series_differ_for_every_eye_or_by_their_dashes(scheme: str, kind: str) -> None:
    """The first four, which most figures have, by colour alone; all of them by colour and dashes."""
    found, seen = colours(scheme), BLIND.get(kind, np.eye(3))
    shown = [lab(seen @ found[name]) for name in SERIES]
    apart = {(a, b): float(np.linalg.norm(shown[a] - shown[b])) for a, b in combinations(range(len(SERIES)), 2)}
    assert min(apart[a, b] for a, b in combinations(range(4), 2)) > 10
    assert len({str(d) for d in DASHES}) == len(DASHES) == len(SERIES)
