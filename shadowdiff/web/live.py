"""Say when something was counted, as server-sent events, so that a page that is open asks again.

In: a target's name, or none for all.  Out: a stream of events without any data.
Holds: the number of streams is bounded; each looks every two seconds, at what one look for all of them found; a stream
ends when the port closes. An event says nothing: what is shown comes by the page, under the page's own checks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

    from shadowdiff.web.state import WebState

MOST: Final = 64
EVERY_S: Final = 2.0
_ALIVE_EVERY: Final = 8
"""So many looks without a change, and the stream says that it is still there."""


class Live:
    """The streams of one state."""

    def __init__(self, state: WebState, every_s: float = EVERY_S) -> None:
        self._state = state
        self._every_s = every_s
        self._looked: dict[str, tuple[float, str]] = {}
        self.open = 0

    def routes(self) -> list[Route]:
        """Return the route of the streams."""
        return [Route("/live", self.stream, methods=["GET"], name="live")]

    async def stream(self, request: Request) -> Response:
        """Answer a stream; `target` says of which target."""
        target = request.query_params.get("target")
        if target and self._state.target(target) is None:
            raise HTTPException(404, f"No target is called {target!r}.")
        if self.open >= MOST:
            raise HTTPException(503, f"{MOST} pages are followed live already: ask again later.")
        names = [target] if target else self._state.names
        return StreamingResponse(
            self._events(names), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def _events(self, names: list[str]) -> AsyncGenerator[str]:
        self.open += 1
        try:
            yield "retry: 5000\n\n"
            seen, quiet = await self._counted(names), 0
            while not await self._is_closing():
                now = await self._counted(names)
                quiet = 0 if now != seen else quiet + 1
                if now != seen:
                    seen = now
                    yield "event: counted\ndata:\n\n"
                elif quiet % _ALIVE_EVERY == 0:
                    yield ":\n\n"
        finally:
            self.open -= 1

    async def _is_closing(self) -> bool:
        """Wait for the next look, or for the port to close."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._state.closing.wait(), self._every_s)
        return self._state.closing.is_set()

    async def _counted(self, names: list[str]) -> list[str]:
        return [await self._look(name) for name in names]

    async def _look(self, name: str) -> str:
        """Return what stands for a target's counts, as of a moment ago."""
        at, found = self._looked.get(name, (0.0, ""))
        if time.monotonic() - at < self._every_s / 2:
            return found
        with contextlib.suppress(RedisError, OSError):
            ledger: dict[str, Any] = await self._state.ledger(name)
            found = json.dumps([ledger.get("pairs"), ledger.get("coverage")])
        self._looked[name] = (time.monotonic(), found)
        return found
