"""The page of a cause: its values, routes and samples, and the forms for its state and note."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.responses import RedirectResponse, Response

from shadowdiff.display.sample_view import view
from shadowdiff.queries.cause_detail import cause_detail, cause_samples
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.samples import find_sample
from shadowdiff.report import Span, State
from shadowdiff.web.cause_api import NewCauseNote, NewCauseState, set_cause_note, set_cause_state
from shadowdiff.web.chart import bars
from shadowdiff.web.layout import SEE_OTHER, refresh_s
from shadowdiff.web.request_context import read_form

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.web.layout import Layout, WebParts

_LISTED: Final = 15


async def show_cause(layout: Layout, request: Request) -> Response:
    """Return the page. `trend` selects an hour, a day or a week."""
    return await _cause_page(layout, request)


async def change_cause(layout: Layout, request: Request) -> Response:
    """Set the state or the note, depending on the form."""
    name = request.path_params["id"]
    try:
        await _write(layout.web, name, await read_form(request))
    except RequestError as error:
        return await _cause_page(layout, request, error.status, error=error.message)
    return RedirectResponse(f"/causes/{name}", SEE_OTHER)


async def _write(web: WebParts, name: str, given: dict[str, str]) -> None:
    author, state = given.get("author", ""), given.get("state")
    if given.get("do") == "note":
        await set_cause_note(web, name, NewCauseNote(text=given.get("text", ""), author=author))
    elif state in set(State):
        await set_cause_state(web, name, NewCauseState(state=State(state), author=author))
    else:
        raise RequestError(400, f"state is {state!r}: use one of {', '.join(State)}")


async def _cause_page(layout: Layout, request: Request, status: int = 200, error: str = "") -> Response:
    queries, asked = layout.queries, request.query_params.get("trend")
    span = Span(asked) if asked in set(Span) else None
    found = await cause_detail(queries, request.path_params["id"], span or Span.DAY)
    if span is None and queries.now_ms() - found.cause.first_seen_ms < Span.HOUR.ms:
        span = Span.HOUR
        found = await cause_detail(queries, request.path_params["id"], span)
    samples = await cause_samples(queries, found.cause.id, _LISTED)
    example = await find_sample(queries, samples[0].id) if samples else None
    trend = found.cause.trend
    return await layout.html(
        "cause.html",
        status,
        found=found,
        bars=bars(trend.counts, trend.start_ms, trend.step_ms) if trend else [],
        span=span or Span.DAY,
        spans=list(Span),
        states=list(State),
        samples=samples,
        example=await asyncio.to_thread(view, example) if example else None,
        error=error,
        writable=layout.web.triage is not None,
        live=refresh_s(request),
        stream=f"/live?target={found.cause.target}",
    )
