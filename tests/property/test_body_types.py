"""Check properties of named body types, and of bodies that do not conform to their type."""

from __future__ import annotations

import json
from typing import Final

from hypothesis import assume, given
from hypothesis import strategies as st

from shadowdiff.compare import Limits
from shadowdiff.model import Comparison, Difference, Headers, Kind, Result
from shadowdiff.rules.builtin import BOTH_BROKEN
from tests.fakes.responses import judged
from tests.property.json_texts import pairs

TYPES: Final = (
    b"application/json", b"application/x-ndjson", b"text/event-stream", b"application/x-www-form-urlencoded",
    b"application/xml", b"text/plain", b"application/octet-stream", b"multipart/mixed; boundary=b",
)  # fmt: skip
SENT: Final = (*TYPES, b"", b"text/plain; charset=iso-8859-1", b"application/json; charset=utf-16")
PIECES: Final = [b'{"a":1}', b'{"a": 1}', b"[", b"\n", b"<a>", b"</a>", b"<a k='1'/>", b"a=1", b")]}'\n", b"\xff", b"x"]
BODIES: Final = st.lists(st.sampled_from(PIECES), max_size=4).map(b"".join)
TEXT_RULES: Final = (
    {"ignore": "text"}, {"mask": {"path": "text", "pattern": "(?s).*"}}, {"unordered": "text"},
)  # fmt: skip


def _headers(content_type: bytes) -> Headers:
    return ((b"content-type", content_type),) if content_type else ()


def _of_bodies(comparison: Comparison) -> list[Difference]:
    return [found for found in comparison.differences if found.path != "header.content-type"]


@given(
    st.tuples(BODIES, BODIES),
    st.tuples(st.sampled_from(SENT), st.sampled_from(SENT)),
    st.sampled_from(TYPES),
    st.sampled_from([(), TEXT_RULES]),
)
def test_a_named_type_compares_bodies_like_the_same_content_type(
    bodies: tuple[bytes, bytes], sent: tuple[bytes, bytes], named: bytes, rules: tuple[object, ...]
) -> None:
    """The Content-Types of the two sides matter only as headers, and for the charset."""
    limits = Limits(body_types=(("*", named.decode()),))
    typed = judged(*bodies, *rules, headers=_headers(sent[0]), headers_other=_headers(sent[1]), limits=limits)
    same = [_headers(named + b"".join(each.partition(b"; ")[1:])) for each in sent]
    plain = judged(*bodies, *rules, headers=same[0], headers_other=same[1])
    assert _of_bodies(typed) == _of_bodies(plain)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


@given(pairs(), st.integers(0, 40), st.sampled_from([b",", b"}", b"<", b"\x00", b"\xff", b")]}'", b"NaN,"]))
def test_a_body_that_only_one_side_breaks_is_a_mismatch_under_any_text_rule(
    pair: tuple[bytes, bytes], at: int, piece: bytes
) -> None:
    """Falling back to text needs two broken bodies, so it never hides a fault of v2."""
    whole, text = pair
    broken = text[:at] + piece + text[at:]
    assume(_is_json(whole) and not _is_json(broken) and not broken.startswith(b")]}'"))
    for sides in ((whole, broken), (broken, whole)):
        found = judged(*sides, *TEXT_RULES)
        assert (Result.MISMATCH, Kind.TYPE, "$") == (found.result, found.differences[0].kind, found.differences[0].path)


@given(BODIES, BODIES)
def test_broken_bodies_match_only_if_they_are_equal(one: bytes, other: bytes) -> None:
    """Without a rule, every difference of two broken bodies counts, and the note never counts."""
    assume(one and other)
    found = judged(one, other)
    if any(place.rule == BOTH_BROKEN.label for place in found.differences):
        assert one != other
        assert (Result.MISMATCH, True) == (found.result, any(place.rule is None for place in found.differences))
