"""Secrets in HTML pages are hidden in the differences of their trees: values, paths and places."""

from __future__ import annotations

import pytest

from shadowdiff.compare import Limits
from shadowdiff.model import Headers, Side
from shadowdiff.report import Redactor
from shadowdiff.report.redact_diff import SideText
from tests.fakes.responses import compared, judged, response

HTML: Headers = ((b"content-type", b"text/html; charset=utf-8"),)


@pytest.mark.parametrize(
    "page",
    [
        '<form><input name="password" value="{}"></form>',
        "<p>password: {}</p>",
        "<p class='x'>password: {} <b>now</b></p>",
        '<a href="/reset?token={}&amp;x=1">Reset</a>',
        '<script>var config = {{"token": "{}"}};</script>',
        '<div data-token="{}">x</div>',
        "<p>password:   {}</p>",
        "<p>token={}&amp;a=1</p>",
        "<table><tr><td>x</td></tr></table><pre>Authorization: Bearer {}</pre>",
        "<textarea>secret={}</textarea>",
        '<a href="/x" data-api-key="{}">y</a>',
    ],
)
@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("pair", [("hunter2tiger9", "zebra7panda3"), ("hunter", "rabbit"), ("hunter-1", "hunter-2")])
def test_a_secret_of_a_page_is_not_shown(page: str, pair: tuple[str, str], *, gone: bool) -> None:
    """Neither a changed secret nor one in an element of one side is in a difference."""
    secret, secret_other = pair
    redactor = Redactor(b"a key")
    texts = (
        f"<main>{page.format(secret)}</main>",
        "<main></main>" if gone else f"<main>{page.format(secret_other)}</main>",
    )
    primary, candidate = (
        response(side, text.encode(), HTML) for side, text in zip((Side.PRIMARY, Side.CANDIDATE), texts, strict=True)
    )
    found = compared(primary, candidate, limits=Limits()).differences
    assert found
    sides = SideText(primary, redactor), SideText(candidate, redactor)
    for one in found:
        shown = redactor.difference(one, sides)
        for text in (shown.primary, shown.candidate, shown.path, shown.pattern, redactor.place(one.pattern)):
            assert secret not in (text or "")
            assert secret_other not in (text or "")


def test_a_place_has_the_label_before_a_text() -> None:
    """Redaction needs the label to recognize a secret in a place."""
    pages = [f"<p>password: <b>hunter-{number}</b></p>".encode() for number in (1, 2)]
    (found,) = judged(*pages, headers=HTML).differences
    assert found.pattern.startswith("html.p.text[password:")
    assert "hunter" not in Redactor(b"a key").place(found.pattern)
