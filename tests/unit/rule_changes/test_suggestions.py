"""Test for which paths rules are suggested."""

from __future__ import annotations

import json
import random
import re
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
        _add_sample(store, ours, theirs, content_type, route)
    return store


def _add_sample(
    store: MemoryStore,
    ours: bytes,
    theirs: bytes,
    content_type: bytes = b"application/json",
    route: str = "GET /products/{id}",
) -> None:
    number = next(_numbers)
    named = (Side.PRIMARY, ours), (Side.CANDIDATE, theirs)
    sides = (observation(side, text, content_type=content_type) for side, text in named)
    one = pair(*sides, number=number, route=route)
    found = compare(one, _NO_RULES, Limits())
    store.commit(count_writes(one, found))
    store.commit(sample_writes(one, found, _SETTINGS, NOW_MS + number))


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


_draw = random.Random(3)


def _ms() -> float:
    return round(_draw.uniform(0.5, 40), 3)


async def test_a_duration_on_many_routes_gets_one_rule() -> None:
    """One sample of each route is enough, because the place is the same."""
    store = MemoryStore(lambda: NOW_MS / 1000)
    for number in range(8):
        ours, theirs = (json.dumps({"query_ms": _ms()}).encode() for _ in range(2))
        _add_sample(store, ours, theirs, route=f"GET /r{number}x")
    found = (await get(create_web(web_parts(store)), "/api/v1/suggestions?target=shop")).json["suggestions"]
    assert [("duration", {"schema": "$['query_ms']"})] == [
        (one["value_class"], {"schema": one["rule"].get("schema")}) for one in found
    ]
    assert (8, 8, 8, 8) == (len(found[0]["routes"]), found[0]["samples"], found[0]["pairs"], found[0]["disappearing"])


@pytest.mark.parametrize("name", ["tookMs", "response_time", "elapsed"])
async def test_names_of_durations_are_recognized(name: str) -> None:
    """In snake case and in camel case."""
    found = await suggested(*[({name: _ms()}, {name: _ms()}) for _ in range(6)])
    assert ["duration"] == [one["value_class"] for one in found]


_VARIED = [7 * n % 11 for n in range(1, 9)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ([5000] * 8, [3000] * 8),
        (_VARIED, [60 * n for n in _VARIED]),
        (_VARIED, [n + 1 for n in _VARIED]),
        (_VARIED, [0] * 8),
    ],
)
async def test_a_changed_duration_is_a_fault(ours: list[int], theirs: list[int]) -> None:
    """A constant, another unit and an offset are no times of responses."""
    pairs = zip(ours, theirs, strict=True)
    assert [] == await suggested(*[({"timeout_ms": one}, {"timeout_ms": other}) for one, other in pairs])


async def test_a_duration_as_text_is_masked() -> None:
    """Only the number and its unit are covered."""
    found = await suggested(*[({"took": f"{_ms()} ms"}, {"took": f"{_ms()} ms"}) for _ in range(6)])
    assert ["duration"] == [one["value_class"] for one in found]
    assert "mask" in found[0]["rule"]


async def test_a_duration_in_a_line_of_text_is_masked_with_its_words() -> None:
    """Other changes of the line, and other numbers, still count."""
    lines = [(f"Queries took {_ms()} ms in 3 tables", f"Queries took {_ms()} ms in 3 tables") for _ in range(6)]
    found = (await _suggestions([(one.encode(), other.encode()) for one, other in lines], b"text/plain"))["suggestions"]
    assert [r"Queries took [0-9]+(?:[.,][0-9]+)* ms"] == [one["rule"]["mask"]["pattern"] for one in found]
    assert 6 == found[0]["disappearing"]


async def test_numbers_in_text_without_a_unit_are_no_suggestion() -> None:
    """A changed total is a fault."""
    lines = [(f"{n} results".encode(), f"{n + 1} results".encode()) for n in range(6)]
    assert [] == (await _suggestions(lines, b"text/plain"))["suggestions"]


async def test_a_value_that_v1_itself_changes_is_new() -> None:
    """All samples are of one request, and v1 sends another word each time."""
    assert [] == await suggested(*[({"word": f"w{n}"}, {"word": f"W{n}!"}) for n in "qwertzui"])
    found = await suggested(*[({"word": f"w{n}a"}, {"word": f"w{n}b"}) for n in "qwertzui"])
    assert [("new", "schema")] == [(one["value_class"], next(iter(one["rule"]))) for one in found]


async def test_sizes_that_v1_itself_changes_are_recognized() -> None:
    """A size that is the same for the same request is no suggestion."""
    draw = random.Random(5)
    found = await suggested(
        *[({"heapBytes": draw.randrange(9**6)}, {"heapBytes": draw.randrange(9**6)}) for _ in range(8)]
    )
    assert ["size"] == [one["value_class"] for one in found]
    assert [] == await suggested(*[({"heapBytes": 7}, {"heapBytes": draw.randrange(9**6)}) for _ in range(8)])


async def test_addresses_are_masked() -> None:
    """v2 sees the address of shadowdiff instead of the client's."""
    found = await suggested(*[({"origin": f"10.0.0.{n}"}, {"origin": "172.17.0.9"}) for n in range(6)])
    assert [("address", "mask")] == [(one["value_class"], next(iter(one["rule"]))) for one in found]


@pytest.mark.parametrize(
    ("ours", "theirs", "rule"),
    [
        ({"headers": {}}, {"headers": {"X-Shadowdiff": "1"}}, "$['headers']['X-Shadowdiff']"),
        ({"headers": {"Baggage": "a=1"}}, {"headers": {}}, "$['headers']['Baggage']"),
        ({"env": {"HTTP_TRACEPARENT": "00-a"}}, {"env": {"HTTP_TRACEPARENT": "00-b"}}, "$['env']['HTTP_TRACEPARENT']"),
        ({"X-B3-Spanid": ["a"]}, {"X-B3-Spanid": ["b"]}, "$['X-B3-Spanid'][*]"),
    ],
)  # fmt: skip
async def test_headers_that_the_response_repeats_are_ignored(
    ours: dict[str, Any], theirs: dict[str, Any], rule: str
) -> None:
    """Two samples are enough, because only mirroring changes these headers."""
    found = await suggested((ours, theirs), (ours, theirs))
    assert [("echo", rule)] == [(one["value_class"], one["rule"]["ignore"]) for one in found]


async def test_the_preview_of_a_suggestion_is_a_link() -> None:
    """It shows the suggested rule and its effect, and changes nothing."""
    store = MemoryStore(lambda: NOW_MS / 1000)
    for _ in range(6):
        ours, theirs = (json.dumps({"took": _ms()}).encode() for _ in range(2))
        _add_sample(store, ours, theirs)
    web = create_web(web_parts(store))
    page = (await get(web, "/rules?target=shop&suggest=yes")).text
    link = next(one for one in re.findall(r'href="([^"]+)"', page) if "rule=" in one).replace("&amp;", "&")
    shown = (await get(web, link.partition("#")[0])).text
    assert "6 samples change their result" in shown
