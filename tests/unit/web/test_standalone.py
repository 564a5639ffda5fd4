"""A sample as one file to share: nothing in it runs, asks or leads anywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from shadowdiff.cli import main
from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.serving import served
from tests.fakes.shop import open_shop, web_state

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("form", ["split", "unified", "patch"])
async def test_a_sample_is_one_file(form: str) -> None:
    """With its style inside, and all that the page says."""
    app = create_web(web_state(open_shop()))
    (found, *_) = (await get(app, "/api/v1/samples?target=shop&limit=1")).json["samples"]
    kept = await get(app, f"/samples/{found['id']}?view={form}&download=1")
    assert (kept.status, kept.headers["content-disposition"]) == (200, f'attachment; filename="{found["id"]}.html"')
    tags = re.findall(r"<\w+[^>]*>", re.sub(r"<style>.*?</style>", "", kept.text, flags=re.DOTALL))
    assert [] == [
        tag for tag in tags if re.search(r"\s(?:href|src|action|on\w+)=|<(?:script|form|link|iframe|img)", tag)
    ]
    assert "<style>" in kept.text
    assert "style-src 'unsafe-inline'" in kept.text
    assert not re.search(r"@import|url\(", kept.text)
    page = (await get(app, f"/samples/{found['id']}?view={form}")).text
    heading = re.findall(r"<h1.*?</h1>", page, re.DOTALL)[0]
    assert re.sub(r"<[^>]*>", "", heading) in re.sub(r"<[^>]*>", "", kept.text)


def test_the_command_writes_the_same_file(tmp_path: Path) -> None:
    """For those who work in a terminal and share with those who do not."""
    with served(create_web(web_state(open_shop()))) as url:
        listed = CliRunner().invoke(main, ["samples", "--json", "--limit", "1", "--url", url])
        (name,) = re.findall(r'"id":\s*"([^"]+)"', listed.output)[:1]
        told = CliRunner().invoke(main, ["sample", name, "--html", str(tmp_path / "one.html"), "--url", url])
    assert (told.exit_code, name in told.output) == (0, True)
    assert (tmp_path / "one.html").read_text().startswith("<!doctype html>")
