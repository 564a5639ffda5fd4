"""HTML is compared as a tree, in stable places; no parser, rule or noise hides a difference of a page."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare import Limits
from shadowdiff.compare.html_tree import MAX_ATTRIBUTES, MAX_CHARS, NoTreeError, read_page
from shadowdiff.compare.work import TOO_COMPLEX, Budget
from shadowdiff.model import Comparison, Headers, Result
from shadowdiff.rules.builtin import (
    BUILT_IN_RULES,
    HTML_COMMENTS,
    HTML_MARKUP,
    HTML_ORDER,
    HTML_WHITE_SPACE,
    BuiltInRule,
)
from tests.fakes.responses import judged

HTML: Headers = ((b"content-type", b"text/html; charset=utf-8"),)
PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><title>Shop</title><meta name="csrf" content="a"><link rel="icon" href="/i.png"></head>
<body class="wide">
<p>Queries took 3.2 ms</p>
<nav><a href="/">Home</a> <a href="/cart">Cart</a></nav>
<main id="results">
<h1>Products</h1>
<table>
<tr><td>Widget</td><td>12</td></tr>
<tr><td>Gadget</td><td>15</td></tr>
</table>
<form name="login" action="/login"><input name="user" type="text"><textarea name="note"> a  b</textarea></form>
<pre>a  b</pre>
<script>let a = 1;
let b = 2;</script>
</main>
<footer>Served by pod-7f9c</footer>
</body>
</html>
"""
NOISY: Final = PAGE.replace("3.2", "4.7").replace("pod-7f9c", "pod-1a2b")
REGRESSIONS: Final = (
    ("<title>Shop</title>", "<title>Error</title>"),
    ('lang="en"', 'lang="de"'),
    ('content="a"', 'content=""'),
    ('<link rel="icon" href="/i.png">', ""),
    ('class="wide"', ""),
    ('href="/cart"', 'href="/basket"'),
    (">Cart<", ">Basket<"),
    ('<a href="/">Home</a> ', ""),
    ("<h1>Products</h1>", "<h2>Products</h2>"),
    ("Widget", "Wigdet"),
    (">12<", ">0<"),
    ("<tr><td>Gadget</td><td>15</td></tr>", ""),
    ("<td>15</td>", ""),
    ('action="/login"', 'action="/signin"'),
    ('type="text"', 'type="password"'),
    ('<input name="user" type="text">', ""),
    (" a  b<", " a b<"),
    ("<pre>a  b</pre>", "<pre>a b</pre>"),
    ("let b = 2;", "let b = 3;"),
    ("<!DOCTYPE html>", ""),
)


def of_pages(one: str, other: str, *rules: object, **limits: Any) -> Comparison:
    """Compare two pages."""
    return judged(one.encode(), other.encode(), *rules, headers=HTML, limits=Limits(**limits))


def places(comparison: Comparison) -> set[str]:
    """Return the places that count."""
    return {one.pattern for one in comparison.differences if one.rule is None}


@pytest.mark.parametrize(("old", "new"), REGRESSIONS)
def test_a_regression_has_a_place_of_its_own_in_a_page_with_noisy_lines(old: str, new: str) -> None:
    """The places of the noise are the same with and without the regression, which adds places that noise never has."""
    assert old in PAGE
    noise = places(of_pages(PAGE, NOISY))
    assert len(noise) == 2
    with_fault = places(of_pages(PAGE, NOISY.replace(old, new)))
    assert noise < with_fault
    assert places(of_pages(PAGE, PAGE.replace(old, new))) == with_fault - noise


def test_an_inserted_element_moves_no_place() -> None:
    """An inserted element is one difference, and the noise after it keeps its place."""
    noise = places(of_pages(PAGE, NOISY))
    inserted = of_pages(PAGE, NOISY.replace("<p>Queries", "<div><b>Sale</b> today</div><p>Queries"))
    assert places(inserted) == noise | {"html.div.text[Sale today]"}


@pytest.mark.parametrize(
    ("one", "other", "place"),
    [
        ('<a href="/x?t=1">a</a>', '<a href="/x?t=2">a</a>', "html.a.@href.text[/x?t={number}]"),
        ("<ul><li id=row-71>a</ul>", "<ul><li id=row-71>b</ul>", "html.ul[*].li#row-{number}[*].text[a → b]"),
        ("<section><nav><b>a", "<section><nav><b>b", "html.section[*].nav[*].text[a → b]"),
        ("<main><div><p class='a b'>", "<main><div><p class='a c'>", "html.main.p.@class"),
        ("<meta property=og:url content=a>", "<meta property=og:url content=b>", "html.head.meta[og:url].@content"),
        ("<template><p>a", "<template><p>b", "html.head.template[*].p.text[a → b]"),
        ("<tr class=a><td>1", "<tr class=b><td>1", "html.table[*].tr.@class"),
        ("<svg><path d=a>", "<svg><path d=b>", "html.svg[*].path.@d"),
        ("<p><td class=a>1", "<p><td class=b>1", "html.dropped"),
        ("<b>a</b> <b>c</b>", "<b>a</b><b>c</b>", "html.body.text[a⏎]"),
    ],
)
def test_places(one: str, other: str, place: str) -> None:
    """A place has ids without values, landmarks, the element, and the template of its text."""
    assert {place} == places(of_pages(one, other))


@pytest.mark.parametrize(
    ("one", "other", "rule"),
    [
        ("<p>a</p><p>b c</p>", "<p>a</p>\n <p>b  c</p>", HTML_WHITE_SPACE),
        ("<p a=1 b=2>", "<p b=2 a=1>", HTML_ORDER),
        ('<p class="a b">', '<p class="b a">', HTML_ORDER),
        ("<p>a</p>", "<!-- x --><p>a</p>", HTML_COMMENTS),
        ("<p>a</p><p>b</p>", "<p>a<p>b", HTML_MARKUP),
        ("<p a='1'>&amp;</p>", '<P a="1">&#38;</P>', HTML_MARKUP),
    ],
)
def test_what_the_tree_leaves_out_is_ignored_by_a_rule(one: str, other: str, rule: BuiltInRule) -> None:
    """It never matches, and it counts if the rule is off."""
    found = of_pages(one, other)
    assert (Result.IGNORED, [rule.label]) == (found.result, [place.rule for place in found.differences])
    assert Result.MISMATCH is of_pages(one, other, built_in_off=(rule.name,)).result


def test_rules_for_text_apply_to_lines_texts_and_pages() -> None:
    """A mask covers a line, a text inside a line that also has a regression, and a match across markup."""
    mask = {"mask": {"path": "text", "pattern": r"took [0-9.]+|pod-\w+"}}
    assert Result.IGNORED is of_pages(PAGE, NOISY, mask).result
    assert {"html.main#results.table[*].td.text[Gadget⏎{number}]"} == places(
        of_pages(PAGE, NOISY.replace("15", "16"), mask)
    )
    wide = {"mask": {"path": "text", "pattern": r'href="[^"]*">Cart'}}
    one, other = PAGE.replace("\n", ""), PAGE.replace("\n", "").replace("/cart", "/basket")
    assert Result.IGNORED is of_pages(one, other, wide).result
    assert {"html.head.title.text[Shop → X]"} == places(of_pages(one, other.replace("Shop<", "X<"), wide))
    assert Result.IGNORED is of_pages(PAGE, NOISY, {"ignore": "text"}).result
    lines = of_pages("<p>a\n<p>b\n", "<p>b\n<p>c\n", {"unordered": "text"})
    assert all(place.path.startswith("text") for place in lines.differences)


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 1000,
        "<b>" * 1000,
        "<p " + " ".join(f"a{at}=1" for at in range(MAX_ATTRIBUTES + 1)) + ">",
        "<frameset>a",
        "<p>\0",
        "<p>" + "x" * MAX_CHARS,
    ],
    ids=["deep", "deep inline", "attributes", "frames", "nul", "large"],
)
def test_a_page_without_a_tree_is_compared_by_lines(page: str) -> None:
    """A page that would take long to parse, or that loses text, has the places of lines."""
    found = of_pages(page, f"{page}\nz")
    assert Result.MISMATCH is found.result
    assert all(place.path.startswith("text[") for place in found.differences)


def test_a_tree_that_needs_too_much_work_is_compared_by_lines() -> None:
    """The tree may use a part of the budget, so that the rest is enough for the lines."""
    one = "<p>a</p>\n" * 2000
    found = of_pages(one, one.replace("a", "b", 1), work=30_000)
    assert (Result.MISMATCH, True) == (found.result, found.differences[0].path.startswith("text["))


def test_a_page_is_not_parsed_on_the_event_loop() -> None:
    """There the comparison is too complex, so another process runs it. Rules for lines apply there."""
    assert TOO_COMPLEX == of_pages(PAGE, NOISY, on_event_loop=True).reason
    mask = {"mask": {"path": "text", "pattern": r"took [0-9.]+|pod-\w+"}}
    assert Result.IGNORED is of_pages(PAGE, NOISY, mask, on_event_loop=True).result
    assert Result.MATCH is of_pages(PAGE, PAGE, on_event_loop=True).result


@pytest.mark.parametrize(
    "part",
    [
        "<svg><input>", "<rt>", "<optgroup>", "<svg><title><div>", "<script", "<!-->",
        "<p>", "<li>", "<td>", "<table><tr><td>", "<a href=x>", "<b><i></b></i>", "&amp;", "&notit;", "<!--",
        "<!-- -->",
        "<script>", "</p>", "<p a=1>", "<p a>", "<", "<svg><g/>", "<template>", "<select><option>", "<button><p>",
        "<p>" * 50 + "<b>", "x ", "<textarea>", "<math><mi>", "'\"<p '\">", "<p a='", "<x:y z:w=1>",
        "<formatting></p>",
    ],
)  # fmt: skip
def test_hostile_pages_take_bounded_work(part: str) -> None:
    """Any repetition has a tree within a budget in proportion to its size, or none."""
    page = part * (20_000 // len(part))
    budget = Budget(40 * 20_000)
    try:
        tree = read_page(page, budget)
    except NoTreeError:
        return
    assert len(tree.leaves) <= len(page) + 3
    assert budget.left > 0


MARKUP: Final = st.sampled_from([
    "<p>", "</p>", "<td>", "<tr>", "<table>", "</table>", "<b>", "</b>", "<main id=a>", "<div class='b a'>",
    "</div>",
    "<template>", "</template>", "<select>", "<option>", "<svg>", "<title>", "</title>", "<pre>", "</pre>",
    "<body a=1>",
    "<html b=2>", "<!-- c -->", "<a href='/1'>", "</a>", "<input name=q>", "<textarea>", "</textarea>", "<head>",
    " ", "\n", "x", "1", "&amp;", "&lt;", "a b", "<", ">", '"', "<script>", "</script>", "<frame>", "<col>", "\0",
])  # fmt: skip
PAGES: Final = st.lists(MARKUP, max_size=25).map("".join)
ALL_OFF: Final = tuple(rule.name for rule in BUILT_IN_RULES)


@given(PAGES, PAGES)
def test_two_different_pages_never_match(one: str, other: str) -> None:
    """They are ignored only by a listed rule, and a mismatch if no built-in rule applies."""
    found = of_pages(one, other)
    assert (found.result is Result.MATCH) == (one == other)
    if one != other:
        assert found.differences
        assert {place.rule for place in found.differences} <= {None, *(rule.label for rule in BUILT_IN_RULES)}
        assert Result.MISMATCH is of_pages(one, other, built_in_off=ALL_OFF).result
    assert Result.MATCH is of_pages(one, one).result


@given(PAGES, st.integers())
def test_an_inserted_word_or_attribute_always_counts(page: str, seed: int) -> None:
    """Visible words and attributes cannot be lost, wherever they are: at least their markup counts."""
    random = Random(seed)
    at = random.randint(0, len(page))
    if page.rfind("<", 0, at) > page.rfind(">", 0, at) or page.rfind("<!--", 0, at) >= 0:
        return
    for added in ("wordy", "<i title=z>"):
        changed = page[:at] + added + page[at:]
        found = of_pages(page, changed)
        assert Result.MISMATCH is found.result, (page, changed)


@given(PAGES, PAGES, st.lists(st.sampled_from([r"\d+", "[a-z]", "<[^>]*>", "x|b", r"\s+"]), max_size=3, unique=True))
def test_another_mask_never_adds_a_mismatch(one: str, other: str, patterns: list[str]) -> None:
    """What fewer masks cover stays covered."""
    masks = [{"mask": {"path": "text", "pattern": pattern}} for pattern in patterns]
    for count in range(len(masks)):
        if of_pages(one, other, *masks[:count]).result is not Result.MISMATCH:
            assert Result.MISMATCH is not of_pages(one, other, *masks[: count + 1]).result
