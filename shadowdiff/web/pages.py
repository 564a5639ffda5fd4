"""The pages: every target, one target, one sample.

In: the state.  Out: HTML from templates that escape everything, without scripts.
Holds: reads only; what takes time to lay out is laid out in a thread, so that mirrored requests do not wait for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.routing import Route

from shadowdiff.model import Result
from shadowdiff.report import newest_samples, sample
from shadowdiff.web import words
from shadowdiff.web.advice import Advice, advice
from shadowdiff.web.audit import SHOWN
from shadowdiff.web.doctor import diagnosis_of
from shadowdiff.web.layout import every_s
from shadowdiff.web.operation import ApiError
from shadowdiff.web.sample_filter import sample_filter
from shadowdiff.web.sample_view import SampleView, view
from shadowdiff.web.views import TargetReport, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.report import Summary
    from shadowdiff.web.layout import Layout
    from shadowdiff.web.state import TargetView, WebState

_SHOWN: Final = 4
_LISTED: Final = 30
_SEARCHED: Final = 300
"""Of so many of the newest samples, those shown whole are chosen to be of different faults."""


@dataclass(frozen=True, slots=True)
class TargetPage:
    """A target as the pages show it: its report, its ledger, what to do next, its newest samples."""

    report: TargetReport
    ledger: dict[str, Any]
    advice: Advice | None
    samples: list[Summary]
    shown: list[SampleView]


class Pages:
    """The pages of one state."""

    def __init__(self, state: WebState, layout: Layout) -> None:
        self._state = state
        self._layout = layout

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return [
            Route("/", self.index, methods=["GET"], name="index"),
            Route("/targets/{target}", self.target, methods=["GET"], name="target-page"),
            Route("/audit", self.audit, methods=["GET"], name="audit-page"),
            Route("/doctor", self.doctor, methods=["GET"], name="doctor-page"),
            Route("/static/{name}", self._layout.static, methods=["GET"], name="static"),
        ]

    async def index(self, request: Request) -> Response:
        """Answer the first page."""
        base_url = str(request.base_url)
        pages = [await self._page(target, base_url) for target in self._state.targets()]
        return await self._layout.html("index.html", pages=pages, live=every_s(request))

    async def target(self, request: Request) -> Response:
        """Answer the page of a target; `route`, `path` and `result` choose its samples."""
        found = self._state.target(request.path_params["target"])
        if found is None:
            raise HTTPException(404, f"No target is called {request.path_params['target']!r}.")
        asked = request.query_params
        result = Result.INCOMPARABLE if asked.get("result") == Result.INCOMPARABLE else Result.MISMATCH
        route, path = asked.get("route"), asked.get("path")
        wanted = sample_filter(route, None, path)
        page = await self._page(found, str(request.base_url), result=result, wanted=wanted)
        live = every_s(request)
        return await self._layout.html("target.html", page=page, asked=asked, result=result.value, live=live)

    async def doctor(self, request: Request) -> Response:
        """Answer what is wrong, with every target or with one."""
        target = request.query_params.get("target") or None
        try:
            found = await diagnosis_of(self._state, target)
        except ApiError as refusal:
            raise HTTPException(refusal.status, refusal.message) from refusal
        return await self._layout.html("doctor.html", diagnosis=found, target=target, live=every_s(request))

    async def audit(self, _request: Request) -> Response:
        """Answer the newest changes."""
        audit = self._state.audit
        return await self._layout.html("audit.html", entries=await audit.newest(SHOWN) if audit else [])

    async def _page(
        self,
        target: TargetView,
        base_url: str,
        *,
        result: Result = Result.MISMATCH,
        wanted: Callable[[Summary], bool] | None = None,
    ) -> TargetPage:
        state, name = self._state, target.target.name
        listed = await newest_samples(
            state.reader, name, _SEARCHED, result=result, wanted=wanted, since_ms=state.since_ms
        )
        whole = [await sample(state.reader, line.id, since_ms=state.since_ms) for line in _various(listed)]
        shown = await asyncio.to_thread(lambda: [view(one) for one in whole if one is not None])
        known, ledger = await report(state, target, base_url), await state.ledger(name)
        return TargetPage(known, ledger, advice(known, ledger), listed[:_LISTED], shown)


def _various(listed: list[Summary]) -> list[Summary]:
    """Return a few of the newest samples that show different faults."""
    by_fault = {_fault(line): line for line in reversed(listed)}
    return sorted(by_fault.values(), key=lambda line: -line.at_ms)[:_SHOWN]


def _fault(line: Summary) -> tuple[str, str, str]:
    found = words.worst(line.differences)
    return (line.route, found.pattern, found.kind) if found else (line.route, line.reason, "")
