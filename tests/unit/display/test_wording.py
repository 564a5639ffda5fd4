"""Test the wording of differences, numbers and times."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.display.wording import (
    REASONS,
    THIN_SPACE,
    age,
    cut,
    describe,
    describe_common,
    milliseconds,
    percent,
    plain_text,
    reason_text,
    short_path,
    utc,
    worst,
)
from shadowdiff.model import Difference, Kind, Severity
from shadowdiff.report.common_attributes import CommonAttribute
from tests.fakes.traffic import difference

COMPARING = (Path(__file__).parents[3] / "docs" / "comparing.md").read_text(encoding="utf-8")


def test_every_reason_of_an_incomparable_pair_is_in_the_docs() -> None:
    """The table of docs/comparing.md has each reason that has a text, and two whose code is their text."""
    table = COMPARING.partition("| reason | when |")[2].partition("\n\n")[0]
    named = {name for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    assert {*REASONS, "undecodable", "require …"} == named


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (difference(), "price differs: 21.99 → 19.99"),
        (
            difference("status", kind=Kind.STATUS, primary="200", candidate="500"),
            "v2 returns 500 instead of 200",
        ),
        (
            difference("header.etag", kind=Kind.HEADER, primary='"a"', candidate=None),
            'Header etag is missing in v2; v1 has "a"',
        ),
        (difference("header.etag", kind=Kind.HEADER, primary=None, candidate='"a"'), 'v2 adds header etag: "a"'),
        (difference("header.etag", kind=Kind.HEADER, primary="a", candidate="b"), "Header etag differs: a → b"),
        (
            difference("$['id']", kind=Kind.TYPE, primary="17", candidate='"17"'),
            'id is a string in v2, a number in v1: 17 → "17"',
        ),
        (
            difference("$['id']", kind=Kind.TYPE, primary="[]", candidate="null"),
            "id is null in v2, an array in v1: [] → null",
        ),
        (
            difference("$", kind=Kind.TYPE, primary='{"a": 1}', candidate="broken (Extra data at character 3): {} x"),
            'The body is not valid for its type: {"a": 1} → broken (Extra data at character 3): {} x',
        ),
        (
            difference("$['stock']", kind=Kind.REMOVED, primary="12", candidate=None),
            "stock is missing in v2; v1 has 12",
        ),
        (
            difference("$['items'][3]['beta']", kind=Kind.ADDED, primary=None, candidate="true"),
            "v2 adds items[3].beta: true",
        ),
        (difference("$['tags']", kind=Kind.ORDER), "Order of tags differs"),
        (
            difference("text", kind=Kind.TEXT, primary="hello", candidate="hullo"),
            'Text differs: "hello" → "hullo"',
        ),
        (difference("bytes", kind=Kind.BYTES), "Binary body differs"),
    ],
)
def test_each_kind_of_difference_is_a_sentence(found: Difference, expected: str) -> None:
    """The sentence has the path and both values."""
    assert expected == plain_text(describe(found))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$['items'][3]['price']", "items[3].price"),
        ("$['items'][*]['price']", "items[*].price"),
        ("$", "the whole body"),
        ("$[0]", "[0]"),
        ("$['a b']['c']", "['a b'].c"),
        ("$['it\\'s']", "['it\\'s']"),
        ("$['']", "['']"),
        ("$['users'][{uuid}]['price']", "users.{uuid}.price"),
        ("$[user:{id}]", "user:{id}"),
        ("$[a.b:{id}]['c']", "[a.b:{id}].c"),
        ("$['{uuid}']", "['{uuid}']"),
        ("header.etag", "header.etag"),
        ("text[took {number}ms]", "text[took {number}ms]"),
    ],
)
def test_paths_are_short(path: str, expected: str) -> None:
    """A name that needs quotes keeps them."""
    assert expected == short_path(path)


def test_the_most_severe_difference_comes_first() -> None:
    """Breaking differences come first, then values, then additions. Covered ones come last."""
    found = [
        difference("$['a']", severity=Severity.BREAKING, rule="r"),
        difference("$['b']", severity=Severity.ADDITIVE),
        difference("$['c']", severity=Severity.VALUE),
    ]
    assert [found[2], None] == [worst(found), worst(found[:1])]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (None, "–"),
        (0.0, "0%"),
        (1.0, "100%"),
        (0.9999, ">99.9%"),
        (0.0243, "2.43%"),
        (0.00001, "0.001%"),
        (0.95, "95%"),
    ],
)
def test_a_small_share_is_not_zero_and_a_large_one_is_not_all(ratio: float | None, expected: str) -> None:
    """0.001 % is not shown as zero, and 99.99 % is not shown as 100 %."""
    assert expected == percent(ratio).replace(THIN_SPACE, "")


@given(st.floats(1e-7, 1, exclude_max=True))
def test_rounding_never_makes_a_part_zero_or_all(ratio: float) -> None:
    """No share is rounded to 0 % or 100 %."""
    assert percent(ratio).split(THIN_SPACE)[0] not in {"100", "0", "1e+02"}


@pytest.mark.parametrize(
    ("duration_ms", "expected"), [(None, "–"), (0.42, "0.4 ms"), (31.4, "31 ms"), (12_000.0, "12.0 s")]
)
def test_durations_keep_the_digits_that_matter(duration_ms: float | None, expected: str) -> None:
    """Durations below ten have tenths, longer ones have no decimals."""
    assert expected == milliseconds(duration_ms)


@pytest.mark.parametrize(
    ("ago_ms", "expected"),
    [(0, "now"), (-5000, "now"), (999, "now"), (5000, "5 s ago"), (7.3e6, "2 h ago"), (9e7, "1 d ago")],
)
def test_ages_have_one_unit(ago_ms: float, expected: str) -> None:
    """The unit is the largest that fits. If the clock is ahead, the age reads as now."""
    assert expected == age(1_772_000_000_000 - int(ago_ms), 1_772_000_000_000)


def test_times_are_in_utc() -> None:
    """Times are in UTC in any server time zone."""
    assert "2026-02-25 06:13:20 UTC" == utc(1_772_000_000_000)


@given(st.text(max_size=300))
def test_cut_text_fits_a_line(text: str) -> None:
    """The text fits, whatever its length or characters."""
    assert len(cut(text, 80)) <= 80
    assert "\n" not in cut(text, 80)


@pytest.mark.parametrize(
    ("code", "expected"), [("primary_5xx", "v1 returned 5xx"), ("some_new_reason", "some new reason")]
)
def test_reasons_are_words(code: str, expected: str) -> None:
    """An unknown code is still readable."""
    assert expected == reason_text(code)


def test_common_attribute_has_its_counts() -> None:
    """A reader sees how many pairs are behind it, and how frequent it is elsewhere."""
    found = CommonAttribute(
        text="category = garden", affected_with=40, affected=40, others_with=16, others=100, bound=0.7
    )
    assert f"category = garden (40 of 40; 16{THIN_SPACE}% of others)" == describe_common(found)
