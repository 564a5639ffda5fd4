"""Server-sent events that report when counts change, so that an open page reloads.

The number of streams is limited. The ledger is read once every two seconds for all streams. Streams end when the port
closes. An event carries no data: the browser loads the page again, with the usual access checks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response, StreamingResponse

from shadowdiff.queries.errors import RequestError
from shadowdiff.store import STORE_ERRORS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

    from shadowdiff.queries.targets import Queries

MAX_STREAMS: Final = 64
READ_EVERY_S: Final = 2.0
_KEEPALIVE_READS: Final = 8
"""Number of reads without a change after which a comment is sent to keep the connection open."""


@dataclass(eq=False, slots=True)
class LiveStreams:
    """The open streams."""

    queries: Queries
    closing: asyncio.Event
    every_s: float = READ_EVERY_S
    open: int = field(default=0, init=False)
    _read: dict[str, tuple[float, str]] = field(default_factory=dict[str, tuple[float, str]], init=False)

    async def stream(self, request: Request) -> Response:
        """Return a stream of events for one target or for all targets."""
        target = request.query_params.get("target")
        if target and self.queries.find(target) is None:
            raise RequestError(404, f"Unknown target {target!r}.")
        if self.open >= MAX_STREAMS:
            raise RequestError(503, f"{MAX_STREAMS} pages already receive live updates. Try again later.")
        names = [target] if target else self.queries.names
        return StreamingResponse(
            self._events(names), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def _events(self, names: list[str]) -> AsyncGenerator[str]:
        self.open += 1
        try:
            yield "retry: 5000\n\n"
            last, unchanged = await self._counts(names), 0
            while not await self._is_closing():
                now = await self._counts(names)
                if now != last:
                    last, unchanged = now, 0
                    yield "event: counted\ndata:\n\n"
                elif (unchanged := unchanged + 1) % _KEEPALIVE_READS == 0:
                    yield ":\n\n"
        finally:
            self.open -= 1

    async def _is_closing(self) -> bool:
        """Wait for the next read of the ledger, or for the port to close."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.closing.wait(), self.every_s)
        return self.closing.is_set()

    async def _counts(self, names: list[str]) -> list[str]:
        return [await self._counts_of(name) for name in names]

    async def _counts_of(self, name: str) -> str:
        """Return a text that changes whenever a target's counts change."""
        at, found = self._read.get(name, (0.0, ""))
        if time.monotonic() - at < self.every_s / 2:
            return found
        with contextlib.suppress(*STORE_ERRORS):
            ledger: dict[str, Any] = await self.queries.ledger(name)
            found = json.dumps([ledger.get("pairs"), ledger.get("coverage")])
        self._read[name] = (time.monotonic(), found)
        return found
