"""Secrets in the requests to v2 are sent, and never stored, logged or shown, even if v2 sends them back."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from typing import TYPE_CHECKING, Final

from click.testing import CliRunner

from shadowdiff.cli import main
from tests.integration.report.test_planted_secrets import KEY, everything_in_redis, fetch
from tests.integration.report.test_secrets_in_paths import PAGES
from tests.integration.service.conftest import lines_of, serving, settings, target
from tests.integration.service.scripts import response, v2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer
    from tests.integration.service.scripts import Answer

TOKEN: Final = "Kq7Zx2Lm9Wb4Rt-of-v2"
OLD: Final = "Wb4RtKq7Zx2Lm9-from-a-file"
NEW: Final = "Lm9Wb4RtKq7Zx2-after-a-reload"


def echoes(heard: list[bytes]) -> Answer:
    """Return a v2 that sends each request back: in the body, in a header and in Location."""

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heard.append(head)
        target, *lines = head.decode().split("\r\n")
        body = json.dumps({"target": target, "lines": lines}).encode()
        echo = f"x-echo: {' '.join(lines)}"
        writer.write(
            response(body, "302 Found", "content-type: application/json", echo, f"location: {target.split()[1]}")
        )

    return answer


async def test_no_secret_of_the_configuration_is_stored_logged_or_shown(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Requests pair under the user's path. A reload reads the files again."""
    file, heard = tmp_path / "token", list[bytes]()
    file.write_text(f"{OLD}\n")
    headers = {"set": {"authorization": "Bearer ${V2_TOKEN}", "x-tenant": f"${{{file}}}"}, "remove": ["cookie"]}
    sent = {"headers": headers, "query": {"set": {"key": "${V2_TOKEN}"}}, "path_prefix": {"/v1": "/v2"}}
    secrets = {"V2_TOKEN": TOKEN, "STORE_KEY": base64.b64encode(KEY).decode()}
    async with v2(echoes(heard)) as port:
        store = {"prefix": "candidate-secrets", "key": "STORE_KEY"}
        config = settings(redis_server.url, target(port, candidate=sent), store=store)
        async with serving(tmp_path, config, tls=None, **secrets) as world:
            await world.both("one", b"{}", "/v1/cart?a=1")
            await world.until(pairs__mismatch=1)
            file.write_text(NEW)
            world.service.send(signal.SIGHUP)
            await world.service.until(lambda _books: bool(lines_of(world.service, "config reloaded")))
            await world.both("two", b"{}", "/v1/cart?a=2")
            await world.until(pairs__mismatch=2)
            samples = await world.samples()
            ids = [one["id"] for one in samples]
            more = [f"/samples/{each}{part}" for each in ids for part in ("", "?download=1")]
            more += [f"/api/v1/samples/{each}{part}" for each in ids for part in ("", "/export?format=deepdiff")]
            urls = [world.service.url("web", page) for page in (*PAGES, *more)]
            urls.append(world.service.url("metrics", "/metrics"))
            shown = [(url, await asyncio.to_thread(fetch, url)) for url in urls]
            shown += await everything_in_redis(redis_server.url, "candidate-secrets")
            checked = CliRunner().invoke(main, ["check-config", str(world.service.write())], env=secrets)
            shown += [("check-config", checked.output.encode()), ("log", world.service.log.encode())]
    assert [b"GET /v2/cart?a=1&key=", b"GET /v2/cart?a=2&key="] == [head[:21] for head in heard]
    for head, secret in zip(heard, (OLD, NEW), strict=True):
        assert f"authorization: Bearer {TOKEN}\r\n" in head.decode()
        assert f"x-tenant: {secret}\r\n" in head.decode()
    found = {place for place, text in shown if any(secret.encode() in text for secret in (TOKEN, OLD, NEW))}
    assert set() == found
    assert [2, True] == [len(samples), any("‹redacted:".encode() in text for where, text in shown if ids[0] in where)]
    assert "Bearer ${V2_TOKEN}" in checked.output
