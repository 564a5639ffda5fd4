"""A cancelled call to Redis ends its task, even if the client suppresses the cancellation."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shadowdiff.store import Store


class Swallowing:
    """A client whose call ignores one cancellation."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error
        self.asked = asyncio.Event()

    async def execute_command(self, *_words: Any) -> bytes:
        """Suppress one cancellation, as asyncio.wait_for may up to Python 3.11."""
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
        return b"1"


@pytest.mark.parametrize("error", [None, RedisConnectionError("closed")])
async def test_a_swallowed_cancellation_comes_out(error: Exception | None) -> None:
    """The calling task is cancelled, whether the client returns a reply or fails."""
    client = Swallowing(error)
    store = Store(cast("Any", client))
    call = asyncio.create_task(store.command("PING"))
    await client.asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled()
