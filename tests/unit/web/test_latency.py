"""Test the durations of both sides in the API."""

from __future__ import annotations

from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.shop import open_shop, web_parts


async def test_both_sides_are_listed_per_route_after_all_routes_together() -> None:
    """Each difference has its interval, and the response describes what the durations include."""
    answer = (await get(create_web(web_parts(open_shop())), "/api/v1/latency?target=shop")).json
    assert ["all routes", "GET /products/{id}", "GET /"] == [route["route"] for route in answer["routes"]]
    assert [0.5, 0.9, 0.99] == [row["quantile"] for row in answer["routes"][1]["quantiles"]]
    middle = answer["routes"][1]["quantiles"][0]
    assert 4.2 <= middle["primary_ms"] < 6.8 <= middle["candidate_ms"]
    assert middle["difference"]["lower_ms"] <= 2.6 <= middle["difference"]["upper_ms"]
    assert "next to v1" in answer["measured"]


async def test_an_unknown_target_is_refused_with_the_known_ones() -> None:
    """The status is 404."""
    answer = await get(create_web(web_parts(open_shop())), "/api/v1/latency?target=shpo")
    assert (404, "unknown target 'shpo'; configured: shop") == (answer.status, answer.json["error"])
