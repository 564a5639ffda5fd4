"""How every page is made: a template that escapes everything, laid out beside the event loop.

In: a template's name and its values.  Out: HTML; the pages' own files.
Holds: what takes time to lay out is laid out in a thread, so that mirrored requests do not wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from shadowdiff.web import visit, words
from shadowdiff.web.funnel import bars
from shadowdiff.web.sample_view import answered

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from shadowdiff.web.state import WebState

_STATIC: Final = {
    "style.css": "text/css; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_LIVE_DIGITS: Final = 4


class Layout:
    """The templates and files of the pages."""

    def __init__(self, state: WebState) -> None:
        self._state = state
        self._static = {name: files("shadowdiff.web").joinpath("static", name).read_bytes() for name in _STATIC}
        self._templates = _environment()
        digest = hashlib.blake2b(b"".join(self._static.values()), digest_size=4).hexdigest()
        shared: dict[str, Any] = {"version": state.version, "store": state.store, "static_version": digest}
        cast("dict[str, Any]", self._templates.globals).update(shared | visit.shared())

    async def html(
        self, template: str, status: int = 200, make: Callable[[], dict[str, Any]] = dict, **values: Any
    ) -> Response:
        """Answer a template, laid out in a thread."""
        now_ms = self._state.now_ms()
        render = self._templates.get_template(template).render
        text = await asyncio.to_thread(lambda: render(now_ms=now_ms, **values, **make()))
        return HTMLResponse(text, status)

    @property
    def style(self) -> str:
        """The style sheet."""
        return self._static["style.css"].decode()

    async def error(self, status: int, line: str) -> Response:
        """Answer an error as a page."""
        return await self.html("error.html", status=status, code=status, line=line)

    async def static(self, request: Request) -> Response:
        """Answer a file of the pages."""
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404, f"There is no file {name!r} here.")
        kept = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(self._static[name], media_type=_STATIC[name], headers=kept)


def every_s(request: Request) -> int:
    """Return after how many seconds a page without a script asks again; 0 where it does not."""
    given = request.query_params.get("live", "")
    plain = given.isascii() and given.isdigit() and len(given) <= _LIVE_DIGITS
    return min(max(int(given), 2), 300) if plain else 0


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("shadowdiff.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "percent": words.percent,
        "milliseconds": words.milliseconds,
        "moment": words.moment,
        "iso": words.iso,
        "short_path": words.short_path,
        "cut": words.cut,
        "headline": words.headline,
        "fingerprint": words.fingerprint,
        "plain": words.plain,
        "reason": words.reason,
        "answered": answered,
        "funnel_bars": bars,
        "count": "{:,}".format,
        "as_rule": words.rule,
    }
    cast("dict[str, Any]", environment.filters).update(filters)
    cast("dict[str, Any]", environment.globals).update(age=words.age)
    return environment
