"""A password of Redis appears in no repr, error or log line, whatever URL names the servers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.config import ConfigError, Secret, StoreConfig, load_config
from shadowdiff.service.open_store import EmbeddedAddress, StoreHandle, _client  # pyright: ignore[reportPrivateUsage]
from shadowdiff.store import STORE_ERRORS, Store, describe_error
from shadowdiff.store.connections import parse_hosts_url
from shadowdiff.telemetry.logs import JsonFormatter, TextFormatter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

PASSWORD, OTHER = "hunter2-of-redis", "hunter3-of-sentinel"
SECRETS = (PASSWORD, OTHER, "hunter4-in-the-url", "hunter")
URLS = ["redis://{}/0", "redis+cluster://{}", "redis+sentinel://{}/main"]


@contextlib.asynccontextmanager
async def rejecting(reply: bytes) -> AsyncGenerator[int]:
    """Run a server that sends this reply to everything that it receives."""
    accepted: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                writer.write(reply)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for writer in accepted:
            writer.transport.abort()
        server.close()
        await server.wait_closed()


def opened(url: str) -> Any:
    """Return a client with a password for the servers and another one for the sentinels."""
    settings = StoreConfig(password=Secret(PASSWORD.encode()), sentinel_password=Secret(OTHER.encode()))
    return _client(url, settings)


def texts_of(client: Any) -> list[str]:
    """Return what a log line, an assertion or a debugger would show of a client and its parts."""
    store = Store(client)
    parts = [client, store, StoreHandle(store, "redis", "7", durable=True, key=PASSWORD.encode())]
    for name in ("connection_pool", "_master", "_sentinels", "_cluster"):
        part = getattr(client, name, None)
        parts += [part, getattr(part, "connection_pool", None), getattr(part, "sentinels", None)]
    return [text for part in parts for text in (repr(part), str(part))]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("reply", [b"-WRONGPASS invalid username-password pair\r\n", b"-NOAUTH\r\n", b"?\r\n", b""])
async def test_no_client_and_no_error_shows_the_password(url: str, reply: bytes) -> None:
    """This holds for a rejected password, for replies that are not Redis, and for a port without a server."""
    async with rejecting(reply or b"-ERR\r\n") as port:
        client = opened(url.format(f"me:hunter4-in-the-url@127.0.0.1:{port if reply else 1}"))
        shown = texts_of(client)
        with pytest.raises(STORE_ERRORS) as caught:
            await client.execute_command("TIME")
        error = caught.value
        record = logging.LogRecord("x", logging.ERROR, "", 1, "failed", None, (type(error), error, error.__traceback__))
        shown += [describe_error(error), repr(error), "".join(traceback.format_exception(error))]
        shown += [JsonFormatter().format(record), TextFormatter(colors=False).format(record)]
        with contextlib.suppress(*STORE_ERRORS):
            await client.aclose()
    assert [] == [text for text in shown if any(secret in text for secret in SECRETS)]


def test_values_with_secrets_show_none() -> None:
    """The parts of a URL and the address of the embedded store have secrets of their own."""
    parsed = parse_hosts_url("redis+sentinel://me:hunter4-in-the-url@a,b/main")
    address = EmbeddedAddress("unix:///s", "redis", "7", b"hunter")
    assert "hunter" not in repr([parsed, address]) + str(parsed) + str(address)


@pytest.mark.parametrize(
    "url",
    ["redis://me:hunter?2@redis", "redis+cluster://me:hunter,b", "redis+sentinel://me:hunter/x@a", "redis://me:hunter"],
)
def test_an_unescaped_password_in_a_url_is_not_repeated(url: str, tmp_path: Path) -> None:
    """Parsers quote the part that they cannot read, which may be a part of the password."""
    path = tmp_path / "s.yaml"
    path.write_text(f"store: {{url: '{url}'}}")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert "store.url: has an unreadable host or port; percent-encode" in str(caught.value)
    assert "hunter" not in "".join(traceback.format_exception(caught.value))
