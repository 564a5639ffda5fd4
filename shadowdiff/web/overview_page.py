"""The first page: every target with its verdict, how that went, and what differs most.

In: the state.  Out: HTML.
Holds: reads only. Where there is one target, its newest differences stand there as well: nobody has to look for them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from shadowdiff.report import newest_samples, whole_samples
from shadowdiff.web import words
from shadowdiff.web.layout import every_s
from shadowdiff.web.sample_view import SampleView, view
from shadowdiff.web.target_view import overview

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.report import Summary
    from shadowdiff.web.layout import Layout
    from shadowdiff.web.state import WebState

_SHOWN: Final = 2
_SEARCHED: Final = 300
"""Of so many of the newest samples, those shown whole are chosen to be of different faults."""


class OverviewPage:
    """The first page."""

    def __init__(self, state: WebState, layout: Layout) -> None:
        self._state = state
        self._layout = layout

    def routes(self) -> list[Route]:
        """Return the route of the page."""
        return [Route("/", self.show, methods=["GET"], name="index")]

    async def show(self, request: Request) -> Response:
        """Answer the page."""
        targets, base_url = self._state.targets(), str(request.base_url)
        shown = await asyncio.gather(*(overview(self._state, target, base_url) for target in targets))
        samples = await self._samples(targets[0].target.name) if len(targets) == 1 else []
        return await self._layout.html(
            "index.html", targets=shown, samples=samples, live=every_s(request), stream="/live"
        )

    async def _samples(self, target: str) -> list[SampleView]:
        state = self._state
        listed = await newest_samples(state.reader, target, _SEARCHED, since_ms=state.since_ms)
        ids = [line.id for line in _various(listed)]
        whole = await whole_samples(state.reader, ids, since_ms=state.since_ms)
        return await asyncio.to_thread(lambda: [view(one) for one in whole])


def _various(listed: list[Summary]) -> list[Summary]:
    """Return a few of the newest samples that show different faults, the worst first."""
    by_fault = {_fault(line): line for line in reversed(listed)}
    return sorted(by_fault.values(), key=lambda line: (words.rank(line.differences), -line.at_ms))[:_SHOWN]


def _fault(line: Summary) -> tuple[str, str, str]:
    found = words.worst(line.differences)
    return (line.route, found.pattern, found.kind) if found else (line.route, line.reason, "")
