"""Tell one receiver, in order, for as long as it may take; nobody else waits for it.

In: news, offered at any time.  Out: POSTs of JSON, signed where a secret is set.
Holds: the queue is bounded, and what finds no room is counted and said; no redirect is followed; every try has a
deadline, and after the last of them the news is given up, with a line in the log. The URL is never logged whole, since
it may be a secret itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from shadowdiff.notify.news import News

log = logging.getLogger(__name__)

QUEUE: Final = 100
TRIES: Final = 8
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
TIMEOUT_S: Final = 10.0
_OK: Final = range(200, 300)
_FINAL: Final = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
"""Nothing changes by asking again."""


def signature(secret: bytes, at_s: int, body: bytes) -> str:
    """Return what `x-shadowdiff-signature` bears: a time, and the HMAC-SHA256 of `TIME.BODY`."""
    return f"t={at_s},v1={hmac.new(secret, f'{at_s}.'.encode() + body, hashlib.sha256).hexdigest()}"


class Receiver:
    """One address, and the news that wait for it."""

    def __init__(
        self,
        url: str,
        *,
        events: Collection[str],
        targets: Collection[str],
        secret: bytes | None,
        now_s: Callable[[], float],
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._url = url
        self._events = frozenset(events)
        self._targets = frozenset(targets)
        self._secret = secret
        self._now_s = now_s
        self._first_wait_s = first_wait_s
        self._queue: asyncio.Queue[News] = asyncio.Queue(QUEUE)
        self.name = urlsplit(url).hostname or ""
        self.told = self.dropped = 0

    def __repr__(self) -> str:
        """State the queue; the address in full may be a secret."""
        return f"<Receiver {self.name} waiting={self._queue.qsize()} told={self.told} dropped={self.dropped}>"

    def offer(self, news: News) -> None:
        """Take news that this receiver wants; never waits."""
        if news.event not in self._events or (self._targets and news.target not in self._targets):
            return
        try:
            self._queue.put_nowait(news)
        except asyncio.QueueFull:
            self.dropped += 1
            log.warning("news is dropped: its receiver does not keep up", extra={"receiver": self.name})

    async def run(self) -> None:
        """Tell what comes, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                news = await self._queue.get()
                if await self._tell(session, news):
                    self.told += 1
                else:
                    self.dropped += 1

    async def _tell(self, session: aiohttp.ClientSession, news: News) -> bool:
        body, delivery, wait_s = news.body(), secrets.token_hex(8), self._first_wait_s
        for number in range(1, TRIES + 1):
            said, is_final = await self._try(session, news, body, delivery)
            if not said:
                return True
            if is_final or number == TRIES:
                log.warning(
                    "a receiver was not told: it is given up",
                    extra={"receiver": self.name, "event": news.event, "tries": number, "error": said},
                )
                return False
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        return False

    async def _try(self, session: aiohttp.ClientSession, news: News, body: bytes, delivery: str) -> tuple[str, bool]:
        """Return what went wrong, empty for nothing, and whether asking again is of no use."""
        headers = {
            "content-type": "application/json",
            "user-agent": "shadowdiff",
            "x-shadowdiff-event": news.event,
            "x-shadowdiff-delivery": delivery,
        }
        if self._secret:
            headers["x-shadowdiff-signature"] = signature(self._secret, int(self._now_s()), body)
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__, False
        return ("" if status in _OK else f"status {status}"), status in _FINAL
