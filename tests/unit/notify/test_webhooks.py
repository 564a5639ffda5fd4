"""News to receivers: told once, signed, retried, bounded; a dead receiver costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from typing import TYPE_CHECKING, Any

from shadowdiff.config import Secret, WebhookConfig
from shadowdiff.notify import News, Receiver, receiver, signature
from shadowdiff.service.announcing import Announcer
from shadowdiff.store import Store, connect
from shadowdiff.verdict import Decision
from tests.conftest import free_port_number
from tests.fakes.office import Office, opened

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest

    from tests.conftest import RedisServer

SECRET = b"a-secret-for-webhooks"


@contextlib.asynccontextmanager
async def running(task: Any) -> AsyncGenerator[None]:
    """Run something beside the block."""
    made = asyncio.create_task(task)
    try:
        yield
    finally:
        made.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await made


def news(event: str = "verdict.changed", target: str = "shop", text: str = "it <changed> & more") -> News:
    return News(event=event, target=target, at_ms=1, text=text, facts={"verdict": "fail"})


def receiver_of(url: str, *targets: str, events: tuple[str, ...] = ("verdict.changed",)) -> Receiver:
    return Receiver(url, events=events, targets=targets, secret=SECRET, now_s=lambda: 1000.0, first_wait_s=0.01)


async def test_what_is_told_is_json_that_slack_shows_and_is_signed() -> None:
    """The text is plain: nothing in it is a link or a mention."""
    office = Office()
    async with opened(office) as url:
        told = receiver_of(url)
        told.offer(news())
        told.offer(news(event="fingerprint.new"))
        async with running(told.run()):
            await office.until(1)
    ((headers, body),) = office.posts
    assert json.loads(body) == {
        "text": "it &lt;changed&gt; &amp; more",
        "event": "verdict.changed",
        "target": "shop",
        "at_ms": 1,
        "verdict": "fail",
    }
    assert hmac.compare_digest(headers["x-shadowdiff-signature"], signature(SECRET, 1000, body))
    assert headers["x-shadowdiff-signature"].startswith("t=1000,v1=")
    assert signature(SECRET, 1000, body + b" ") != headers["x-shadowdiff-signature"]
    assert (headers["content-type"], headers["x-shadowdiff-event"]) == ("application/json", "verdict.changed")


async def test_a_receiver_that_stumbles_is_told_again_and_knows_it() -> None:
    """The delivery has one name; a redirect is not followed, and what will not change is not asked again."""
    office = Office()
    async with opened(office) as url:
        told = receiver_of(url)
        office.statuses = [503, 429, 302, 200, 404, 200]
        for text in ("first", "refused", "last"):
            told.offer(news(text=text))
        async with running(told.run()):
            await office.until(6)
    said = [json.loads(body)["text"] for _, body in office.posts]
    assert said == ["first"] * 4 + ["refused", "last"]
    assert [len({headers["x-shadowdiff-delivery"] for headers, _ in office.posts[:4]}), told.dropped] == [1, 1]


async def test_a_dead_receiver_is_bounded_and_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its queue has an end, each piece of news has a last try, and the log names the host alone."""
    monkeypatch.setattr(receiver, "TRIES", 2)
    told = receiver_of(f"http://127.0.0.1:{free_port_number()}/hook/s3cret")
    for number in range(receiver.QUEUE + 5):
        told.offer(news(text=str(number)))
    assert told.dropped == 5
    async with running(told.run()), asyncio.timeout(20):
        while told.dropped < 8:  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.01)
    assert "a receiver was not told: it is given up" in caplog.text
    assert "s3cret" not in caplog.text + repr(told) + str([vars(record) for record in caplog.records])


async def test_a_receiver_hears_of_its_targets_and_events_alone() -> None:
    """And the one beside it of its own."""
    office = Office()
    async with opened(office) as url:
        shop, both = receiver_of(url, "shop"), receiver_of(url, events=("fingerprint.new",))
        for one in (shop, both):
            for target in ("shop", "cart"):
                one.offer(news(target=target))
                one.offer(news("fingerprint.new", target))
        async with running(shop.run()), running(both.run()):
            await office.until(3)
    told = sorted((json.loads(body)["event"], json.loads(body)["target"]) for _, body in office.posts)
    assert told == [("fingerprint.new", "cart"), ("fingerprint.new", "shop"), ("verdict.changed", "shop")]


class Said:
    """A verdict as far as news of it goes."""

    def __init__(self, verdict: Decision) -> None:
        self.verdict, self.reason, self.target = verdict, "because of token=abc", "shop"


class NoFingerprints:
    """Fingerprints of a target that has none, or these."""

    def __init__(self) -> None:
        self.fingerprints: tuple[Any, ...] = ()

    async def page(self, _target: str, _wanted: Any) -> Any:
        """Return them as a page."""
        return self


class Found:
    """A fingerprint as far as news of it goes."""

    def __init__(self, name: str, first_seen_ms: int) -> None:
        self.id, self.first_seen_ms, self.target, self.route, self.count = name, first_seen_ms, "shop", "GET /", 3
        self.places: tuple[Any, ...] = ()
        self.severity = Decision.FAIL  # any word will do


async def test_of_all_replicas_one_tells_each_event_once(redis_server: RedisServer) -> None:
    """A verdict once it holds for two looks, a fingerprint that is newer than the first look, and both redacted."""
    client = connect(redis_server.url)
    store = Store(client, f"news{free_port_number()}")
    verdicts: dict[str, Any] = {"shop": Said(Decision.INSUFFICIENT)}
    found = NoFingerprints()
    found.fingerprints = (Found("old", 10),)
    hook = WebhookConfig(
        url="http://127.0.0.1:9/x", events=("fingerprint.new", "verdict.changed"), targets=(), secret=Secret(SECRET)
    )
    replicas = [
        Announcer(
            [hook],
            store=store,
            verdicts=verdicts,
            fingerprints=found,  # pyright: ignore[reportArgumentType] - what news needs of it
            targets=lambda: ["shop"],
            redact=lambda text: text.replace("token=abc", "token=‹redacted›"),
            now_ms=lambda: 1000,
            public_url="https://sd.example",
        )
        for _ in range(3)
    ]
    heard: list[tuple[str, Any]] = []
    for replica in replicas:
        for one in replica.receivers:
            one.offer = lambda news: heard.append((news.event, news))  # type: ignore[method-assign]

    async def look(times: int) -> list[str]:
        heard.clear()
        for _ in range(times):
            for replica in replicas:
                await replica.look("shop")
        return [event for event, _ in heard]

    assert await look(3) == []
    verdicts["shop"] = Said(Decision.FAIL)
    assert await look(1) == []
    assert await look(2) == ["verdict.changed"]
    assert (
        heard[0][1].text
        == "shop: the verdict is now fail (it was insufficient): because of token=‹redacted› https://sd.example/targets/shop"
    )
    found.fingerprints = (Found("new", 1001), Found("old", 10))
    assert await look(3) == ["fingerprint.new"]
    facts = heard[0][1].facts
    assert (facts["path"], facts["url"]) == ("/fingerprints/new", "https://sd.example/fingerprints/new")
    assert await look(2) == []
    await store.close()
