"""Webhook notifications of a whole service: new fingerprints and changed verdicts."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from shadowdiff.notify.webhook import signature
from shadowdiff.store import connect
from tests.fakes.webhook_receiver import WebhookReceiver, serving_receiver
from tests.integration.service.conftest import JSON, serving, settings, target
from tests.integration.service.scripts import always, response, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer

SECRET = "a-secret-for-webhooks"
SAID_BEFORE = "insufficient"
OURS = b'{"users": {"jo@example.com": 1}}'
THEIRS = b'{"users": {"jo@example.com": 2}}'


async def earlier_process(redis_server: RedisServer, prefix: str) -> None:
    """Store the state of an earlier process: the start of notifications, and the last verdict."""
    client = connect(redis_server.url)
    await client.set(f"{prefix}:{{0}}:notify:since:shop", 1)
    await client.hset(f"{prefix}:{{0}}:notify:verdicts", "shop", SAID_BEFORE)  # pyright: ignore[reportGeneralTypeIssues]
    await client.aclose()


async def test_a_running_service_sends_events(redis_server: RedisServer, tmp_path: Path) -> None:
    """Events are retried if the receiver fails, signed, without secrets, and with the URL of the page."""
    receiver = WebhookReceiver(503, 500)
    await earlier_process(redis_server, "news")
    async with (
        serving_receiver(receiver) as url,
        v2(always(response(THEIRS, "200 OK", f"content-type: {JSON}"))) as port,
    ):
        config = settings(redis_server.url, target(port), store={"prefix": "news"}, web={"url": "https://sd.example"})
        config["webhooks"] = [{"url": url, "secret": "HOOK"}]
        async with serving(tmp_path, config, HOOK=SECRET) as world:
            for number in range(60):
                await world.both(f"request-{number}", OURS)
            await world.until(pairs__mismatch=60)
            await receiver.until_received("fingerprint.new", "verdict.changed")
            known = world.service.get("fingerprints?target=shop")["fingerprints"]
            log = world.service.log
    new = receiver.received("fingerprint.new")
    assert {one["id"] for one in known} == {post.json["fingerprint"] for post in new}
    for post in new:
        assert post.json["url"] == f"https://sd.example/fingerprints/{post.json['fingerprint']}"
        assert post.json["text"].endswith(post.json["url"])
    (changed,) = {post.json["text"] for post in receiver.received("verdict.changed")}
    assert changed.startswith(f"shop: the verdict is now fail (it was {SAID_BEFORE}): ")
    tries: dict[str, int] = {}
    for headers, body in receiver.posts:
        sent_at = int(re.findall(r"t=(\d+),", headers["x-shadowdiff-signature"])[0])
        assert hmac.compare_digest(signature(SECRET.encode(), sent_at, body), headers["x-shadowdiff-signature"])
        tries[headers["x-shadowdiff-delivery"]] = tries.get(headers["x-shadowdiff-delivery"], 0) + 1
    assert (2, 2) == (len(tries), sum(count - 1 for count in tries.values()))
    assert [] == [part for part in ("jo@example.com", SECRET, "s3cret") if part in repr(receiver.posts) + log]
