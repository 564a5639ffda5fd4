"""Deliver events to one webhook, in order and with retries, without delaying other webhooks.

The queue is bounded; dropped events are counted and logged. Each attempt has a timeout. Redirects are not followed.
After the last attempt the event is dropped. The URL can contain a secret, so only its host is logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp

from shadowdiff.model import Backoff
from shadowdiff.notify.formats import DEFAULT, FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from shadowdiff.notify.event import Event

log = logging.getLogger(__name__)

QUEUE: Final = 100
TRIES: Final = 8
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
TIMEOUT_S: Final = 10.0
_OK: Final = range(200, 300)
_FINAL: Final = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
"""Statuses for which a retry is useless."""


def signature(secret: bytes, at_s: int, body: bytes) -> str:
    """Return the value of the header `x-shadowdiff-signature`: a time and the HMAC-SHA256 of `TIME.BODY`."""
    return f"t={at_s},v1={hmac.new(secret, f'{at_s}.'.encode() + body, hashlib.sha256).hexdigest()}"


@dataclass(eq=False, repr=False)
class Webhook:
    """A webhook's URL and its queue of events.  targets: empty for all targets."""

    url: str
    _: KW_ONLY
    events: Collection[str]
    targets: Collection[str] = ()
    secret: bytes | None = None
    format_name: str = DEFAULT
    now_s: Callable[[], float] = time.time
    first_wait_s: float = FIRST_WAIT_S
    delivered: int = field(default=0, init=False)
    dropped: int = field(default=0, init=False)
    _queue: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(QUEUE), init=False)

    @property
    def name(self) -> str:
        """The host of the URL."""
        return urlsplit(self.url).hostname or ""

    def __repr__(self) -> str:
        """Return the URL's host and the counts, but not the URL, which can contain a secret."""
        return f"<Webhook {self.name} queued={self._queue.qsize()} delivered={self.delivered} dropped={self.dropped}>"

    def offer(self, event: Event) -> None:
        """Queue an event that this webhook subscribes to; never waits."""
        if event.kind not in self.events or (self.targets and event.target not in self.targets):
            return
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped += 1
            log.warning("webhook queue full; event dropped", extra={"webhook": self.name, "event": event.kind})

    async def run(self) -> None:
        """Deliver queued events, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                await self._deliver(session, await self._queue.get())

    async def _deliver(self, session: aiohttp.ClientSession, event: Event) -> None:
        body, delivery = FORMATS[self.format_name](event), secrets.token_hex(8)
        backoff = Backoff(self.first_wait_s, LONGEST_WAIT_S)
        for attempt in range(1, TRIES + 1):
            error, is_final = await self._post(session, event.kind, body, delivery)
            if not error:
                self.delivered += 1
                return
            if is_final or attempt == TRIES:
                log.warning(
                    "webhook delivery failed; giving up",
                    extra={"webhook": self.name, "event": event.kind, "attempts": attempt, "error": error},
                )
                self.dropped += 1
                return
            await asyncio.sleep(backoff.next_s())

    async def _post(self, session: aiohttp.ClientSession, kind: str, body: bytes, delivery: str) -> tuple[str, bool]:
        """Post once. Return the error text (empty after a success) and whether retries are useless."""
        headers = {
            "content-type": "application/json",
            "user-agent": "shadowdiff",
            "x-shadowdiff-event": kind,
            "x-shadowdiff-delivery": delivery,
        }
        if self.secret:
            headers["x-shadowdiff-signature"] = signature(self.secret, int(self.now_s()), body)
        try:
            async with session.post(self.url, data=body, headers=headers, allow_redirects=False) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__, False
        return ("" if status in _OK else f"status {status}"), status in _FINAL
