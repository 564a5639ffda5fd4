"""Webhook delivery is signed, retried and bounded, and a dead receiver costs nothing."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from typing import TYPE_CHECKING, Any

from shadowdiff.notify import webhook
from shadowdiff.notify.event import Event
from shadowdiff.notify.webhook import Webhook, signature
from tests.conftest import free_port_number
from tests.fakes.webhook_receiver import WebhookReceiver, serving_receiver

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import pytest

SECRET = b"a-secret-for-webhooks"


@contextlib.asynccontextmanager
async def running(task: Any) -> AsyncGenerator[None]:
    """Run a task until the block ends."""
    made = asyncio.create_task(task)
    try:
        yield
    finally:
        made.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await made


def event(kind: str = "verdict.changed", target: str = "shop", text: str = "it <changed> & more") -> Event:
    return Event(kind=kind, target=target, at_ms=1, text=text, facts={"verdict": "fail"})


def webhook_of(url: str, *targets: str, events: tuple[str, ...] = ("verdict.changed",)) -> Webhook:
    return Webhook(url, events=events, targets=targets, secret=SECRET, now_s=lambda: 1000.0, first_wait_s=0.01)


async def test_a_delivery_is_signed_json() -> None:
    """The receiver can check the signature, and a changed body does not match it."""
    receiver = WebhookReceiver()
    async with serving_receiver(receiver) as url:
        hook = webhook_of(url)
        hook.offer(event())
        hook.offer(event(kind="fingerprint.new"))
        async with running(hook.run()):
            await receiver.until(1)
    ((headers, body),) = receiver.posts
    assert json.loads(body)["event"] == "verdict.changed"
    assert hmac.compare_digest(headers["x-shadowdiff-signature"], signature(SECRET, 1000, body))
    assert headers["x-shadowdiff-signature"].startswith("t=1000,v1=")
    assert signature(SECRET, 1000, body + b" ") != headers["x-shadowdiff-signature"]
    assert (headers["content-type"], headers["x-shadowdiff-event"]) == ("application/json", "verdict.changed")


async def test_a_failed_delivery_is_retried_under_the_same_id() -> None:
    """A redirect is not followed, and a final status is not retried."""
    receiver = WebhookReceiver()
    async with serving_receiver(receiver) as url:
        hook = webhook_of(url)
        receiver.statuses = [503, 429, 302, 200, 404, 200]
        for text in ("first", "refused", "last"):
            hook.offer(event(text=text))
        async with running(hook.run()):
            await receiver.until(6)
    texts = [json.loads(body)["text"] for _, body in receiver.posts]
    assert texts == ["first"] * 4 + ["refused", "last"]
    assert [len({headers["x-shadowdiff-delivery"] for headers, _ in receiver.posts[:4]}), hook.dropped] == [1, 1]


async def test_a_dead_receiver_is_bounded_and_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue is bounded, each event has a last attempt, and the log names only the host."""
    monkeypatch.setattr(webhook, "TRIES", 2)
    hook = webhook_of(f"http://127.0.0.1:{free_port_number()}/hook/s3cret")
    for number in range(webhook.QUEUE + 5):
        hook.offer(event(text=str(number)))
    assert hook.dropped == 5
    async with running(hook.run()), asyncio.timeout(60):
        while hook.dropped < 8:  # noqa: ASYNC110 - tests wait on conditions
            await asyncio.sleep(0.01)
    assert "webhook delivery failed; giving up" in caplog.text
    assert "s3cret" not in caplog.text + repr(hook) + str([vars(record) for record in caplog.records])


async def test_a_webhook_receives_only_its_targets_and_events() -> None:
    """A second webhook at the same URL receives its own events."""
    receiver = WebhookReceiver()
    async with serving_receiver(receiver) as url:
        shop, both = webhook_of(url, "shop"), webhook_of(url, events=("fingerprint.new",))
        for one in (shop, both):
            for target in ("shop", "cart"):
                one.offer(event(target=target))
                one.offer(event("fingerprint.new", target))
        async with running(shop.run()), running(both.run()):
            await receiver.until(3)
    received = sorted((json.loads(body)["event"], json.loads(body)["target"]) for _, body in receiver.posts)
    assert received == [("fingerprint.new", "cart"), ("fingerprint.new", "shop"), ("verdict.changed", "shop")]
