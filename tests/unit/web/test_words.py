"""Sentences: what differs, said so that a reader knows the bug."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.model import Difference, Kind, Severity
from shadowdiff.web.words import age, cut, milliseconds, moment, percent, plain, reason, sentence, short_path, worst
from tests.fakes.traffic import difference


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (difference(), "v2 answered price 19.99 where v1 answered 21.99"),
        (
            difference("status", kind=Kind.STATUS, primary="200", candidate="500"),
            "v2 answered with status 500 where v1 answered 200",
        ),
        (
            difference("header.etag", kind=Kind.HEADER, primary='"a"', candidate=None),
            'v2 sent header etag: nothing where v1 sent "a"',
        ),
        (
            difference("$['id']", kind=Kind.TYPE, primary="17", candidate='"17"'),
            'v2 answered id as a string "17" where v1 answered a number 17',
        ),
        (
            difference("$['id']", kind=Kind.TYPE, primary="[]", candidate="null"),
            "v2 answered id as null where v1 answered an array []",
        ),
        (
            difference("$['stock']", kind=Kind.REMOVED, primary="12", candidate=None),
            "v2 left out stock, which v1 answered as 12",
        ),
        (
            difference("$['items'][3]['beta']", kind=Kind.ADDED, primary=None, candidate="true"),
            "v2 added items[3].beta true, which v1 does not answer",
        ),
        (difference("$['tags']", kind=Kind.ORDER), "v2 answered tags in another order than v1"),
        (
            difference("text", kind=Kind.TEXT, primary="hello", candidate="hullo"),
            "v2's text says hullo where v1's says hello",
        ),
        (difference("bytes", kind=Kind.BYTES), "v2's bytes are not v1's"),
    ],
)
def test_each_kind_of_difference_is_a_sentence(found: Difference, expected: str) -> None:
    """Path and values stand in it as the sides wrote them."""
    assert expected == plain(sentence(found))


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
        ("header.etag", "header.etag"),
    ],
)
def test_paths_are_written_as_people_do(path: str, expected: str) -> None:
    """A name that needs its quotes keeps them."""
    assert expected == short_path(path)


def test_the_worst_difference_leads() -> None:
    """Breaking before value before additive; what a rule covers never leads."""
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
def test_a_small_share_is_not_shown_as_none_nor_a_large_one_as_all(ratio: float | None, expected: str) -> None:
    """0.001 % is not zero, and 99.99 % is not everything."""
    assert expected == percent(ratio)


@given(st.floats(1e-7, 1, exclude_max=True))
def test_only_all_reads_as_all(ratio: float) -> None:
    """No rounding makes a part the whole, or nothing."""
    assert percent(ratio) not in {"100%", "0%", "1e+02%"}


@pytest.mark.parametrize(
    ("duration_ms", "expected"), [(None, "–"), (0.42, "0.4 ms"), (31.4, "31 ms"), (12_000.0, "12.0 s")]
)
def test_durations_keep_the_digits_that_matter(duration_ms: float | None, expected: str) -> None:
    """Tenths below ten, none above."""
    assert expected == milliseconds(duration_ms)


@pytest.mark.parametrize(
    ("ago_ms", "expected"),
    [(0, "now"), (-5000, "now"), (999, "now"), (5000, "5 s ago"), (7.3e6, "2 h ago"), (9e7, "1 d ago")],
)
def test_ages_have_one_unit(ago_ms: float, expected: str) -> None:
    """The largest that fits; a clock that is ahead reads as now."""
    assert expected == age(1_772_000_000_000 - int(ago_ms), 1_772_000_000_000)


def test_times_are_in_utc() -> None:
    """Whatever the server's time zone is."""
    assert "2026-02-25 06:13:20 UTC" == moment(1_772_000_000_000)


@given(st.text(max_size=300))
def test_cut_text_fits_a_line(text: str) -> None:
    """However long or broken it came."""
    assert len(cut(text, 80)) <= 80
    assert "\n" not in cut(text, 80)


@pytest.mark.parametrize(
    ("code", "expected"), [("primary_5xx", "v1 itself answered with 5xx"), ("some_new_reason", "some new reason")]
)
def test_reasons_are_words(code: str, expected: str) -> None:
    """A code that nobody wrote words for is still readable."""
    assert expected == reason(code)
