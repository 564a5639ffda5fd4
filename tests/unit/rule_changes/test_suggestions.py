"""Test for which paths rules are suggested."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from shadowdiff.cli import main
from shadowdiff.compare import Limits, compare
from shadowdiff.model import Side
from shadowdiff.report import Redactor, SampleSettings
from shadowdiff.rules import compile_rules
from shadowdiff.verdict import count_writes
from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.samples import sample_writes
from tests.fakes.serving import served
from tests.fakes.shop import NOW_MS, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import observation, pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Bodies = tuple[dict[str, Any], dict[str, Any]]
_SETTINGS = SampleSettings(redactor=Redactor(b"k" * 32))
_NO_RULES = compile_rules((), datetime.fromtimestamp(0, UTC))
_numbers = count(1)


async def suggested(*bodies: Bodies) -> list[dict[str, Any]]:
    """Return the suggestions for pairs with these bodies."""
    texts = ((json.dumps(ours).encode(), json.dumps(theirs).encode()) for ours, theirs in bodies)
    return (await _suggestions(texts))["suggestions"]


async def _suggestions(
    texts: Iterable[tuple[bytes, bytes]], content_type: bytes = b"application/json"
) -> dict[str, Any]:
    web = create_web(web_parts(_with_samples(texts, content_type)))
    return (await get(web, "/api/v1/suggestions?target=shop")).json


def _with_samples(
    texts: Iterable[tuple[bytes, bytes]], content_type: bytes, route: str = "GET /products/{id}"
) -> MemoryStore:
    """Return a store with a sample of each pair of bodies."""
    store = MemoryStore(lambda: NOW_MS / 1000)
    for ours, theirs in texts:
        number = next(_numbers)
        named = (Side.PRIMARY, ours), (Side.CANDIDATE, theirs)
        sides = (observation(side, text, content_type=content_type) for side, text in named)
        one = pair(*sides, number=number, route=route)
        found = compare(one, _NO_RULES, Limits())
        store.commit(count_writes(one, found))
        store.commit(sample_writes(one, found, _SETTINGS, NOW_MS + number))
    return store


def values(make: Callable[[], Any], n: int = 8) -> list[Bodies]:
    """Return this number of pairs of bodies with values from `make`."""
    return [({"x": make(), "price": 5}, {"x": make(), "price": 5}) for _ in range(n)]


_counter = count(100)


@pytest.mark.parametrize(
    ("make", "volatile", "kind"),
    [
        (lambda: str(uuid4()), "uuid", "mask"),
        (lambda: uuid4().hex, "hex", "mask"),
        (lambda: f"recommendation-{uuid4().hex[:10]}-{uuid4().hex[:5]}", "pod", "mask"),
        (lambda: NOW_MS + next(_counter), "now", "tolerance"),
        (lambda: next(_counter), "counter", "schema"),
    ],
)
async def test_a_rule_for_generated_values_is_suggested(make: Callable[[], Any], volatile: str, kind: str) -> None:
    """Each path gets a rule that covers only its class of values."""
    found = await suggested(*values(make))
    assert [volatile] == [one["value_class"] for one in found]
    assert kind in found[0]["rule"]
    assert (8, 8, 8) == (found[0]["samples"], found[0]["pairs"], found[0]["disappearing"])


async def test_a_suggestion_for_a_value_under_ids_covers_every_id() -> None:
    """The values are at one place, and its rule has a wildcard."""
    found = await suggested(
        *[({name: {"at": str(uuid4())}}, {name: {"at": str(uuid4())}}) for name in map(str, range(8))]
    )
    assert [("$[{id}]['at']", "$[*]['at']", 8, 8)] == [
        (one["path"], one["rule"]["mask"]["path"], one["samples"], one["disappearing"]) for one in found
    ]


async def test_one_value_of_another_class_is_enough_to_suggest_nothing() -> None:
    """A UUID that became a word is a fault."""
    made = values(lambda: str(uuid4()))
    assert [] == await suggested(*made, ({"x": str(uuid4())}, {"x": "none"}))


async def test_values_of_the_service_are_no_suggestion() -> None:
    """Prices differ, but are not new for each request."""
    assert [] == await suggested(*[({"price": 5 + number % 3}, {"price": 9}) for number in range(8)])


async def test_other_differences_still_count() -> None:
    """A pair with another difference stays in the counts."""
    made = [({**ours, "y": 1}, theirs) for ours, theirs in values(lambda: str(uuid4()))]
    found = await suggested(*made)
    assert (["uuid"], 0) == ([one["value_class"] for one in found], found[0]["disappearing"])


@pytest.mark.parametrize(
    ("content_type", "ours", "theirs", "expected"),
    [
        (b"text/plain", b'{"a": 1, "b": 2}', b'{"b": 2, "a": 1}', [("application/json", "text/plain", 1, 1)]),
        (b"text/plain", b'{"a": 1}', b'{"a": 2}', [("application/json", "text/plain", 1, 0)]),
        (b"image/png", b"[1]", b"[1, 2]", [("application/json", "image/png", 1, 0)]),
        (b"application/json", b"[1]\n[2]\n", b"[1]\n[ 2]\n", [("application/x-ndjson", "application/json", 1, 1)]),
        (b"text/plain", b'{"a": 1}', b"<html>", []),
        (b"text/plain", b"1", b"2", []),
        (b"application/json", b'{"a": 1}', b'{"a": 2}', []),
        (b"application/xml", b"[1]", b"[2]", []),
    ],
)  # fmt: skip
async def test_json_under_another_type_gets_a_suggested_type(
    content_type: bytes, ours: bytes, theirs: bytes, expected: list[tuple[Any, ...]]
) -> None:
    """The suggestion states how many samples would match; a type that is already compared by value gets none."""
    found = await _suggestions([(ours, theirs)], content_type)
    names = ("body_type", "content_type", "samples", "disappearing")
    assert expected == [tuple(one[name] for name in names) for one in found["body_types"]]


async def test_a_type_is_suggested_for_the_path_of_an_operation() -> None:
    """The setting `body_types` has no GraphQL operations."""
    store = _with_samples([(b'{"a": 1}', b'{"a": 2}')], b"text/plain", "POST /graphql#Products")
    found = (await get(create_web(web_parts(store)), "/api/v1/suggestions?target=shop")).json
    assert ["POST /graphql"] == [one["route"] for one in found["body_types"]]


async def test_a_suggested_type_is_on_the_rules_page() -> None:
    """The page shows the setting to copy, the Content-Type that v1 sends, and a sample."""
    store = _with_samples([(b'{"a": 1}', b'{"a": 2}')], b"text/plain")
    page = (await get(create_web(web_parts(store)), "/rules?target=shop&suggest=yes")).text
    assert 'body_types: {"GET /products/{id}": application/json}' in page
    assert "both bodies are JSON under text/plain" in page


def test_a_suggested_type_is_printed() -> None:
    """The command prints the setting to copy."""
    store = _with_samples([(b'{"a": 1, "b": 2}', b'{"b": 2, "a": 1}')], b"text/plain")
    with served(create_web(web_parts(store))) as address:
        done = CliRunner().invoke(main, ["rules", "suggest", "--target", "shop", "--url", address])
    assert 0 == done.exit_code, done.output
    assert 'body_types: {"GET /products/{id}": application/json}' in done.output
    assert "in 1 of 1 samples; 1 samples would no longer count" in " ".join(done.output.split())
