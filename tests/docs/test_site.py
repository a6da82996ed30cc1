"""The documentation as a site: every page is in its navigation, and it asks no other server for anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

from tests.docs.test_docs import PLACEHOLDER, ROOT

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


def test_every_page_that_code_and_ready_files_name_exists() -> None:
    files = [f for folder in ("topologies", "controller", "traffic", "scenarios", "tests", "vm")
             for f in (ROOT / folder).rglob("*") if f.suffix in (".py", ".yml", ".html", ".c", ".h") and f.is_file()]
    named = {(str(f.relative_to(ROOT)), page) for f in [*files, ROOT / "Makefile", ROOT / "Vagrantfile"]
             for page in re.findall(r"docs/[\w/-]+\.md", f.read_text())}
    assert len(named) > 50
    assert [n for n in sorted(named) if not PLACEHOLDER.search(n[1]) and not (ROOT / n[1]).is_file()] == []
