"""Test which header gives a request its id, and which requests share a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.pairing.request_id import identifier, key_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
IDENTIFY = identifier(("x-diff-id", "x-request-id", "traceparent"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-request-id", b"r"), (b"x-diff-id", b"d")], ("d", "x-diff-id")),
        ([(b"x-request-id", b"r")], ("r", "x-request-id")),
        ([(b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())], (TRACE, "traceparent")),
        ([(b"traceparent", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01")], None),
        ([(b"traceparent", b"nonsense")], None),
        ([(b"x-diff-id", b"  "), (b"x-request-id", b"r")], ("r", "x-request-id")),
        ([(b"x-diff-id", b"x" * 257), (b"x-request-id", b"r")], ("r", "x-request-id")),
        ([(b"x-diff-id", b"first"), (b"x-diff-id", b"second")], ("first", "x-diff-id")),
        ([(b"accept", b"*/*")], None),
    ],
)
def test_the_first_usable_header_in_order_of_preference_gives_the_id(
    headers: list[tuple[bytes, bytes]], expected: tuple[str, str] | None
) -> None:
    """Empty, overlong and malformed ids are skipped."""
    assert expected == IDENTIFY(headers)


def test_the_key_of_a_unique_id_does_not_depend_on_the_path() -> None:
    """A path rewrite between mirror and recorder does not split a pair with an x-diff-id."""
    assert key_of("t", "i", "x-diff-id", "GET", "/a") == key_of("t", "i", "x-diff-id", "POST", "/b")


def test_a_shared_id_is_keyed_by_method_and_path_too() -> None:
    """The calls of one trace are different requests."""
    keys = {key_of("t", "i", "x-request-id", method, path) for method in ("GET", "POST") for path in ("/a", "/b")}
    assert 4 == len(keys)


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_different_targets_or_ids_have_different_keys(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Any text can be an id, including lone surrogates, and every key has 16 bytes."""
    first, second = (key_of(target.replace("\0", ""), of, "x-diff-id", "", "") for target, of in (one, other))
    assert 16 == len(first)
    assert (one[0].replace("\0", ""), one[1]) == (other[0].replace("\0", ""), other[1]) or first != second
