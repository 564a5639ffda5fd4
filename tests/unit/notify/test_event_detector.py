"""Only one of all replicas sends each event, once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from shadowdiff.notify.event_detector import EventDetector
from shadowdiff.notify.webhook import Webhook
from shadowdiff.store import Store, connect
from shadowdiff.verdict import Decision
from tests.conftest import free_port_number

if TYPE_CHECKING:
    from tests.conftest import RedisServer


def verdict(decision: Decision) -> Any:
    """Return a verdict with the fields that an event reads."""
    return SimpleNamespace(verdict=decision, reason="because of token=abc", target="shop")


def fingerprint(name: str, first_seen_ms: int) -> Any:
    """Return a fingerprint with the fields that an event reads."""
    return SimpleNamespace(
        id=name, first_seen_ms=first_seen_ms, target="shop", route="GET /", count=3, places=(), severity=Decision.FAIL
    )


async def test_one_replica_sends_each_event_once(redis_server: RedisServer) -> None:
    """A verdict is sent once two checks agree, and a fingerprint if it is newer than the first check."""
    store = Store(connect(redis_server.url), f"events{free_port_number()}")
    verdicts: dict[str, Any] = {"shop": verdict(Decision.INSUFFICIENT)}
    found = [fingerprint("old", 10)]

    async def newest(_target: str, _most: int) -> list[Any]:
        return found

    replicas = [
        EventDetector(
            [Webhook("http://127.0.0.1:9/x", events=("fingerprint.new", "verdict.changed"))],
            store=store,
            verdicts=verdicts,
            newest_fingerprints=newest,
            targets=lambda: ["shop"],
            redact=lambda text: text.replace("token=abc", "token=‹redacted›"),
            now_ms=lambda: 1000,
            public_url="https://sd.example",
        )
        for _ in range(3)
    ]
    offered: list[Any] = []
    for replica in replicas:
        for one in replica.webhooks:
            one.offer = offered.append  # type: ignore[method-assign]

    async def check(times: int) -> list[str]:
        offered.clear()
        for _ in range(times):
            for replica in replicas:
                await replica.check("shop")
        return [event.kind for event in offered]

    assert await check(3) == []
    verdicts["shop"] = verdict(Decision.FAIL)
    assert await check(1) == []
    assert await check(2) == ["verdict.changed"]
    assert offered[0].text == (
        "shop: the verdict is now fail (it was insufficient): because of token=‹redacted›"
        " https://sd.example/targets/shop"
    )
    found.insert(0, fingerprint("new", 1001))
    assert await check(3) == ["fingerprint.new"]
    facts = offered[0].facts
    assert (facts["path"], facts["url"]) == ("/fingerprints/new", "https://sd.example/fingerprints/new")
    assert await check(2) == []
    await store.close()
