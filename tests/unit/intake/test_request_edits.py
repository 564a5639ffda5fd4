"""Test the configured changes of a request: header fields, query parameters and the path's prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.intake.request_edits import MANAGED, RequestEdits
from shadowdiff.model import Candidate
from shadowdiff.model.secret import Secret
from shadowdiff.model.sent import Edits
from shadowdiff.rules.path_prefix import move_prefix

Fields = list[tuple[bytes, bytes]]


def values(**given: str) -> dict[str, Secret]:
    """Return values by name; an underscore in a name is a dash."""
    return {name.replace("_", "-"): Secret(value.encode()) for name, value in given.items()}


def headers(fields: Fields, edits: Edits) -> Fields:
    """Return the fields after the changes."""
    return RequestEdits(Candidate(url="http://v2", headers=edits), "").headers(fields)


def target(given: str, base_path: str = "", query: Edits | None = None, **prefixes: str) -> bytes:
    """Return the request target after the changes. In prefixes, `_v1` is `/v1`, and `_` is `/`."""
    path_prefix = {before.replace("_", "/"): after for before, after in prefixes.items()}
    return RequestEdits(Candidate(url="http://v2", path_prefix=path_prefix, query=query or Edits()), base_path).target(
        given
    )


USER = [(b"accept", b"a"), (b"cookie", b"x=1"), (b"accept", b"b"), (b"x-forwarded-for", b"10.0.0.1")]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (Edits(), USER),
        (Edits(set=values(x_env="shadow")), [*USER, (b"x-env", b"shadow")]),
        (Edits(set=values(accept="c")), [USER[1], USER[3], (b"accept", b"c")]),
        (Edits(replace=values(accept="c", authorization="t")), [(b"accept", b"c"), USER[1], USER[3]]),
        (Edits(remove=("accept", "if-none-match")), [USER[1], USER[3]]),
        (Edits(remove=("x-*",)), USER[:3]),
        (Edits(set=values(x_env="1"), remove=("x-*",)), [*USER[:3], (b"x-env", b"1")]),
        (Edits(replace=values(accept="c"), remove=("accept",)), [USER[1], USER[3]]),
    ],
)
def test_headers_are_set_replaced_and_removed(edits: Edits, expected: Fields) -> None:
    """A replaced field keeps its place, and a set field comes last. Other fields keep order and duplicates."""
    assert expected == headers(USER, edits)


def test_no_change_touches_the_marks_of_shadow_traffic() -> None:
    """A prefix that matches everything keeps the fields of the connection, and the marks that prevent loops."""
    kept = [(name.encode(), b"1") for name in sorted(MANAGED)]
    assert kept == headers([*kept, (b"accept", b"a")], Edits(remove=("*",)))


@pytest.mark.parametrize(
    ("given", "prefixes", "expected"),
    [
        ("/v1/cart?x=1", {"_v1": "/v2"}, b"/v2/cart?x=1"),
        ("/v1/cart", {"_v1": "/"}, b"/cart"),
        ("/v1", {"_v1": "/"}, b"/"),
        ("/v1?x", {"_v1": "/"}, b"/?x"),
        ("/v1/", {"_v1": "/v2/"}, b"/v2/"),
        ("/v10/cart", {"_v1": "/v2"}, b"/v10/cart"),
        ("/v1/a/b", {"_v1": "/x", "_v1_a": "/y"}, b"/y/b"),
        ("/v1//other.example/", {"_v1": "/"}, b"//other.example/"),
        ("/cart", {"_": "/shop"}, b"/shop/cart"),
        ("/a\xfc?b=\xfc", {"_a": "/b"}, "/a\xfc?b=\xfc".encode("latin-1")),
    ],
)
def test_a_prefix_covers_whole_segments(given: str, prefixes: dict[str, str], expected: bytes) -> None:
    """The longest prefix applies, and the rest of the path and the query keep every byte."""
    assert expected == target(given, "", None, **prefixes)


def test_the_path_of_the_url_comes_first() -> None:
    """It is added to each path, with and without a new prefix."""
    assert b"/base/v2/a" == target("/v1/a", "/base", _v1="/v2")
    assert b"/base/b" == target("/b", "/base", _v1="/v2")
    assert b"/base/" == target("/", "/base")


@pytest.mark.parametrize(
    ("given", "edits", "expected"),
    [
        ("/a?b=1&c=2", Edits(set=values(d="x y&")), b"/a?b=1&c=2&d=x%20y%26"),
        ("/a", Edits(set=values(d="1")), b"/a?d=1"),
        ("/a?b=1&c&b=2", Edits(replace=values(b="9")), b"/a?b=9&c"),
        ("/a?b=1", Edits(remove=("b",)), b"/a"),
        ("/a?utm_x=1&b=%2f+&utm_y", Edits(remove=("utm_*",)), b"/a?b=%2f+"),
        ("/a?%62=1&a+b=2", Edits(remove=("b", "a b")), b"/a"),
        ("/a?b=1&&c=;", Edits(remove=("x",)), b"/a?b=1&&c=;"),
    ],
)
def test_query_parameters_are_set_replaced_and_removed(given: str, edits: Edits, expected: bytes) -> None:
    """Names are compared after decoding. Other parameters keep every byte."""
    assert expected == target(given, query=edits)


@given(st.text("/ab?#", max_size=12).map("/".__add__), *[st.sampled_from(["", "/a", "/b", "/a/b"])] * 2)
def test_a_moved_prefix_can_be_moved_back(path: str, before: str, after: str) -> None:
    """The result is a path, and moving it back gives the original path, up to the slash of an empty path."""
    moved = move_prefix(path, before, after)
    if moved is not None:
        assert moved.startswith("/")
        assert move_prefix(moved, after, before) in {path, path.replace(before, f"{before}/", 1)}
