"""The page of a sample: both answers, what differs between them, and what to do with it.

In: a sample's id and how it is to be shown.  Out: HTML.
Holds: reads only; the neighbours are the newest samples of its group, which are bounded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.routing import Route

from shadowdiff.report import newest_samples, sample
from shadowdiff.web.curl import curl, host_of
from shadowdiff.web.sample_view import view
from shadowdiff.web.standalone import attachment
from shadowdiff.web.unified import patch_text, unified
from shadowdiff.web.views import without_credentials

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.report import Sample
    from shadowdiff.web.layout import Layout
    from shadowdiff.web.state import WebState

FORMS: Final = ("split", "unified", "patch")
_AROUND: Final = 1000
"""Among so many of the newest samples the neighbours are looked for."""
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_B3: Final = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")


class Neighbours(NamedTuple):
    """The samples before and after one, by time; None at the ends."""

    newer: str | None = None
    older: str | None = None


class SamplePage:
    """The page of a sample."""

    def __init__(self, state: WebState, layout: Layout) -> None:
        self._state = state
        self._layout = layout

    def routes(self) -> list[Route]:
        """Return the route of the page."""
        return [Route("/samples/{id}", self.show, methods=["GET"], name="sample-page")]

    async def show(self, request: Request) -> Response:
        """Answer the page; `view` chooses split, unified or patch, `download` makes it one file to keep."""
        found = await sample(self._state.reader, request.path_params["id"], since_ms=self._state.since_ms)
        if found is None:
            raise HTTPException(404, "This sample expired, or newer ones took its place.")
        asked = request.query_params.get("view")
        form = asked if asked in FORMS else FORMS[0]
        near = await self._neighbours(found)
        to_keep = bool(request.query_params.get("download"))
        page = await self._layout.html(
            "sample.html", make=lambda: self._laid(found, form), form=form, near=near, to_keep=to_keep
        )
        return attachment(page, self._layout.style, found.id) if to_keep else page

    def _laid(self, found: Sample, form: str) -> dict[str, Any]:
        shown = view(found)
        rows = [row for block in shown.body.blocks for row in block.rows]
        return {
            "view": shown,
            "forms": FORMS,
            "unified": unified(shown.body.blocks) if form == "unified" else [],
            "patch": patch_text(rows, "v1", "v2") if form == "patch" else "",
            "curls": self._curls(found),
            "trace_id": trace_id(found),
            "trace_url": self._trace_url(found),
        }

    def _curls(self, found: Sample) -> list[tuple[str, str]]:
        """Return a command for each side."""
        configured = self._state.target(found.target)
        to_v1 = ("v1", curl(found, f"http://{host_of(found)}"))
        if configured is None:
            return [to_v1]
        return [to_v1, ("v2", curl(found, without_credentials(configured.target.candidate.url)))]

    def _trace_url(self, found: Sample) -> str | None:
        trace = trace_id(found)
        return self._state.trace_url.replace("{trace_id}", trace) if self._state.trace_url and trace else None

    async def _neighbours(self, found: Sample) -> Neighbours:
        lines = await newest_samples(
            self._state.reader,
            found.target,
            _AROUND,
            result=found.result,
            since_ms=self._state.since_ms,
            fingerprint=found.fingerprint,
        )
        ids = [line.id for line in lines]
        if found.id not in ids:
            return Neighbours()
        at = ids.index(found.id)
        return Neighbours(ids[at - 1] if at else None, ids[at + 1] if at + 1 < len(ids) else None)


def trace_id(found: Sample) -> str | None:
    """Return the id of the trace that the request belongs to, as its W3C or B3 headers say."""
    headers = dict(found.request_headers)
    parent = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if parent:
        return parent[1]
    b3 = headers.get("x-b3-traceid") or headers.get("b3", "").partition("-")[0]
    return b3 if _B3.fullmatch(b3) else None
