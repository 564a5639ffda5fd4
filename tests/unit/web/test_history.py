"""Test the history of counts in the API."""

from __future__ import annotations

import pytest

from shadowdiff.verdict import history_writes
from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.shop import NOW_MS, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import MATCH, mismatch, pair


def _store() -> MemoryStore:
    store = MemoryStore(lambda: NOW_MS / 1000)
    for minutes_ago, comparison in ((10, MATCH), (5, mismatch()), (90, mismatch())):
        store.commit(history_writes(pair(), comparison, NOW_MS - minutes_ago * 60_000))
    return store


@pytest.mark.parametrize(
    ("window", "expected"),
    [("", (1, 1)), ("&since=7m", (0, 1)), ("&since=2h", (1, 2)), ("&since=2h&until=1h", (0, 1)), ("&since=7d", (1, 2))],
)
async def test_a_window_is_returned_and_marked_as_descriptive(window: str, expected: tuple[int, int]) -> None:
    """The default is the last hour."""
    answer = (await get(create_web(web_parts(_store())), f"/api/v1/history?target=shop{window}")).json
    results = answer["history"]["results"]
    assert (True, expected) == (answer["descriptive"], (results["match"], results["mismatch"]))


async def test_times_are_read_as_rfc_3339_has_them() -> None:
    """The times have an offset, whose plus sign a query turns into a blank, or are in UTC."""
    app = create_web(web_parts(_store()))
    for since in ("2026-02-25T06:18:00Z", "2026-02-25T07:18:00+01:00", "2026-02-25T06:18:00"):
        answer = (await get(app, f"/api/v1/history?target=shop&since={since.replace('+', ' ')}")).json
        assert 1_772_000_280_000 == answer["history"]["start_ms"]


@pytest.mark.parametrize(
    ("status", "query", "says"),
    [
        (400, "target=shop&since=yesterday", "parameter 'since' is 'yesterday': use a time such as"),
        (400, "target=shop&since=1h&until=2h", "`until` must be after"),
        (400, "target=shop&since=36d", "within the last 35 days"),
        (404, "target=shpo", "unknown target 'shpo'; configured: shop"),
    ],
)
async def test_a_wrong_window_is_rejected_with_the_allowed_values(status: int, query: str, says: str) -> None:
    """The error has one line."""
    answer = await get(create_web(web_parts(_store())), f"/api/v1/history?{query}")
    assert (status, True) == (answer.status, says in answer.json["error"])
