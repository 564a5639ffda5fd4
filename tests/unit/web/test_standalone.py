"""Export a sample or a fingerprint as one file to share, without scripts, requests or links."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from shadowdiff.cli import main
from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.serving import served
from tests.fakes.shop import open_shop, web_parts

if TYPE_CHECKING:
    from pathlib import Path


def _check_that_it_stands_alone(kept: str) -> None:
    """Check that the file loads nothing, links nowhere and runs nothing."""
    tags = re.findall(r"<\w+[^>]*>", re.sub(r"<style>.*?</style>", "", kept, flags=re.DOTALL))
    assert [] == [
        tag for tag in tags if re.search(r"\s(?:href|src|action|on\w+)=|<(?:script|form|link|iframe|img|button)", tag)
    ]
    assert [] == [part for part in ("To the content", "follow live") if part in kept]
    assert "<style>" in kept
    assert "default-src 'none'; style-src 'unsafe-inline'" in kept
    assert not re.search(r"@import|url\(", kept)


def _words(page: str, tag: str) -> str:
    return re.sub(r"<[^>]*>", "", re.findall(rf"<{tag}\b.*?</{tag}>", page, re.DOTALL)[0])


@pytest.mark.parametrize("form", ["split", "unified", "patch"])
async def test_a_sample_is_one_file(form: str) -> None:
    """The file contains the style and the whole content of the page."""
    app = create_web(web_parts(open_shop()))
    (found, *_) = (await get(app, "/api/v1/samples?target=shop&limit=1")).json["samples"]
    kept = await get(app, f"/samples/{found['id']}?view={form}&download=1")
    assert (kept.status, kept.headers["content-disposition"]) == (200, f'attachment; filename="{found["id"]}.html"')
    _check_that_it_stands_alone(kept.text)
    page = (await get(app, f"/samples/{found['id']}?view={form}")).text
    assert _words(page, "h1") == _words(kept.text, "h1")


async def test_a_fingerprint_is_one_file() -> None:
    """The file has its description, times, values of both sides and an example. The page links to it."""
    app = create_web(web_parts(open_shop()))
    (found, *_) = (await get(app, "/api/v1/fingerprints?target=shop&path=price")).json["fingerprints"]
    page = (await get(app, f"/fingerprints/{found['id']}")).text
    (link,) = re.findall(r'href="(/fingerprints/[^"]*download=1)"', page)
    kept = await get(app, html.unescape(link))
    assert (kept.status, kept.headers["content-disposition"]) == (200, f'attachment; filename="{found["id"]}.html"')
    _check_that_it_stands_alone(kept.text)
    assert _words(page, "h1") == _words(kept.text, "h1") == "price differs"
    for part in ("Values in v1 and v2", '<article class="sample">', "<mark>", '<rect class="bar-of"'):
        assert part in kept.text
    for part in ("your name", "as one HTML file", ">rule<"):
        assert (part in kept.text) is False


@pytest.mark.parametrize("what", ["sample", "fingerprint"])
def test_the_command_writes_the_same_file(what: str, tmp_path: Path) -> None:
    """The command is for users who work in a terminal and share the file."""
    with served(create_web(web_parts(open_shop()))) as url:
        listed = CliRunner().invoke(main, [f"{what}s", "--json", "--limit", "1", "--url", url])
        (name,) = re.findall(r'"id":\s*"([^"]+)"', listed.output)[:1]
        result = CliRunner().invoke(main, [what, name, "--html", str(tmp_path / "one.html"), "--url", url])
    assert (result.exit_code, name in result.output) == (0, True)
    assert (tmp_path / "one.html").read_text().startswith("<!doctype html>")
