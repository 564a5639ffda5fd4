"""The demo's v1 and v2 have the same content, except for the faults in v2's journal."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.compare.line_places import template
from shadowdiff.demo.shop import ERROR_PRODUCT, PRODUCTS, Fault, JournalEntry, Shop, product_of, read_journal
from shadowdiff.demo.traffic import WEIGHTS, random_requests

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path


async def _ask(shop: Shop, method: str, path: str, name: str = "r-1") -> tuple[int, dict[bytes, bytes], bytes]:
    """Call an ASGI application, and return status, headers and body."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"x-request-id", name.encode())]}
    await shop(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_the_greeting_is_the_one_of_the_tutorial() -> None:
    """Only version, pod and counter differ between instances."""
    first, second = Shop("v1", None), Shop("v2", None)

    for expected, shop, version in (("1", first, "v1"), ("1", second, "v2"), ("2", first, "v1")):
        _, headers, body = await _ask(shop, "GET", "/")
        found = re.fullmatch(r"recommendation (v\d) from '[0-9a-f]{6}': (\d+)\n", body.decode())
        assert found is not None
        assert (version, expected) == found.groups()
        assert version.encode() == headers[b"x-version"]


async def test_the_pod_has_the_same_form_in_every_instance() -> None:
    """The greetings of v1, v2 and the control differ in the same place, so `--control` learns this place as noise."""
    greetings = [(await _ask(Shop(version, None), "GET", "/"))[2].decode() for version in ("v1", "v2") * 200]

    assert len(set(greetings)) > 2
    assert {"recommendation v{number} from '{id}': {number}"} == set(map(template, greetings))


async def test_products_mean_the_same_except_for_the_clock_and_the_planted_faults() -> None:
    """Without a fault both versions return the same 1 to 2 KB, with the keys in another order."""
    v1, v2 = Shop("v1", None), Shop("v2", None)

    _, _, one = await _ask(v1, "GET", "/products/2", "plain")
    _, _, two = await _ask(v2, "GET", "/products/2", "plain")
    old, new = json.loads(one), json.loads(two)
    old["meta"]["generatedAt"] = new["meta"]["generatedAt"] = ""

    assert one != two
    assert old == new == product_of(2)
    assert all(1000 <= len(json.dumps(product_of(number))) <= 2048 for number in range(PRODUCTS))


async def test_v2_logs_its_faults(tmp_path: Path) -> None:
    """The journal has the id and its faults."""
    file = tmp_path / "v2.jsonl"
    with file.open("a") as journal:
        shop = Shop("v2", journal)
        status, _, _ = await _ask(shop, "GET", f"/products/{ERROR_PRODUCT}", "a")
        _ = await _ask(shop, "GET", "/", "b")

        assert [
            JournalEntry("a", "GET", f"/products/{ERROR_PRODUCT}", 500, (Fault.SERVER_ERROR,)),
            JournalEntry("b", "GET", "/", 200),
        ] == read_journal(file)
    assert status == 500


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/slow", 200), ("POST", "/orders", 201), ("GET", "/products/9999", 404), ("GET", "/nothing", 404)],
)
async def test_other_routes_respond(method: str, path: str, status: int) -> None:
    """An unknown path is a 404 in both versions."""
    assert status == (await _ask(Shop("v1", None), method, path))[0]


def test_the_same_seed_sends_the_same_requests() -> None:
    """The ids are the same, and every kind occurs about as often as its weight."""
    first, again = (list(itertools.islice(random_requests(7), 2000)) for _ in range(2))

    assert first == again
    assert len({ask.id for ask in first}) == 2000
    for path, weight in WEIGHTS.items():
        share = sum(ask.path == path or (path == "/products/" and ask.path.startswith(path)) for ask in first) / 20
        assert abs(share - weight) < 6
    assert {"POST"} == {ask.method for ask in first if ask.path == "/orders"}
