"""A page as one file to share: its styles inside, and nothing that runs, asks or leads anywhere.

In: a page as these templates lay it out (what a field holds is escaped, so that every tag is the template's own).
Out: the same page without links, forms, buttons, scripts and pictures.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from starlette.responses import Response

_WHOLE: Final = re.compile(r"<(script|nav|form|dialog|button|footer)\b[^>]*>.*?</\1>", re.DOTALL)
_EMPTY: Final = re.compile(r"<(?:link|img|input)\b[^>]*>|<meta http-equiv=[^>]*>")
_LINK: Final = re.compile(r"<a\b[^>]*>(.*?)</a>", re.DOTALL)
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]+")
_HEAD: Final = (
    """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">\n<style>\n"""
)


def standalone(page: str, style: str) -> str:
    """Return a page as one file."""
    plain = _LINK.sub(r"<span>\1</span>", _EMPTY.sub("", _WHOLE.sub("", page)))
    return plain.replace("</title>", f"</title>\n{_HEAD}{style}</style>", 1)


def attachment(page: Response, style: str, name: str) -> Response:
    """Return a page as a file to keep."""
    text = standalone(bytes(page.body).decode(), style)
    named = _ODD.sub("-", name)[:120]
    return HTMLResponse(text, headers={"Content-Disposition": f'attachment; filename="{named}.html"'})
