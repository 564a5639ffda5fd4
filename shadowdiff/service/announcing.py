"""Find what is news, and let one process of all tell it.

In: verdicts as they are now; the newest fingerprints.  Out: news to every receiver.
Holds: what is told is claimed in the store first, so that of all replicas one tells it, at most once; a verdict is told
when two looks in a row agree on it. What was there before the first look is no news. Without receivers nothing is read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from shadowdiff.notify import News, Receiver
from shadowdiff.notify.news import FINGERPRINT_NEW, VERDICT_CHANGED
from shadowdiff.report import Order, Wanted
from shadowdiff.store import Script, number, reading, said
from shadowdiff.verdict import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shadowdiff.config import WebhookConfig
    from shadowdiff.report import Fingerprint, Fingerprints
    from shadowdiff.store import Store
    from shadowdiff.verdict import Verdict

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0
NEWEST: Final = 20
"""New fingerprints of one look that are told one by one."""
TEXT_CHARS: Final = 700
"""Of a text that an address follows."""
REMEMBERED_S: Final = 30 * 86_400
_CHANGED: Final = Script(
    "notify-changed.lua",
    b"local was = redis.call('HGET', KEYS[1], ARGV[1]) if was == ARGV[2] then return false end"
    b" redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return was or ''",
)
_FIRST: Final = Script(
    "notify-first.lua",
    b"redis.call('SET', KEYS[1], ARGV[1], 'NX') return redis.call('GET', KEYS[1])",
)


class Announcer:
    """Looks every few seconds, and tells the receivers."""

    def __init__(
        self,
        webhooks: Sequence[WebhookConfig],
        *,
        store: Store,
        verdicts: Mapping[str, Verdict],
        fingerprints: Fingerprints,
        targets: Callable[[], Sequence[str]],
        redact: Callable[[str], str],
        public_url: str | None = None,
        now_ms: Callable[[], int],
        every_s: float = EVERY_S,
    ) -> None:
        self._store = store
        self._verdicts = verdicts
        self._fingerprints = fingerprints
        self._targets = targets
        self._redact = redact
        self._public_url = public_url
        self._now_ms = now_ms
        self._every_s = every_s
        self._seen: dict[str, str] = {}
        self._known: set[str] = set()
        self.receivers = [
            Receiver(
                hook.url,
                events=hook.events,
                targets=hook.targets,
                secret=hook.secret.reveal() if hook.secret else None,
                now_s=time.time,
            )
            for hook in webhooks
        ]

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        if not self.receivers:
            return
        async with asyncio.TaskGroup() as group:
            for receiver in self.receivers:
                group.create_task(receiver.run(), name=f"webhook-{receiver.name}")
            while True:
                for target in self._targets():
                    try:
                        await self.look(target)
                    except (RedisError, OSError, TimeoutError) as error:
                        log.debug("news waits for the store", extra={"error": said(error)})
                        break
                await asyncio.sleep(self._every_s)

    async def look(self, target: str) -> None:
        """Tell what is new of a target. Raises: redis.exceptions.RedisError."""
        await self._look_at_verdict(target)
        first = await self._store.run(_FIRST, 0, [f"notify:since:{target}"], [self._now_ms()])
        with reading(f"when news of {target} began"):
            since_ms = number(first)
        page = await self._fingerprints.page(target, Wanted(order=Order.FIRST_SEEN, limit=NEWEST))
        for found in page.fingerprints:
            if found.first_seen_ms >= since_ms and found.id not in self._known and await self._is_first(found.id):
                self._tell(FINGERPRINT_NEW, target, _of_fingerprint(found))
        self._known = {found.id for found in page.fingerprints} | set(list(self._known)[:10_000])

    async def _look_at_verdict(self, target: str) -> None:
        verdict = self._verdicts.get(target)
        if verdict is None:
            return
        now, before = verdict.verdict.value, self._seen.get(target)
        self._seen[target] = now
        if now != before:
            return
        was = await self._store.run(_CHANGED, 0, ["notify:verdicts"], [target, now])
        if was:
            with reading(f"the last verdict on {target}"):
                said_before = Decision(was.decode())
            self._tell(VERDICT_CHANGED, target, _of_verdict(verdict, said_before))

    async def _is_first(self, fingerprint_id: str) -> bool:
        name = self._store.keys.name(0, f"notify:told:{fingerprint_id}")
        return bool(await self._store.command("SET", name, 1, "NX", "EX", REMEMBERED_S))

    def _tell(self, event: str, target: str, told: tuple[str, dict[str, Any]]) -> None:
        text, facts = told
        redacted = {key: self._redact(value) if isinstance(value, str) else value for key, value in facts.items()}
        text = self._redact(text)
        if self._public_url is not None:
            redacted["url"] = f"{self._public_url}{facts['path']}"
            text = f"{text[:TEXT_CHARS]} {redacted['url']}"
        news = News(event=event, target=target, at_ms=self._now_ms(), text=text, facts=redacted)
        for receiver in self.receivers:
            receiver.offer(news)


def _of_fingerprint(found: Fingerprint) -> tuple[str, dict[str, Any]]:
    places = ", ".join(f"{place.path} ({place.kind})" for place in found.places[:3])
    seen = f"{found.severity.value}, seen {found.count:,}×"
    text = f"{found.target}: a new difference in {found.route} at {places}, {seen}"
    facts = {
        "fingerprint": found.id,
        "route": found.route,
        "places": places,
        "severity": found.severity.value,
        "count": found.count,
        "path": f"/fingerprints/{found.id}",
    }
    return text, facts


def _of_verdict(verdict: Verdict, was: str) -> tuple[str, dict[str, Any]]:
    now = verdict.verdict.value
    text = f"{verdict.target}: the verdict is now {now} (it was {was}): {verdict.reason}"
    return text, {"verdict": now, "was": was, "reason": verdict.reason, "path": f"/targets/{verdict.target}"}
