"""Streams that say when something was counted: bounded, quiet without a change, and over when the port closes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse

from shadowdiff.web import live
from shadowdiff.web.live import Live
from tests.fakes.shop import shop_ledger, web_state
from tests.fakes.store_reader import MemoryStore

EVERY_S = 0.01


class Counted:
    """A shop whose ledger moves when it is told to."""

    def __init__(self) -> None:
        self.compared = 1
        self.state = replace(web_state(MemoryStore()), ledger=self.ledger)

    async def ledger(self, _target: str) -> dict[str, Any]:
        """Return the books as they stand."""
        return shop_ledger(self.compared)


def _request(query: str = "") -> Request:
    return Request({"type": "http", "method": "GET", "path": "/live", "query_string": query.encode(), "headers": []})


async def _open(streams: Live, query: str = "target=shop") -> Any:
    response = await streams.stream(_request(query))
    assert isinstance(response, StreamingResponse)
    return response.body_iterator


async def test_a_stream_says_when_something_was_counted() -> None:
    """And nothing of what it was: that comes by the page."""
    shop = Counted()
    events = await _open(Live(shop.state, EVERY_S))
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
    """So that a stop does not wait for readers."""
    shop = Counted()
    streams = Live(shop.state, 60.0)
    events = await _open(streams)
    await anext(events)
    ending = asyncio.ensure_future(anext(events, None))
    await asyncio.sleep(0)
    shop.state.closing.set()
    assert await asyncio.wait_for(ending, 10) is None
    assert 0 == streams.open


async def test_streams_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused with a line that says so."""
    monkeypatch.setattr(live, "MOST", 1)
    streams = Live(Counted().state, EVERY_S)
    events = await _open(streams)
    await anext(events)
    with pytest.raises(HTTPException, match="1 pages are followed"):
        await streams.stream(_request())
    await events.aclose()
    await (await _open(streams)).aclose()


async def test_a_stream_of_an_unknown_target_is_refused() -> None:
    """By its name."""
    with pytest.raises(HTTPException, match="nothing"):
        await Live(Counted().state).stream(_request("target=nothing"))
