"""Calls to the store are encoded in C, exactly as redis-py's own asyncio connection encodes them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import Connection

from shadowdiff.store import open_client

WORDS = st.lists(st.binary(max_size=50) | st.text(max_size=20) | st.integers() | st.floats(allow_nan=False), max_size=6)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "unix:///nowhere.sock", "rediss://127.0.0.1:1"])
@given(words=WORDS)
def test_a_call_is_the_same_on_the_wire(url: str, words: list[bytes | str | float]) -> None:
    """Any call on any transport has the same bytes as in redis-py."""
    pool = cast("Any", open_client(url)).connection_pool
    ours: list[bytes] = pool.make_connection().pack_command("SET", *words)
    assert b"".join(cast("Any", Connection()).pack_command("SET", *words)) == b"".join(ours)
    assert 1 == len(ours)
