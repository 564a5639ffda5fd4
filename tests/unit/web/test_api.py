"""Test the API in process: its responses, its errors, and their text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.shop import empty_ledger, open_shop, replace_parts, shop_ledger, shop_target, web_parts
from tests.fakes.store_reader import MemoryStore

if TYPE_CHECKING:
    from starlette.applications import Starlette


@pytest.fixture(scope="module")
def shop() -> Starlette:
    """Return the API for a shop with planted faults."""
    return create_web(web_parts(open_shop()))


async def _json(app: Starlette, target: str) -> Any:
    answer = await get(app, f"/api/v1/{target}")
    assert (200, "application/json") == (answer.status, answer.headers["content-type"])
    return answer.json


async def _refused(app: Starlette, target: str) -> tuple[int, str]:
    answer = await get(app, f"/api/v1/{target}")
    assert ["error"] == list(answer.json)
    assert "\n" not in answer.json["error"]
    return answer.status, answer.json["error"]


async def test_targets_are_listed_with_their_verdicts(shop: Starlette) -> None:
    """One line has all data for a dashboard."""
    (target,) = (await _json(shop, "targets"))["targets"]
    assert ("shop", "fail", 1399, 34) == (
        target["name"],
        target["verdict"]["verdict"],
        target["verdict"]["pairs"]["compared"],
        target["verdict"]["pairs"]["mismatch"],
    )


async def test_credentials_in_an_address_are_not_shown(shop: Starlette) -> None:
    """The candidate's URL may contain a password."""
    assert "http://shop-v2:8080" == (await _json(shop, "targets/shop"))["settings"]["candidate"]


async def test_a_target_has_its_routes_paths_and_latencies(shop: Starlette) -> None:
    """The route with the most differences comes first, and paths are sorted by frequency."""
    worst, other = (await _json(shop, "targets/shop"))["routes"]
    assert ("GET /products/{id}", "GET /") == (worst["route"], other["route"])
    assert [("$['price']", 20), ("$['stock']", 9)] == [(p["path"], p["count"]) for p in worst["paths"][:2]]
    assert {"primary", "candidate"} == set(worst["latency"])
    assert other["latency"]["primary"]["p50_ms"] <= other["latency"]["primary"]["p99_ms"]


async def test_the_ledger_is_answered_as_it_is(shop: Starlette) -> None:
    """No field is added, renamed or omitted."""
    assert shop_ledger() == await _json(shop, "ledger?target=shop")


async def test_requests_for_no_known_host_have_a_ledger_too(shop: Starlette) -> None:
    """`_unknown` exists only as a name in the ledger."""
    assert "_unknown" == (await _json(shop, "ledger?target=_unknown"))["target"]
    assert 404 == (await _refused(shop, "targets/_unknown"))[0]


async def test_the_verdict_takes_stricter_thresholds_and_ignores_looser_ones(shop: Starlette) -> None:
    """A caller cannot make a gate less strict."""
    strict = await _json(shop, "verdict?target=shop&max_mismatch_ratio=0.00001&min_coverage=0.999")
    loose = await _json(shop, "verdict?target=shop&max_mismatch_ratio=1&min_coverage=0")
    assert {"max_mismatch_ratio": 0.00001, "min_coverage": 0.999} == strict["thresholds"]
    assert ({"max_mismatch_ratio": 0.001, "min_coverage": 0.95}, "fail") == (loose["thresholds"], loose["verdict"])


async def test_the_verdict_on_an_unknown_target_is_insufficient_and_no_error(shop: Starlette) -> None:
    """Rollout controllers treat any other status as their own failure."""
    verdict = await _json(shop, "verdict?target=shpo")
    assert ("insufficient", "Unknown target 'shpo'; configured: shop.") == (verdict["verdict"], verdict["reason"])


async def test_a_verdict_links_to_the_page_that_explains_it() -> None:
    """The link uses the configured public address, or that of the request."""
    store = MemoryStore()
    state = web_parts(store)
    public = replace_parts(state, public_url="https://sd.example/x/")
    assert ["http://shadowdiff.example/targets/shop", "https://sd.example/x/targets/shop"] == [
        (await _json(create_web(one), "verdict?target=shop"))["report_url"] for one in (state, public)
    ]


async def test_an_unknown_route_or_path_is_reported(shop: Starlette) -> None:
    """An empty list alone would look as if there were no differences."""
    for query, says in {
        "route=GET%20/nope": "unknown route 'GET /nope'; known routes: GET /products/{id}, GET /",
        "path=cost": "nothing differs at 'cost'; differing paths: price, stock",
        "path=price&kind=order": "",
    }.items():
        answer = await _json(shop, f"samples?target=shop&{query}")
        assert [] == answer["samples"]
        assert answer["note"].startswith(says)
        assert bool(says) == bool(answer["note"])


async def test_samples_can_be_narrowed(shop: Starlette) -> None:
    """Filters are route, path, kind and result. The newest samples come first."""
    everything = (await _json(shop, "samples?target=shop&limit=1000"))["samples"]
    assert 34 == len(everything)
    assert sorted((line["at_ms"] for line in everything), reverse=True) == [line["at_ms"] for line in everything]
    for query, expected in {
        "kind=removed": 9,
        "path=%24%5B'price'%5D": 20,
        "path=price": 20,
        "path=%24.price": 20,
        "route=GET%20/": 0,
        "kind=type&path=%24%5B'price'%5D": 0,
        "result=incomparable": 1,
        "limit=3": 3,
    }.items():
        assert expected == len((await _json(shop, f"samples?target=shop&{query}"))["samples"]), query


async def test_a_sample_holds_both_answers(shop: Starlette) -> None:
    """Each sample in the list can be read completely."""
    line = (await _json(shop, "samples?target=shop&kind=status"))["samples"][0]
    whole = await _json(shop, f"samples/{line['id']}")
    assert (200, 500, line["request_id"]) == (
        whole["primary"]["status"],
        whole["candidate"]["status"],
        whole["request_id"],
    )
    assert "division by zero" == json.loads(whole["candidate"]["body"]["text"])["error"]


@pytest.mark.parametrize(
    ("target", "status", "says"),
    [
        ("targets/shpo", 404, "unknown target 'shpo'; configured: shop"),
        ("ledger", 400, "parameter 'target' is missing"),
        ("ledger?target=", 400, "parameter 'target' is missing"),
        ("verdict", 400, "parameter 'target' is missing"),
        ("verdict?target=shop&max_mismatch_ratio=x", 400, "'max_mismatch_ratio' is 'x': use a number"),
        ("verdict?target=shop&min_coverage=1.5", 400, "'min_coverage' is '1.5': use a number from 0 to 1"),
        ("verdict?target=shop&min_coverage=nan", 400, "'min_coverage' is 'nan'"),
        ("samples?target=shop&limit=0", 400, "'limit' is '0': use a number from 1 to 10000"),
        ("samples?target=shop&limit=1e3", 400, "'limit' is '1e3': use an integer"),
        ("samples?target=shop&kind=bug", 400, "'kind' is 'bug': use one of status, header"),
        ("samples?target=shop&result=match", 400, "use one of mismatch, incomparable"),
        ("samples/shop-0000000000000000", 404, "there is no sample with the id 'shop-0000000000000000'"),
        ("nothing", 404, "There is no page /api/v1/nothing"),
    ],
)
async def test_a_wrong_request_is_rejected_with_one_line(shop: Starlette, target: str, status: int, says: str) -> None:
    """The line has the argument, its value and a valid example."""
    refused, line = await _refused(shop, target)
    assert (status, True) == (refused, says in line), line


async def test_only_reading_is_served(shop: Starlette) -> None:
    """The API rejects other methods with an error as JSON."""
    answer = await get(shop, "/api/v1/targets", method="POST", host="localhost")
    assert (405, "error") == (answer.status, next(iter(answer.json)))


async def test_an_unavailable_store_is_a_503_of_one_line() -> None:
    """The API reports this, and recovers with the store."""

    class Away(MemoryStore):
        async def counts(self, key: str) -> dict[str, int]:
            raise RedisConnectionError(key)

    status, line = await _refused(create_web(web_parts(Away())), "targets")
    assert (503, True) == (status, line.startswith("The store is unavailable"))


@pytest.mark.parametrize("target", ["/", "/api/v1/targets", "/api/v1/nothing", "/nothing", "/static/style.css"])
async def test_every_response_has_the_security_headers(shop: Starlette, target: str) -> None:
    """No script runs, no page is framed, and no data about the reader is stored."""
    headers = (await get(shop, target)).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert ("nosniff", "DENY", "same-origin") == (
        headers["x-content-type-options"],
        headers["x-frame-options"],
        headers["referrer-policy"],
    )
    assert "set-cookie" not in headers


async def test_reading_changes_no_number() -> None:
    """The test requests everything twice, and the store is unchanged."""
    store = open_shop()
    app = create_web(web_parts(store))
    before = {key: await store.counts(key) for key in store.names()}
    for target in (
        "/",
        "/targets/shop",
        "/api/v1/targets",
        "/api/v1/samples?target=shop",
        "/api/v1/verdict?target=shop",
    ):
        first, second = await get(app, target), await get(app, target)
        assert first.body == second.body
    assert before == {key: await store.counts(key) for key in store.names()}


async def test_without_targets_there_is_nothing_and_no_error() -> None:
    """A service without targets returns empty lists."""
    app = create_web(web_parts(MemoryStore(), empty_ledger("x"), targets=()))
    assert {"targets": []} == await _json(app, "targets")
    assert (404, "unknown target 'x'; configured: none") == await _refused(app, "targets/x")


async def test_targets_with_unusual_names_can_be_requested() -> None:
    """A URL can contain any name in encoded form."""
    app = create_web(web_parts(MemoryStore(), targets=(shop_target("a b&c"),)))
    assert "a b&c" == (await _json(app, "targets/a%20b%26c"))["name"]
