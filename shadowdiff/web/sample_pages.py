"""The pages of a sample and of a fingerprint, which can also be downloaded as a single file."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import HTMLResponse, RedirectResponse, Response

from shadowdiff.display.body_diff import patch_text
from shadowdiff.display.curl import curl, curl_of_side, host_of
from shadowdiff.display.sample_view import view
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.fingerprints import fingerprint_detail
from shadowdiff.queries.samples import find_sample
from shadowdiff.report import Span, State, newest_samples
from shadowdiff.web.chart import bars
from shadowdiff.web.fingerprint_api import NewNote, NewState, set_note, set_state
from shadowdiff.web.layout import SEE_OTHER, refresh_s
from shadowdiff.web.request_context import audit, read_form

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.queries.targets import Queries
    from shadowdiff.report import Sample
    from shadowdiff.web.layout import Layout, WebParts

FORMS: Final = ("split", "unified", "patch")
_LISTED: Final = 15
_NEIGHBORS_SEARCHED: Final = 1000
"""Number of newest samples that are searched for the neighbors of a sample."""
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_B3: Final = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_ELEMENTS: Final = re.compile(r"<(script|nav|form|dialog|button|footer)\b[^>]*>.*?</\1>", re.DOTALL)
_TAGS: Final = re.compile(r"<(?:link|img|input)\b[^>]*>|<meta http-equiv=[^>]*>")
_LINK: Final = re.compile(r"<a\b[^>]*>(.*?)</a>", re.DOTALL)
_UNSAFE_IN_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_HEAD: Final = (
    """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">\n<style>\n"""
)


async def show_sample(layout: Layout, request: Request) -> Response:
    """Return the page. `view` selects split, unified or patch; `download` returns the page as a file."""
    queries = layout.queries
    found = await find_sample(queries, request.path_params["id"])
    asked = request.query_params.get("view")
    form = asked if asked in FORMS else FORMS[0]
    near = await _neighbors(queries, found)
    if to_keep := bool(request.query_params.get("download")):
        audit("sample exported", found.target, sample=found.id, format="html")

    def make() -> dict[str, Any]:
        shown, trace = view(found), trace_id(found)
        rows = [row for block in shown.body.blocks for row in block.rows]
        trace_url = layout.web.settings.trace_url
        curls = [("v1", curl(found, f"http://{host_of(found)}"))]
        if target := queries.find(found.target):
            curls.append(("v2", curl_of_side(found, target.target.candidate)))
        return {
            "view": shown,
            "forms": FORMS,
            "patch": patch_text(rows, "v1", "v2") if form == "patch" else "",
            "curls": curls,
            "trace_id": trace,
            "trace_url": trace_url.replace("{trace_id}", trace) if trace_url and trace else None,
        }

    page = await layout.html("sample.html", make=make, form=form, near=near, to_keep=to_keep)
    return _attachment(layout, page, found.id) if to_keep else page


async def _neighbors(queries: Queries, found: Sample) -> dict[str, str | None]:
    """Return the ids of the next newer and the next older sample; None if there is no such sample."""
    lines = await newest_samples(
        queries.reader,
        found.target,
        _NEIGHBORS_SEARCHED,
        result=found.result,
        since_ms=queries.since_ms,
        fingerprint=found.fingerprint,
    )
    ids = [None, *(line.id for line in lines), None]
    if found.id not in ids:
        return {"newer": None, "older": None}
    at = ids.index(found.id)
    return {"newer": ids[at - 1], "older": ids[at + 1]}


async def show_fingerprint(layout: Layout, request: Request) -> Response:
    """Return the page. `trend` selects an hour, a day or a week; `download` returns the page as a file."""
    to_keep = bool(request.query_params.get("download"))
    page = await _fingerprint_page(layout, request, to_keep=to_keep)
    return _attachment(layout, page, request.path_params["id"]) if to_keep else page


async def change_fingerprint(layout: Layout, request: Request) -> Response:
    """Set the state or the note, depending on the form."""
    name = request.path_params["id"]
    try:
        await _write(layout.web, name, await read_form(request))
    except RequestError as error:
        return await _fingerprint_page(layout, request, error.status, error=error.message)
    return RedirectResponse(f"/fingerprints/{name}", SEE_OTHER)


async def _write(web: WebParts, name: str, given: dict[str, str]) -> None:
    author, state = given.get("author", ""), given.get("state")
    if given.get("do") == "note":
        await set_note(web, name, NewNote(text=given.get("text", ""), author=author))
    elif state in set(State):
        await set_state(web, name, NewState(state=State(state), author=author))
    else:
        raise RequestError(400, f"state is {state!r}: use one of {', '.join(State)}")


async def _fingerprint_page(
    layout: Layout, request: Request, status: int = 200, error: str = "", *, to_keep: bool = False
) -> Response:
    queries, asked = layout.queries, request.query_params.get("trend")
    span = Span(asked) if asked in set(Span) else None
    found = await fingerprint_detail(queries, request.path_params["id"], span or Span.DAY)
    if span is None and queries.now_ms() - found.fingerprint.first_seen_ms < Span.HOUR.ms:
        span = Span.HOUR
        found = await fingerprint_detail(queries, request.path_params["id"], span)
    one, reader, since_ms = found.fingerprint, queries.reader, queries.since_ms
    listed = await newest_samples(reader, one.target, _LISTED, since_ms=since_ms, fingerprint=one.id)
    if to_keep:
        audit("fingerprint exported", one.target, fingerprint=one.id, format="html")
    example = await find_sample(queries, listed[0].id) if listed else None
    return await layout.html(
        "fingerprint.html",
        status,
        found=one,
        places=found.places,
        bars=bars(one.trend.counts, one.trend.start_ms, one.trend.step_ms),
        span=span or Span.DAY,
        spans=list(Span),
        states=list(State),
        samples=listed,
        example=await asyncio.to_thread(view, example) if example else None,
        error=error,
        to_keep=to_keep,
        writable=layout.web.triage is not None and not to_keep,
        live=refresh_s(request),
        stream=f"/live?target={one.target}",
    )


def trace_id(found: Sample) -> str | None:
    """Return the id of the request's trace, from its W3C or B3 headers."""
    headers = dict(found.request_headers)
    parent = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if parent:
        return parent[1]
    b3 = headers.get("x-b3-traceid") or headers.get("b3", "").partition("-")[0]
    return b3 if _B3.fullmatch(b3) else None


def _attachment(layout: Layout, page: Response, name: str) -> Response:
    """Return a page as a single file: styles are inline; links, forms, scripts and images are removed.

    page: a page from these templates. Only templates contain tags, because fields are escaped.
    """
    plain = _LINK.sub(r"<span>\1</span>", _TAGS.sub("", _ELEMENTS.sub("", bytes(page.body).decode())))
    style = layout.static["style.css"].decode()
    text = plain.replace("</title>", f"</title>\n{_HEAD}{style}</style>", 1)
    file_name = _UNSAFE_IN_NAME.sub("-", name)[:120]
    return HTMLResponse(text, headers={"Content-Disposition": f'attachment; filename="{file_name}.html"'})
