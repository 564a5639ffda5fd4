"""Every page is reachable from docs/README.md, and every relative link and anchor has a destination."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]
START = ROOT / "docs" / "README.md"
_FOLDERS = ("docs", "recorder", "charts", "deploy", "examples", "fixtures")
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")
_FENCE = re.compile(r"^([ ]*)(```+|~~~+).*?^\1\2[ ]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


def pages() -> list[Path]:
    """Return the pages of the repository, without installed packages."""
    below = (page for folder in _FOLDERS for page in (ROOT / folder).rglob("*.md"))
    return sorted([*ROOT.glob("*.md"), *below])


@cache
def prose(page: Path) -> str:
    """Return a page without its code blocks, which contain no links and headings."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as rendered."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(page)):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = 0
        while (slug if not number else f"{slug}-{number}") in found:
            number += 1
        found.add(slug if not number else f"{slug}-{number}")
    return found


def links(page: Path) -> list[tuple[str, Path, str]]:
    """Return a page's links into the repository: as written, the file, the anchor."""
    found: list[tuple[str, Path, str]] = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        found.append((link, (page.parent / unquote(path)).resolve() if path else page, anchor))
    return found


def test_every_relative_link_leads_to_a_file_and_a_heading_of_it() -> None:
    """A relative link never ends at a missing file or heading."""
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages()
        for link, file, anchor in links(page)
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file))
    ]
    assert [] == broken


def test_every_file_of_the_docs_is_reachable_from_their_index() -> None:
    """Readers find a page only if the index leads to it."""
    seen, ahead = set[Path](), [START]
    while ahead:
        page = ahead.pop()
        seen.add(page)
        if page.suffix == ".md":
            ahead += [file for _, file, _ in links(page) if file.is_file() and file not in seen]
    files = {file for file in (ROOT / "docs").rglob("*") if file.is_file()}
    assert set() == {str(file.relative_to(ROOT)) for file in files - seen}


def test_the_index_lists_every_page() -> None:
    """A page is found without reading another page first."""
    listed = {file for _, file, _ in links(START)}
    assert set() == {page.name for page in (ROOT / "docs").glob("*.md")} - {file.name for file in listed} - {START.name}


def test_the_checks_read_headings_and_links() -> None:
    """The checks handle formatted headings, repeated headings, and links inside code."""
    assert {"exact-values-fast", "redis"} <= anchors(ROOT / "ARCHITECTURE.md")
    assert ["a.md#b", "c.svg"] == _LINK.findall("[a](a.md#b) ![c](c.svg)")
    assert "![no](no.md)" not in _FENCE.sub("", "a\n```\n![no](no.md)\n```\nb")
