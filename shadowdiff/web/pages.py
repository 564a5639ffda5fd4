"""The pages that are no page of a target's: the doctor's, and the files of all.

In: the state.  Out: HTML.
Holds: reads only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.routing import Route

from shadowdiff.web.audit import SHOWN
from shadowdiff.web.doctor import diagnosis_of
from shadowdiff.web.layout import every_s
from shadowdiff.web.operation import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shadowdiff.web.layout import Layout
    from shadowdiff.web.state import WebState


class Pages:
    """The pages of one state."""

    def __init__(self, state: WebState, layout: Layout) -> None:
        self._state = state
        self._layout = layout

    def routes(self) -> list[Route]:
        """Return the routes of the pages."""
        return [
            Route("/audit", self.audit, methods=["GET"], name="audit-page"),
            Route("/doctor", self.doctor, methods=["GET"], name="doctor-page"),
            Route("/static/{name}", self._layout.static, methods=["GET"], name="static"),
        ]

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
