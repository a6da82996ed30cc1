"""The documentation as a site: every page is in its navigation, and it asks no other server for anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

from tests.docs.test_docs import ROOT

SITE: dict[str, Any] = YAML(typ="safe").load(ROOT / "mkdocs.yml")


def pages(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for target in entry.values():
            if isinstance(target, str):
                yield target
            else:
                yield from pages(target)


def test_every_page_is_in_the_navigation_and_on_the_home_page() -> None:
    there = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md") if p.parent.name != "decisions"}
    assert set(pages(SITE["nav"])) == there
    home = (ROOT / "docs/index.md").read_text()
    assert [p for p in sorted(there - {"index.md"}) if f"]({p})" not in home] == []


def test_the_site_has_no_fonts_and_no_scripts_from_other_servers() -> None:
    assert SITE["theme"]["font"] is False
    assert not set(SITE) & {"extra_javascript", "extra_css"}
    assert SITE["plugins"] == ["search"]
