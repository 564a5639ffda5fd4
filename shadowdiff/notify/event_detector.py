"""Detect new fingerprints and changed verdicts, and offer each to the webhooks once.

A replica claims an event in the store before it sends it, so that each event is sent at most once. A verdict change
is sent when two checks in a row agree. A fingerprint that exists at the first check is not new.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shadowdiff.notify.event import FINGERPRINT_NEW, VERDICT_CHANGED, Event
from shadowdiff.store import STORE_ERRORS, Script, describe_error, number, reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from shadowdiff.notify.webhook import Webhook
    from shadowdiff.report import Fingerprint
    from shadowdiff.store import Store
    from shadowdiff.verdict import Verdict

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0
NEWEST: Final = 20
"""Maximum number of new fingerprints that one check of a target sends."""
TEXT_CHARS: Final = 700
"""Maximum length of a text if a URL follows it."""
REMEMBERED_S: Final = 30 * 86_400
REMEMBERED_IDS: Final = 10_000
_VERDICT_CHANGED: Final = Script.from_package("shadowdiff.notify.lua", "verdict_changed.lua")
_FIRST_SEEN: Final = Script.from_package("shadowdiff.notify.lua", "first_seen.lua")


@dataclass(eq=False, slots=True)
class EventDetector:
    """Checks for new events every few seconds, and offers them to the webhooks.

    newest_fingerprints: takes a target and a limit, and returns the target's newest fingerprints.
    """

    webhooks: Sequence[Webhook]
    _: KW_ONLY
    store: Store
    verdicts: Mapping[str, Verdict]
    newest_fingerprints: Callable[[str, int], Awaitable[Sequence[Fingerprint]]]
    targets: Callable[[], Sequence[str]]
    redact: Callable[[str], str]
    public_url: str | None = None
    now_ms: Callable[[], int]
    _last_verdicts: dict[str, str] = field(default_factory=dict[str, str], init=False)
    _known_ids: dict[str, None] = field(default_factory=dict[str, None], init=False)

    async def run(self) -> None:
        """Check for events and send them, until cancelled."""
        if not self.webhooks:
            return
        async with asyncio.TaskGroup() as group:
            for webhook in self.webhooks:
                group.create_task(webhook.run(), name=f"webhook-{webhook.name}")
            while True:
                try:
                    for target in self.targets():
                        await self.check(target)
                except STORE_ERRORS as error:
                    log.debug("store unavailable; will retry event detection", extra={"error": describe_error(error)})
                await asyncio.sleep(EVERY_S)

    async def check(self, target: str) -> None:
        """Send a target's new events. Raises: redis.exceptions.RedisError."""
        await self._check_verdict(target)
        first = await self.store.run(_FIRST_SEEN, 0, [f"notify:since:{target}"], [self.now_ms()])
        with reading(f"the time of the first check for events of {target}"):
            since_ms = number(first)
        newest = await self.newest_fingerprints(target, NEWEST)
        for fingerprint in newest:
            is_new = fingerprint.first_seen_ms >= since_ms and fingerprint.id not in self._known_ids
            claim = self.store.keys.name(0, f"notify:sent:{fingerprint.id}")
            if is_new and await self.store.command("SET", claim, 1, "NX", "EX", REMEMBERED_S):
                self._offer(FINGERPRINT_NEW, target, *_describe_fingerprint(fingerprint))
        self._known_ids |= dict.fromkeys(fingerprint.id for fingerprint in newest)
        for oldest in list(self._known_ids)[:-REMEMBERED_IDS]:
            del self._known_ids[oldest]

    async def _check_verdict(self, target: str) -> None:
        verdict = self.verdicts.get(target)
        if verdict is None:
            return
        now, last = verdict.verdict.value, self._last_verdicts.get(target)
        self._last_verdicts[target] = now
        if now != last:
            return
        stored = await self.store.run(_VERDICT_CHANGED, 0, ["notify:verdicts"], [target, now])
        if stored:
            with reading(f"the last verdict on {target}"):
                previous = type(verdict.verdict)(stored.decode())
            self._offer(VERDICT_CHANGED, target, *_describe_verdict(verdict, previous.value))

    def _offer(self, kind: str, target: str, text: str, facts: dict[str, Any]) -> None:
        redacted = {key: self.redact(value) if isinstance(value, str) else value for key, value in facts.items()}
        text = self.redact(text)
        if self.public_url is not None:
            redacted["url"] = f"{self.public_url}{facts['path']}"
            text = f"{text[:TEXT_CHARS]} {redacted['url']}"
        event = Event(kind=kind, target=target, at_ms=self.now_ms(), text=text, facts=redacted)
        for webhook in self.webhooks:
            webhook.offer(event)


def _describe_fingerprint(found: Fingerprint) -> tuple[str, dict[str, Any]]:
    places = ", ".join(f"{place.path} ({place.kind})" for place in found.places[:3])
    text = f"{found.target}: new difference in {found.route} at {places} ({found.severity.value}, {found.count:,}×)"
    facts = {
        "fingerprint": found.id,
        "route": found.route,
        "places": places,
        "severity": found.severity.value,
        "count": found.count,
        "path": f"/fingerprints/{found.id}",
    }
    return text, facts


def _describe_verdict(verdict: Verdict, previous: str) -> tuple[str, dict[str, Any]]:
    now = verdict.verdict.value
    text = f"{verdict.target}: the verdict is now {now} (it was {previous}): {verdict.reason}"
    return text, {"verdict": now, "was": previous, "reason": verdict.reason, "path": f"/targets/{verdict.target}"}
