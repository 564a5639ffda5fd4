"""The page of a fingerprint: what it is in words, how often, what each side said, and what people make of it.

In: an id; plain forms for its state and its note.  Out: HTML, or a way back to the page after a change.
Holds: every form passed the `Entry` before it comes here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shadowdiff.report import Span, State, newest_samples, sample
from shadowdiff.web.chart import bars
from shadowdiff.web.fingerprints import NewNote, NewState, fingerprint_of, set_note, set_state
from shadowdiff.web.layout import every_s
from shadowdiff.web.operation import ApiError
from shadowdiff.web.rules_page import form_fields
from shadowdiff.web.sample_view import view
from shadowdiff.web.standalone import attachment

if TYPE_CHECKING:
    from starlette.requests import Request

    from shadowdiff.report import Summary
    from shadowdiff.web.fingerprints import Fingerprinted
    from shadowdiff.web.layout import Layout
    from shadowdiff.web.state import WebState

_LISTED: Final = 15
_SEE_OTHER: Final = 303


class FingerprintPage:
    """The page of a fingerprint."""

    def __init__(self, state: WebState, layout: Layout) -> None:
        self._state = state
        self._layout = layout

    def routes(self) -> list[Route]:
        """Return the routes of the page."""
        return [
            Route("/fingerprints/{id}", self.show, methods=["GET"], name="fingerprint-page"),
            Route("/fingerprints/{id}", self.change, methods=["POST"], name="fingerprint-form"),
        ]

    async def show(self, request: Request) -> Response:
        """Answer the page; `trend` chooses an hour, a day or a week, `download` makes it one file to keep."""
        if not request.query_params.get("download"):
            return await self._page(request)
        page = await self._page(request, to_keep=True)
        return attachment(page, self._layout.style, request.path_params["id"])

    async def change(self, request: Request) -> Response:
        """Set the state or the note, as the form says."""
        name = request.path_params["id"]
        try:
            given = await form_fields(request)
            await self._write(name, given)
        except ApiError as refusal:
            return await self._page(request, refusal.status, refusal=refusal.message)
        return RedirectResponse(f"/fingerprints/{name}", _SEE_OTHER)

    async def _write(self, name: str, given: dict[str, str]) -> None:
        author = given.get("author", "")
        if given.get("do") == "note":
            await set_note(self._state, name, NewNote(text=given.get("text", ""), author=author))
            return
        if given.get("state") not in set(State):
            raise ApiError(400, f"state is {given.get('state')!r}: give one of {', '.join(State)}")
        await set_state(self._state, name, NewState(state=State(given["state"]), author=author))

    async def _page(self, request: Request, status: int = 200, refusal: str = "", *, to_keep: bool = False) -> Response:
        state, asked = self._state, request.query_params.get("trend")
        span = Span(asked) if asked in set(Span) else None
        try:
            found = await fingerprint_of(state, request.path_params["id"], span or Span.DAY)
            if span is None and state.now_ms() - found.fingerprint.first_seen_ms < Span.HOUR.ms:
                span = Span.HOUR
                found = await fingerprint_of(state, request.path_params["id"], span)
        except ApiError as error:
            raise HTTPException(error.status, error.message) from error
        listed = await self._samples(found)
        example = await sample(state.reader, listed[0].id, since_ms=state.since_ms) if listed else None
        shown = await asyncio.to_thread(view, example) if example else None
        return await self._layout.html(
            "fingerprint.html",
            status,
            found=found.fingerprint,
            seen=found.seen,
            bars=bars(
                found.fingerprint.trend.counts, found.fingerprint.trend.start_ms, found.fingerprint.trend.step_ms
            ),
            span=span or Span.DAY,
            spans=list(Span),
            states=list(State),
            samples=listed,
            example=shown,
            refusal=refusal,
            to_keep=to_keep,
            writable=state.remarks is not None and not to_keep,
            live=every_s(request),
            stream=f"/live?target={found.fingerprint.target}",
        )

    async def _samples(self, found: Fingerprinted) -> list[Summary]:
        one, state = found.fingerprint, self._state
        return await newest_samples(state.reader, one.target, _LISTED, since_ms=state.since_ms, fingerprint=one.id)
