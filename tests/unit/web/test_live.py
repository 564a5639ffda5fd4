"""Test streams that report new counts: bounded, silent without a change, and closed with the port."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from shadowdiff.queries.errors import RequestError
from shadowdiff.web import live
from shadowdiff.web.live import LiveStreams
from tests.fakes.shop import replace_parts, shop_ledger, web_parts
from tests.fakes.store_reader import MemoryStore

EVERY_S = 0.01


class Counted:
    """A shop whose ledger changes when the test requests it."""

    def __init__(self) -> None:
        self.compared = 1
        self.parts = replace_parts(web_parts(MemoryStore()), ledger=self.ledger)

    async def ledger(self, _target: str) -> dict[str, Any]:
        """Return the ledger."""
        return shop_ledger(self.compared)


def _request(query: str = "") -> Request:
    return Request({"type": "http", "method": "GET", "path": "/live", "query_string": query.encode(), "headers": []})


async def _open(streams: LiveStreams, query: str = "target=shop") -> Any:
    response = await streams.stream(_request(query))
    assert isinstance(response, StreamingResponse)
    return response.body_iterator


async def test_a_stream_sends_an_event_when_counts_change() -> None:
    """The event contains no data, because the page loads it."""
    shop = Counted()
    events = await _open(LiveStreams(shop.parts.queries, shop.parts.closing, EVERY_S))
    assert "retry: 5000\n\n" == await anext(events)
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    shop.compared += 1
    said = await waiting
    while said == ":\n\n":
        shop.compared += 1
        said = await anext(events)
    assert "event: counted\ndata:\n\n" == said


async def test_streams_end_when_the_port_closes() -> None:
    """A stop therefore does not wait for readers."""
    shop = Counted()
    streams = LiveStreams(shop.parts.queries, shop.parts.closing, 60.0)
    events = await _open(streams)
    await anext(events)
    ending = asyncio.ensure_future(anext(events, None))
    await asyncio.sleep(0)
    shop.parts.closing.set()
    assert await asyncio.wait_for(ending, 10) is None
    assert 0 == streams.open


async def test_streams_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """An additional stream gets an error with the reason."""
    shop = Counted()
    monkeypatch.setattr(live, "MAX_STREAMS", 1)
    streams = LiveStreams(shop.parts.queries, shop.parts.closing, EVERY_S)
    events = await _open(streams)
    await anext(events)
    with pytest.raises(RequestError, match="1 pages already receive live updates"):
        await streams.stream(_request())
    await events.aclose()
    await (await _open(streams)).aclose()


async def test_a_stream_of_an_unknown_target_is_refused() -> None:
    """The error names it."""
    shop = Counted()
    with pytest.raises(RequestError, match="nothing"):
        await LiveStreams(shop.parts.queries, shop.parts.closing).stream(_request("target=nothing"))
