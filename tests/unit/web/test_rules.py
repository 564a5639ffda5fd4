"""Rules on the web port: the page with its forms, and what a preview tells."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import fakeredis
import msgspec
import pytest

from shadowdiff.store import Store
from shadowdiff.verdict import PathCount, RouteCounts
from shadowdiff.web import create_web, rule_book
from shadowdiff.web.preview import returning
from shadowdiff.web.proposals import proposals
from shadowdiff.web.rule_book import RuleBook
from tests.fakes.asgi import Answer, get, post_form
from tests.fakes.shop import NOW_MS, open_shop, web_state
from tests.fakes.traffic import difference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shadowdiff.web.state import WebState


def kept(state: WebState) -> RuleBook:
    """Return the book of a state that has one."""
    assert state.rule_book is not None
    return state.rule_book


@pytest.fixture
async def state() -> AsyncIterator[WebState]:
    """Yield a shop with faults, and a book of rules in memory."""
    store = Store(fakeredis.FakeAsyncRedis())
    book = RuleBook(store, lambda: NOW_MS, lambda: None)
    yield replace(web_state(open_shop()), rule_book=book)
    await store.close()


async def post(state: WebState, origin: str = "http://shadowdiff.example", **fields: str) -> Answer:
    """Post the page's form as a browser does."""
    return await post_form(create_web(state), "/rules", fields, origin=origin)


async def test_a_rule_tried_on_the_page_shows_both_counts_and_changes_nothing(state: WebState) -> None:
    """As counted and as the rules would count, and what else is hidden."""
    shown = await post(state, do="try", target="shop", rule="[{ignore: $.price}, {ignore: $.served_at}]")
    assert shown.status == 200
    rows = dict(re.findall(r'<th scope="row">(as [^<]+)</th><td class="number">([0-9,]+)</td>', shown.text))
    assert rows == {"as counted": "34", "as the rules would count": "14"}
    assert "ignore $.price" in shown.text
    assert "vanishes" in shown.text
    assert kept(state).made == ()


async def test_a_rule_is_made_and_taken_back_on_the_page(state: WebState) -> None:
    """With a name and a reason, which stand beside it."""
    made = await post(state, do="make", target="shop", rule="{ignore: $.price}", author="ada", reason="<b>sale</b>")
    assert (made.status, made.headers["location"].partition("&")[0]) == (303, "/rules?target=shop")
    page = (await get(create_web(state), made.headers["location"])).text
    assert "undo" in page
    assert "{ignore: $.price, reason:" in page
    assert "ada" in page
    assert "<b>sale" not in page
    (rule,) = kept(state).made
    gone = await post(state, do="remove", id=rule.id, target="shop", author="bob")
    assert gone.status == 303
    assert kept(state).made == ()


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"do": "make", "rule": "{ignore: $.a}", "author": "a"}, 400, "an author and a reason"),
        ({"do": "make", "rule": "{ignore: $[}", "author": "a", "reason": "b"}, 400, "$["),
        ({"do": "make", "rule": "{", "author": "a", "reason": "b"}, 400, "expected"),
        ({"do": "make", "rule": "", "author": "a", "reason": "b"}, 400, "mapping"),
        ({"do": "remove", "id": "x", "author": "a"}, 404, "no rule made here"),
        ({"do": "remove", "id": "x"}, 400, "say who you are"),
        ({"do": "dance"}, 400, "dance"),
    ],
)
async def test_the_page_says_what_is_wrong_and_keeps_what_was_written(
    state: WebState, fields: dict[str, str], status: int, said: str
) -> None:
    """Nobody writes a rule twice."""
    shown = await post(state, **{"target": "shop"} | fields)
    assert shown.status == status
    assert said in unescape(shown.text)
    assert not fields.get("rule") or f">{fields['rule']}</textarea>" in shown.text
    assert kept(state).made == ()


async def test_a_form_of_another_site_makes_no_rule(state: WebState) -> None:
    """Nor one that says it is no form."""
    fields = {"do": "make", "target": "shop", "rule": "{ignore: $.a}", "author": "a", "reason": "b"}
    assert (await post(state, "http://elsewhere.example", **fields)).status == 403
    body = urlencode(fields).encode()
    plain = await get(create_web(state), "/rules", "POST", body, "text/plain", origin="http://shadowdiff.example")
    assert plain.status == 403
    assert kept(state).made == ()


async def test_pages_post_to_themselves_alone_and_name_their_origin_there(state: WebState) -> None:
    """Without a referrer a browser would post from `null`."""
    page = (await get(create_web(state), "/rules")).headers
    assert "form-action 'self'" in page["content-security-policy"]
    assert page["referrer-policy"] == "same-origin"


async def test_made_rules_are_bounded(state: WebState, monkeypatch: pytest.MonkeyPatch) -> None:
    """More belong into the configuration."""
    monkeypatch.setattr(rule_book, "MOST", 1)
    await kept(state).add("shop", {"ignore": "$.a"}, "ada", "why")
    with pytest.raises(rule_book.BookFullError, match="configuration"):
        await kept(state).add("shop", {"ignore": "$.b"}, "ada", "why")


async def test_a_rule_that_cannot_be_read_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """What a later version wrote stops no process; the log names it."""
    store, changes = Store(fakeredis.FakeAsyncRedis()), list[None]()
    book = RuleBook(store, lambda: NOW_MS, lambda: changes.append(None))
    await book.add("shop", {"ignore": "$.a"}, "ada", "why")
    await store.command("HSET", store.keys.name(0, "rules:made"), "odd", b"{}")
    await book.look()
    assert [str(rule.label) for rule in book.rules("shop")] == ["ignore $.a"]
    assert "a rule in the store cannot be read" in caplog.text
    assert len(changes) == 2
    await book.look()
    assert len(changes) == 2
    await store.close()


def test_a_preview_says_what_would_count_again_without_a_rule() -> None:
    """Places that only rules which go cover, those with most pairs first; what another rule keeps covering is none."""
    covered = (
        PathCount(path="$['a']", kind="value", count=3, rule="ignore $.a"),
        PathCount(path="$['b']", kind="type", count=9, rule="ignore $.b"),
        PathCount(path="$['c']", kind="value", count=5, rule="ignore $.c"),
    )
    routes = [RouteCounts(route="GET /", results={}, covered=covered)]
    found = returning(routes, {"ignore $.c"})
    assert [("$['b']", "ignore $.b", 9), ("$['a']", "ignore $.a", 3)] == [
        (one.place.path, one.rule, one.pairs) for one in found
    ]


async def test_made_rules_are_sealed_where_the_store_has_a_key() -> None:
    """A path may name what nobody else should read; what was kept in clear before is still read."""
    client = fakeredis.FakeAsyncRedis()
    sealing, plain = Store(client, key=b"k" * 32), Store(client)
    ours, theirs = (RuleBook(store, lambda: NOW_MS, lambda: None) for store in (sealing, plain))
    older = await theirs.add("shop", {"ignore": "$.a"}, "ada", "why")
    await plain.command("HSET", plain.keys.name(0, "rules:made"), older.id, msgspec.json.encode(older))
    await ours.add("shop", {"ignore": "$['jo@example.com']"}, "ada", "asked by al@example.com")
    assert {"$.a", "$['jo@example.com']"} == {made.rule["ignore"] for made in ours.made}
    raw = repr(await plain.command("HGETALL", plain.keys.name(0, "rules:made")))
    assert [True, False] == [part in raw for part in ("$.a", "example.com")]
    await theirs.look()
    assert ["$.a"] == [made.rule["ignore"] for made in theirs.made]
    await plain.close()


def test_a_rule_is_proposed_without_what_was_redacted_in_its_path() -> None:
    """A rule that named the placeholder would cover nothing."""
    found = difference("$['users']['‹redacted:0123456789ab›']['at']", pattern="$['users']['‹redacted›']['at']")
    assert {"$['users'][*]['at']"} == {
        str(one.rule["ignore"]) for one in proposals(found, "GET /") if "ignore" in one.rule
    }


NESTED = {
    "lists": "[" * 5_000,
    "maps": "{a: " * 3_000,
    "items": "- " * 5_000 + "a",
    "itself": "ignore: &a [*a]",
    "aliases": "ignore: [&a [x, x, x], &b [*a, *a, *a], [*b, *b, *b]]",
}


@pytest.mark.parametrize("name", list(NESTED))
async def test_a_rule_that_is_nested_without_end_is_refused_on_the_page(state: WebState, name: str) -> None:
    """By depth, or by aliases, of which a few lines stand for gigabytes."""
    for do in ("try", "make"):
        shown = await post(state, do=do, target="shop", rule=NESTED[name], author="ada", reason="why")
        assert (400, True) == (shown.status, "nested too deeply" in shown.text or "an alias" in shown.text)


async def test_a_body_that_is_nested_without_end_is_refused_by_the_api(state: WebState) -> None:
    """As any other that is not what is expected."""
    body = b'{"target":"shop","author":"a","reason":"b","rule":{"ignore":' + b"[" * 100_000
    answer = await get(create_web(state), "/api/v1/rules", "POST", body, "application/json", host="localhost")
    assert (400, {"error": "the body is nested too deeply"}) == (answer.status, answer.json)
