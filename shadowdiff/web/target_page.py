"""The page of a target: its verdict, how that went, what differs, its routes, and what was lost on the way.

In: a target's name, and what to choose and how to order it.  Out: HTML.
Holds: reads only; everything listed is a page of bounded length.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.routing import Route

from shadowdiff.model import Kind, Result, Severity
from shadowdiff.report import Order, State
from shadowdiff.web.advice import advice
from shadowdiff.web.fingerprints import FINGERPRINTS, page_of, wanted_of
from shadowdiff.web.funnel import whole_funnel
from shadowdiff.web.layout import every_s
from shadowdiff.web.operation import ApiError
from shadowdiff.web.sample_filter import chosen_samples
from shadowdiff.web.target_view import SPANS, course, window_of
from shadowdiff.web.trend import WINDOWS
from shadowdiff.web.views import report

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.web.layout import Layout
    from shadowdiff.web.state import WebState

_LISTED: Final = 15
_PAGE: Final = 25
_CHOOSING: Final = ("route", "kind", "severity", "state", "path", "since")
_PARAMETERS: Final = {parameter.name: parameter for parameter in FINGERPRINTS[0].parameters}


class TargetPage:
    """The page of a target."""

    def __init__(self, state: WebState, layout: Layout) -> None:
        self._state = state
        self._layout = layout

    def routes(self) -> list[Route]:
        """Return the route of the page."""
        return [Route("/targets/{target}", self.show, methods=["GET"], name="target-page")]

    async def show(self, request: Request) -> Response:
        """Answer the page; `route`, `kind`, `severity`, `state`, `path` and `since` choose what it lists."""
        state, name = self._state, request.path_params["target"]
        found = state.target(name)
        if found is None:
            raise HTTPException(404, f"No target is called {name!r}.")
        asked = dict(request.query_params)
        result = Result.INCOMPARABLE if asked.get("result") == Result.INCOMPARABLE else Result.MISMATCH
        window = await window_of(state, name, asked.get("window"))
        arguments = self._arguments(request, window.name)
        known, ledger, line, page, samples, lost = await asyncio.gather(
            report(state, found, str(request.base_url)),
            state.ledger(name),
            course(state, found, window),
            page_of(state, name, wanted_of(state, arguments)),
            self._samples(name, asked, result),
            whole_funnel(state, name),
        )
        return await self._layout.html(
            "target.html",
            report=known,
            ledger=ledger,
            advice=advice(known, ledger),
            course=line,
            windows=WINDOWS,
            page=page,
            samples=samples,
            lost=lost,
            asked={key: asked.get(key, "") for key in (*_CHOOSING, "sort", "window")} | {"sort": arguments["sort"]},
            offset=arguments["offset"],
            limit=_PAGE,
            choices={"kind": list(Kind), "severity": list(Severity), "state": list(State), "sort": list(Order)},
            chosen=[key for key in _CHOOSING if asked.get(key)],
            with_query=_Query(asked),
            result=result.value,
            live=every_s(request),
            stream=f"/live?{urlencode({'target': name})}",
        )

    def _arguments(self, request: Request, window: str) -> dict[str, Any]:
        """Return what the fingerprints' list is asked for. Raises: HTTPException where that is not understood."""
        try:
            read = {name: one.read(request) for name, one in _PARAMETERS.items() if name != "target"}
            wanted_of(self._state, read)
        except ApiError as refusal:
            raise HTTPException(refusal.status, refusal.message) from refusal
        order = read["sort"] if request.query_params.get("sort") else Order.COUNT.value
        return read | {"sort": order, "limit": _PAGE, "trend": SPANS[window].value}

    async def _samples(self, name: str, asked: dict[str, str], result: Result) -> list[Any]:
        route, kind, path = (asked.get(key) for key in ("route", "kind", "path"))
        return await chosen_samples(self._state, name, _LISTED, route=route, kind=kind, path=path, result=result)


class _Query:
    """Writes the page's own query with something else in it."""

    def __init__(self, asked: dict[str, str]) -> None:
        self._asked = {key: value for key, value in asked.items() if value and key != "live"}

    def __call__(self, **changed: str | int) -> str:
        """Return the query; what is changed to nothing is left out, and a page begins anew."""
        kept = {key: value for key, value in self._asked.items() if key != "offset"}
        whole = kept | {key: str(value) for key, value in changed.items()}
        return "?" + urlencode({key: value for key, value in whole.items() if value})
