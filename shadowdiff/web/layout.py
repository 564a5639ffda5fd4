"""Render pages off the event loop with templates that escape every value, and hold the web port's parts."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from shadowdiff.config import WebConfig
from shadowdiff.display import wording
from shadowdiff.display.sample_view import response_status
from shadowdiff.queries.causes import sentence_parts
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.route_templates import routes_yaml
from shadowdiff.verdict import top_loss
from shadowdiff.web.access import LOCAL, Access
from shadowdiff.web.chart import funnel_bars
from shadowdiff.web.request_context import csrf_field, current_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from shadowdiff.erasure.erasure import Eraser
    from shadowdiff.queries.targets import Queries
    from shadowdiff.report import TriageWriter
    from shadowdiff.rule_changes.changes import RuleChanges
    from shadowdiff.web.audit import AuditLog

_STATIC: Final = {
    "style.css": "text/css; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """The parts that the web port's handlers use.

    access: returns the current access control.  closing: set when the port is about to close, so that streams end.
    triage: None if states and notes are not stored.  audit: None if changes are not stored.
    eraser: None if data cannot be erased.
    store: a one-line description of the store, such as "embedded redis 7.0.15 (durable)".
    settings: the `web` section of the configuration.
    mirror_port, record_port: the ports for mirrored requests and for records, shown in setup hints.
    hosts: allowed Host names; `()` allows any name. A port bound to loopback allows loopback names only, so that
    another website cannot read it through a host name that resolves to this address (DNS rebinding).
    """

    queries: Queries
    rules: RuleChanges
    access: Callable[[], Access] = lambda: LOCAL
    triage: TriageWriter | None = None
    audit: AuditLog | None = None
    eraser: Eraser | None = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    version: str = ""
    store: str = ""
    settings: WebConfig = field(default_factory=WebConfig)
    mirror_port: int = 8080
    record_port: int = 8081
    hosts: tuple[str, ...] = ()

    @property
    def now_s(self) -> float:
        """The current time in Unix seconds."""
        return self.queries.now_ms() / 1000


class Layout:
    """The pages' templates, static files and data."""

    def __init__(self, web: WebParts) -> None:
        self.web = web
        self.queries = web.queries
        self.static = {name: files("shadowdiff.web").joinpath("static", name).read_bytes() for name in _STATIC}
        self._templates = Environment(
            loader=PackageLoader("shadowdiff.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        cast("dict[str, Any]", self._templates.filters).update(
            inspect.getmembers(wording, inspect.isfunction),
            describe_cause=sentence_parts,
            top_loss=top_loss,
            response_status=response_status,
            funnel_bars=funnel_bars,
            count="{:,}".format,
            routes_yaml=routes_yaml,
        )
        cast("dict[str, Any]", self._templates.globals).update(
            version=web.version,
            store=web.store,
            settings=web.settings,
            static_version=hashlib.blake2b(b"".join(self.static.values()), digest_size=4).hexdigest(),
            age=wording.age,
            csrf_field=csrf_field,
            visitor=lambda: current_request().caller,
        )

    async def html(
        self, template: str, status: int = 200, make: Callable[[], dict[str, Any]] = dict, **values: Any
    ) -> Response:
        """Return a rendered page. make: returns additional values for the template; called in the rendering thread."""
        now_ms = self.queries.now_ms()
        render = self._templates.get_template(template).render
        text = await asyncio.to_thread(lambda: render(now_ms=now_ms, **values, **make()))
        return HTMLResponse(text, status)

    async def error(self, status: int, line: str) -> Response:
        """Return an error as a page."""
        return await self.html("error.html", status=status, code=status, line=line)


async def show_file(layout: Layout, request: Request) -> Response:
    """Return a static file of the pages."""
    name = request.path_params["name"]
    if name not in layout.static:
        raise RequestError(404, f"There is no file {name!r} here.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(layout.static[name], media_type=_STATIC[name], headers=headers)


def refresh_s(request: Request) -> int:
    """Return the reload interval in seconds of a page without JavaScript; 0 if the page does not reload."""
    given = request.query_params.get("live", "")
    return min(max(int(given), 2), 300) if re.fullmatch(r"[0-9]{1,4}", given) else 0
