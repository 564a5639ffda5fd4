"""Rules on the web port: the page with its forms, and previews."""

from __future__ import annotations

import dataclasses
import json
import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import fakeredis
import msgspec
import pytest

from shadowdiff.model import Result
from shadowdiff.rule_changes import added_rules
from shadowdiff.rule_changes.added_rules import RuleBook
from shadowdiff.rule_changes.preview import reported_again
from shadowdiff.rule_changes.proposals import proposals
from shadowdiff.rules.builtin import BOTH_BROKEN, BUILT_IN_RULES, OWN_ORIGIN
from shadowdiff.store import Store
from shadowdiff.verdict import PathCount, RouteCounts, count_writes
from shadowdiff.web import create_web
from tests.fakes.asgi import Answer, get, post_form
from tests.fakes.shop import NOW_MS, greeting, open_shop, replace_parts, shop_target, web_parts
from tests.fakes.traffic import difference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shadowdiff.web import WebParts


def book_of(state: WebParts) -> RuleBook:
    """Return the rule book of parts that have one."""
    assert state.rules.book is not None
    return state.rules.book


@pytest.fixture
async def state() -> AsyncIterator[WebParts]:
    """Yield a shop with faults, and a book of rules in memory."""
    store = Store(fakeredis.FakeAsyncRedis())
    book = RuleBook(store, lambda: NOW_MS, lambda: None)
    yield replace_parts(web_parts(open_shop()), book=book)
    await store.close()


async def post(state: WebParts, origin: str = "http://shadowdiff.example", **fields: str) -> Answer:
    """Post the page's form as a browser does."""
    return await post_form(create_web(state), "/rules", fields, origin=origin)


async def test_a_preview_on_the_page_shows_counts_before_and_after_and_changes_nothing(state: WebParts) -> None:
    """The preview also lists the differences that the rules would ignore."""
    shown = await post(state, do="preview", target="shop", rule="[{ignore: $.price}, {ignore: $.served_at}]")
    assert shown.status == 200
    rows = dict(re.findall(r'<th scope="row">(before|after)</th><td class="number">([0-9,]+)</td>', shown.text))
    assert rows == {"before": "34", "after": "14"}
    assert "ignore $.price" in shown.text
    assert "disappears" in shown.text
    assert book_of(state).added == ()


async def test_a_rule_is_added_and_removed_on_the_page(state: WebParts) -> None:
    """The list shows its author and reason."""
    made = await post(state, do="add", target="shop", rule="{ignore: $.price}", author="ada", reason="<b>sale</b>")
    assert (made.status, made.headers["location"].partition("&")[0]) == (303, "/rules?target=shop")
    page = (await get(create_web(state), made.headers["location"])).text
    assert "Undo" in page
    assert "{ignore: $.price, reason:" in page
    assert "ada" in page
    assert "<b>sale" not in page
    (rule,) = book_of(state).added
    gone = await post(state, do="remove", id=rule.id, target="shop", author="bob")
    assert gone.status == 303
    assert book_of(state).added == ()


async def test_a_rule_without_an_effect_is_added_only_if_it_is_confirmed(state: WebParts) -> None:
    """A typo is noticed. The confirmation is for this rule only."""
    fields = {"do": "add", "target": "shop", "rule": "{ignore: $.prise}", "author": "ada", "reason": "sale"}
    asked = await post(state, **fields)
    assert (409, ()) == (asked.status, book_of(state).added)
    assert "The rule changes 0 of 34 stored samples. Create it anyway?" in asked.text
    assert "Create anyway" in asked.text
    assert 409 == (await post(state, **fields, confirm="{ignore: $.price}")).status
    assert 303 == (await post(state, **fields, confirm="{ignore: $.prise}")).status
    assert 1 == len(book_of(state).added)


async def test_a_rule_without_an_effect_needs_a_flag_in_the_api(state: WebParts) -> None:
    """The error has the flag. A rule whose samples still differ elsewhere has an effect."""

    async def status(rule: dict[str, str], **more: bool) -> int:
        body = json.dumps({"target": "shop", "rule": rule, "author": "ada", "reason": "x"} | more).encode()
        web = create_web(state)
        return (await get(web, "/api/v1/rules", "POST", body, "application/json", host="localhost")).status

    assert [409, 200, 200] == [
        await status({"ignore": "$.prise"}),
        await status({"ignore": "$.prise"}, confirm=True),
        await status({"ignore": "$.price"}),
    ]


async def test_the_page_lists_the_built_in_rules_with_their_counts() -> None:
    """A pair that a built-in rule covers is counted at the rule, and a rule that is off is marked."""
    shop = open_shop()
    covered = msgspec.structs.replace(difference("$['self']"), rule=OWN_ORIGIN.label)
    pair, found = greeting(5000)
    shop.commit(count_writes(pair, msgspec.structs.replace(found, result=Result.IGNORED, differences=(covered,))))
    view = shop_target()
    target = msgspec.structs.replace(view.target, built_in_off=(BOTH_BROKEN.name,))
    parts = web_parts(shop, targets=(dataclasses.replace(view, target=target),))
    page = (await get(create_web(parts), "/rules?target=shop")).text
    row = r'<th scope="row">(built-in: [^<]+)<.*?<td>(.*?)</td>\s*<td class="number">(.*?)</td>'
    rows = re.findall(row, page, re.DOTALL)
    shown = {unescape(label): (name, count) for label, name, count in rows}
    assert [rule.label for rule in BUILT_IN_RULES] == list(shown)
    assert (f"<code>{OWN_ORIGIN.name}</code>", "1") == shown[OWN_ORIGIN.label]
    assert (f'<code>{BOTH_BROKEN.name}</code> <span class="bad">off</span>', "–") == shown[BOTH_BROKEN.label]


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"do": "add", "rule": "{ignore: $.a}", "author": "a"}, 400, "author or reason is missing"),
        ({"do": "add", "rule": "{ignore: $[}", "author": "a", "reason": "b"}, 400, "$["),
        ({"do": "add", "rule": "{", "author": "a", "reason": "b"}, 400, "expected"),
        ({"do": "add", "rule": "", "author": "a", "reason": "b"}, 400, "mapping"),
        ({"do": "remove", "id": "x", "author": "a"}, 404, "no added rule"),
        ({"do": "remove", "id": "x"}, 400, "author is missing"),
        ({"do": "dance"}, 400, "dance"),
    ],
)
async def test_the_page_shows_the_error_and_keeps_the_input(
    state: WebParts, fields: dict[str, str], status: int, said: str
) -> None:
    """The rule need not be typed again."""
    shown = await post(state, **{"target": "shop"} | fields)
    assert shown.status == status
    assert said in unescape(shown.text)
    assert not fields.get("rule") or f">{fields['rule']}</textarea>" in shown.text
    assert book_of(state).added == ()


async def test_a_form_of_another_site_is_rejected(state: WebParts) -> None:
    """So is a body whose type is not that of a form."""
    fields = {"do": "add", "target": "shop", "rule": "{ignore: $.a}", "author": "a", "reason": "b"}
    assert (await post(state, "http://elsewhere.example", **fields)).status == 403
    body = urlencode(fields).encode()
    plain = await get(create_web(state), "/rules", "POST", body, "text/plain", origin="http://shadowdiff.example")
    assert plain.status == 403
    assert book_of(state).added == ()


async def test_pages_post_only_to_themselves_and_send_their_origin(state: WebParts) -> None:
    """Without a referrer a browser would post from `null`."""
    page = (await get(create_web(state), "/rules")).headers
    assert "form-action 'self'" in page["content-security-policy"]
    assert page["referrer-policy"] == "same-origin"


async def test_the_number_of_added_rules_is_bounded(state: WebParts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error points to the configuration."""
    monkeypatch.setattr(added_rules, "MAX_RULES", 1)
    await book_of(state).add("shop", {"ignore": "$.a"}, "ada", "why")
    with pytest.raises(added_rules.BookFullError, match="configuration"):
        await book_of(state).add("shop", {"ignore": "$.b"}, "ada", "why")


async def test_an_unreadable_stored_rule_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    """A rule of a later version stops no process; the log names it."""
    store, changes = Store(fakeredis.FakeAsyncRedis()), list[None]()
    book = RuleBook(store, lambda: NOW_MS, lambda: changes.append(None))
    await book.add("shop", {"ignore": "$.a"}, "ada", "why")
    await store.command("HSET", store.keys.name(0, "rules:made"), "odd", b"{}")
    await book.read()
    assert [str(rule.label) for rule in book.rules("shop")] == ["ignore $.a"]
    assert "unreadable rule in the store" in caplog.text
    assert len(changes) == 2
    await book.read()
    assert len(changes) == 2
    await store.close()


def test_a_preview_lists_what_would_be_reported_again_without_a_rule() -> None:
    """Only places that no remaining rule covers, most pairs first."""
    covered = (
        PathCount(path="$['a']", kind="value", count=3, rule="ignore $.a"),
        PathCount(path="$['b']", kind="type", count=9, rule="ignore $.b"),
        PathCount(path="$['c']", kind="value", count=5, rule="ignore $.c"),
    )
    routes = [RouteCounts(route="GET /", results={}, covered=covered)]
    found = reported_again(routes, {"ignore $.c"})
    assert [("$['b']", "ignore $.b", 9), ("$['a']", "ignore $.a", 3)] == [
        (one.place.path, one.rule, one.pairs) for one in found
    ]


async def test_added_rules_are_sealed_if_the_store_has_a_key() -> None:
    """A path may contain personal data. Rules stored in clear earlier are still read."""
    client = fakeredis.FakeAsyncRedis()
    sealing, plain = Store(client, key=b"k" * 32), Store(client)
    ours, theirs = (RuleBook(store, lambda: NOW_MS, lambda: None) for store in (sealing, plain))
    older = await theirs.add("shop", {"ignore": "$.a"}, "ada", "why")
    await plain.command("HSET", plain.keys.name(0, "rules:made"), older.id, msgspec.json.encode(older))
    await ours.add("shop", {"ignore": "$['jo@example.com']"}, "ada", "asked by al@example.com")
    assert {"$.a", "$['jo@example.com']"} == {made.rule["ignore"] for made in ours.added}
    raw = repr(await plain.command("HGETALL", plain.keys.name(0, "rules:made")))
    assert [True, False] == [part in raw for part in ("$.a", "example.com")]
    await theirs.read()
    assert ["$.a"] == [made.rule["ignore"] for made in theirs.added]
    await plain.close()


def test_a_proposed_rule_has_a_wildcard_for_a_redacted_name() -> None:
    """A rule with the placeholder would cover nothing."""
    found = difference("$['users']['‹redacted:0123456789ab›']['at']", pattern="$['users']['‹redacted›']['at']")
    assert {"$['users'][*]['at']"} == {
        str(one.rule["ignore"]) for one in proposals(found, "GET /") if "ignore" in one.rule
    }


def test_a_proposed_rule_has_a_wildcard_for_a_key_that_is_a_value() -> None:
    """The rule covers every key, because a place names none."""
    found = difference("$['users']['4711']['at']", pattern="$['users'][{id}]['at']")
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
async def test_an_endlessly_nested_rule_is_rejected_on_the_page(state: WebParts, name: str) -> None:
    """By depth, or by aliases that would expand to gigabytes."""
    for do in ("preview", "add"):
        shown = await post(state, do=do, target="shop", rule=NESTED[name], author="ada", reason="why")
        assert (400, True) == (shown.status, "nested too deeply" in shown.text or "aliases" in shown.text)


async def test_an_endlessly_nested_body_is_rejected_by_the_api(state: WebParts) -> None:
    """Like any other invalid body."""
    body = b'{"target":"shop","author":"a","reason":"b","rule":{"ignore":' + b"[" * 100_000
    answer = await get(create_web(state), "/api/v1/rules", "POST", body, "application/json", host="localhost")
    assert (400, {"error": "the body is nested too deeply"}) == (answer.status, answer.json)
