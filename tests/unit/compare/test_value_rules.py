"""Test rules for headers, numbers, times, repeated members and preconditions at their limits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.compare.comparing import compared, mask


def _near(path: str, **bounds: Any) -> dict[str, Any]:
    return {"tolerance": {"path": path, **bounds}}


X, VARY, COOKIE = "header.x-n", "header.vary", "header.set-cookie"
HEADERS = [
    ("numbers on two lines", "x-n", ["1", "2"], ["1", "3"], [_near(X, abs=1)], "ignored"),
    ("one of two numbers beyond", "x-n", ["1", "2"], ["1", "4"], [_near(X, abs=1)], "mismatch"),
    ("numbers joined on one side", "x-n", ["1, 2"], ["1", "3"], [_near(X, abs=1)], "ignored"),
    ("an exponent", "x-n", ["1.5e3"], ["1501"], [_near(X, abs=1)], "ignored"),
    ("a mask for each line", "x-n", ["node-1", "node-2"], ["node-3", "node-4"], [mask(X, "^node-\\d+$")], "ignored"),
    ("a mask that fits one line", "x-n", ["node-1", "a"], ["node-3", "b"], [mask(X, "^node-\\d+$")], "mismatch"),
    ("a mask and letters in upper case", "vary", ["X-A1, k"], ["Z-A2, k"], [mask(VARY, "[XZ]-A\\d")], "ignored"),
    ("a mask that would change the order of tokens", "cache-control", ["a5, m"], ["z5, m"],
     [mask("header.cache-control", "[az]5")], "ignored"),
    ("equal numbers on two lines", "x-n", ["1", "2.0"], ["1.0", "2"],
     [{"equivalent": {"path": X, "as": ["number"]}}], "ignored"),
    ("a line more", "x-n", ["1", "2"], ["1"], [_near(X, abs=9)], "mismatch"),
    ("the name of a cookie", "set-cookie", ["s_1=a; Path=/"], ["s_2=b; Path=/"], [mask(COOKIE, "s_\\d")], "ignored"),
    ("the name of a cookie, and an attribute", "set-cookie", ["s_1=a; Path=/"], ["s_2=b; Path=/; Secure"],
     [mask(COOKIE, "s_\\d")], "mismatch"),
    ("a cookie whose date is masked", "set-cookie", ["s=a; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
     ["s=a; Expires=Thu, 01 Jan 2099 00:00:00 GMT"], [mask(COOKIE, "[A-Z][a-z]{2}")], "mismatch"),
    ("a date that is masked", "expires", ["0"], ["Thu, 01 Jan 2099 00:00:00 GMT"],
     [mask("header.expires", "\\d+")], "mismatch"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "one", "other", "rules", "expected"), [c[1:] for c in HEADERS], ids=[c[0] for c in HEADERS]
)
def test_rules_apply_to_each_line_and_member_of_a_header(
    name: str, one: list[str], other: list[str], rules: list[object], expected: str
) -> None:
    """Rules also apply to the whole header before its grammar is read."""
    left, right = ([(name, value) for value in side] for side in (one, other))
    assert str(compared(("", ""), *rules, headers=(left, right)).result) == expected
    assert str(compared(("", ""), *rules, headers=(right, left)).result) == expected


SECONDS = _near("$.t", time="2s")
VALUES = [
    ("zones", '"2026-03-01T10:00:00Z"', '"2026-03-01T12:00:01+02:00"', SECONDS, "ignored"),
    ("small letters", '"2026-03-01T10:00:00z"', '"2026-03-01t10:00:01Z"', SECONDS, "ignored"),
    ("a lost zone", '"2026-03-01T10:00:00Z"', '"2026-03-01T10:00:00"', SECONDS, "mismatch"),
    ("a text that became a number", '"2026-03-01T10:00:00Z"', "1772359200", SECONDS, "mismatch"),
    ("seconds that became milliseconds", "1772359200", "1772359200500", SECONDS, "mismatch"),
    ("milliseconds", "1772359200500", "1772359202500", SECONDS, "ignored"),
    ("a unit's smallest number", "99999999999", "100000000000", SECONDS, "ignored"),
    ("nanoseconds within", '"2026-03-01T10:00:00.0000001Z"', '"2026-03-01T10:00:00.0000002Z"',
     _near("$.t", time="1us"), "ignored"),
    ("nanoseconds beyond", '"2026-03-01T10:00:00.0000001Z"', '"2026-03-01T10:00:00.0000002Z"',
     _near("$.t", time=0), "mismatch"),
    ("tiny numbers under no tolerance", "1e-2000000", "5e-2000000", _near("$.t", abs=0), "mismatch"),
    ("tiny numbers of another ratio", "1e-2000000", "5e-2000000", _near("$.t", rel=0.5), "mismatch"),
    ("tiny numbers of other digits", "1e-2000000", "5e-2000000", _near("$.t", digits=1), "mismatch"),
    ("huge numbers of nearly one ratio", "1e2000000", "1.01e2000000", _near("$.t", rel=0.1), "ignored"),
    ("huge numbers of the same digits", "1e2000000", "1.01e2000000", _near("$.t", digits=2), "ignored"),
    ("a member written once more", '1,"t":2', '1,"t":2,"t":3', {"subset": "$"}, "mismatch"),
    ("a member written in another order", '1,"t":2', '2,"t":1', {"unordered": "$.t"}, "mismatch"),
    ("near values of a member written twice", '1,"t":2', '1,"t":2.5', _near("$.t", abs=1), "ignored"),
    ("a member written twice under a rule for elements", '1,"t":2', '1,"t":3', _near("$.t[*]", abs=1), "mismatch"),
    ("another type of a member written once more", '1,"t":2', '1,"t":2,"t":"x"', {"schema": "$"}, "mismatch"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "rule", "expected"), [c[1:] for c in VALUES], ids=[c[0] for c in VALUES])
def test_rules_cover_values_up_to_their_limit(one: str, other: str, rule: object, expected: str) -> None:
    """The result is right on both sides of the limit."""
    assert str(compared((f'{{"t":{one}}}', f'{{"t":{other}}}'), rule).result) == expected


REQUIRED = [
    ("a line of NDJSON", "application/x-ndjson", '{"v":1}\n', '{"v":2}\n', "$[0].v", "incomparable"),
    ("an attribute of XML", "application/xml", '<a v="1"/>', '<a v="2"/>', "$.a['@v']", "incomparable"),
    ("a field of a form", "application/x-www-form-urlencoded", "v=1&a=1", "v=2&a=1", "$.v", "incomparable"),
    ("an event", "text/event-stream", 'data: {"v":1}\n\n', 'data: {"v":2}\n\n', "$[0].data.v", "incomparable"),
    ("a body of v2 that is broken", "application/json", '{"v":1}', "<html>", "$.v", "mismatch"),
    ("a body of v2 that is empty", "application/json", '{"v":1}', "", "$.v", "mismatch"),
    ("a byte order mark of v2", "application/json", '{"v":1}', '\ufeff{"v":1}', "$.v", "mismatch"),
]


@pytest.mark.parametrize(
    ("kind", "one", "other", "path", "expected"), [c[1:] for c in REQUIRED], ids=[c[0] for c in REQUIRED]
)
def test_preconditions_apply_to_every_format(kind: str, one: str, other: str, path: str, expected: str) -> None:
    """A pair that differs there is incomparable, but a broken body of v2 is still a mismatch."""
    assert str(compared((one, other), {"require": path}, kind=kind).result) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("<p>Hello <b>A</b> <i>B</i></p>", "<p>Hello <b>A</b><i>B</i></p>", "mismatch"),
        ("<p><b>A</b> <i>B</i></p>", "<p><b>A</b><i>B</i></p>", "match"),
        ("<p>x<b/>\n</p>", "<p>x<b/></p>", "mismatch"),
    ],
)
def test_blanks_between_elements_count_next_to_text(one: str, other: str, expected: str) -> None:
    """In mixed content a blank separates words."""
    assert str(compared((one, other), kind="application/xml").result) == expected
