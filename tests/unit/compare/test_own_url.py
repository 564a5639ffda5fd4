"""A URL that names the service itself is compared as a path, and any other URL as a whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare.fields import own_authorities, own_path
from shadowdiff.model import Observation, Result, Side
from tests.fakes.responses import compared, response

NAMES = ("shop.example", "shop-v2:8080", "10.0.0.1", "[::1]:9000")


def side(which: Side, field: str, value: str, **changes: Any) -> Observation:
    """Return a response with one header."""
    call: dict[str, Any] = {"host": "shop.example", "status": 302, "headers": ((field.encode(), value.encode()),)}
    return response(which, **(call | changes))


def result(field: str, said: str, answered: str, authority: str = "shop-v2:8080", host: str = "shop.example") -> Result:
    """Return the result for v1's and v2's value. The request to v2 had v2's own host name."""
    primary = side(Side.PRIMARY, field, said, host=host)
    candidate = side(Side.CANDIDATE, field, answered, authority=authority, host=host)
    return compared(primary, candidate).result


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("https://shop.example/login?a=b#c", "http://shop-v2:8080/login?a=b#c"),
        ("https://shop.example/login", "http://shop.example/login"),
        ("https://shop.example:443/login", "http://SHOP.example:80/login"),
        ("https://shop.example", "http://shop-v2:8080/"),
        ("https://shop.example?a", "http://shop-v2:8080/?a"),
        ("//shop.example/login", "//shop-v2:8080/login"),
        ("/login", "http://shop-v2:8080/login"),
    ],
)
def test_all_names_of_the_service_are_equal(said: str, answered: str) -> None:
    """All names are equal in every header with URLs, also next to other URLs."""
    assert Result.IGNORED is result("location", said, answered)
    assert Result.IGNORED is result("content-location", said, answered)
    link = '<{}>; rel="next", </last>; rel="last"'
    assert Result.IGNORED is result("link", link.format(said), link.format(answered))


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("http://shop.example/login", "http://shop-v2:8080/logout"),
        ("http://shop.example/login", "http://shop-v2:8081/login"),
        ("http://shop.example/login", "http://other.example/login"),
        ("http://shop.example/login", "http://shop.example.evil/login"),
        ("http://shop.example/login", "http://shop.example@evil/login"),
        ("http://shop.example/login", "http://evil/http://shop.example/login"),
        ("http://shop.example/login", "http://shop.example:443/login"),
        ("http://shop.example/login", "ftp://shop.example/login"),
        ("http://shop.example/a//b", "http://shop-v2:8080/a/b"),
    ],
)
def test_another_url_is_a_mismatch(said: str, answered: str) -> None:
    """A URL with another path, port, host or scheme is a mismatch."""
    assert Result.MISMATCH is result("location", said, answered)
    assert Result.MISMATCH is result("link", f"<{said}>; rel=next", f"<{answered}>; rel=next")


def test_a_default_port_is_not_part_of_the_name() -> None:
    """The default port does not matter in the user's Host or in v2's."""
    assert Result.IGNORED is result("location", "http://svc/x", "http://v2/x", authority="v2:80", host="svc:80")
    assert Result.IGNORED is result("location", "https://svc/x", "https://v2:443/x", authority="v2:443", host="svc:443")


@pytest.mark.parametrize(
    ("answered", "is_same"),
    [
        ("5; url=http://shop-v2:8080/next", True),
        ("5; URL='http://shop.example/next'", False),  # compared as written, because guessing could hide a difference
        ("5; url=/next", True),
        ("5; url=http://other.example/next", False),
        ("6; url=/next", False),
        ("5", False),
    ],
)
def test_the_url_of_a_refresh_is_compared(answered: str, *, is_same: bool) -> None:
    """The delay of a Refresh header is compared too."""
    said = "5; url=http://shop.example/next"
    assert is_same is (result("refresh", said, answered) is Result.IGNORED)


def test_links_may_be_in_one_line_or_in_two() -> None:
    """A proxy may join the lines of one side."""
    primary = side(Side.PRIMARY, "link", "")
    lines = (b"<http://shop.example/a>; rel=next", b"<http://shop.example/b>; rel=last")
    primary = msgspec.structs.replace(primary, headers=tuple((b"link", line) for line in lines))
    joined = "<http://shop-v2:8080/a>; rel=next, </b>; rel=last"
    candidate = side(Side.CANDIDATE, "link", joined, authority="shop-v2:8080")
    assert Result.IGNORED is compared(primary, candidate).result


@given(
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.sampled_from(["http://", "https://", "//"]),
    st.text("abc/?#=&%.:@[]", max_size=12).map(lambda text: f"/{text}"),
)
def test_a_path_is_the_same_under_every_name(one: str, other: str, scheme: str, path: str) -> None:
    """A path without a host is unchanged. A path that looks like another host gets a dot before it."""
    own = own_authorities(side(Side.PRIMARY, "x", "", host=one), side(Side.CANDIDATE, "x", "", authority=other))
    expected = f"/.{path}" if path.startswith("//") else path
    assert expected == own_path(f"{scheme}{one}{path}", own) == own_path(f"{scheme}{other}{path}", own)
    if not path.startswith("//"):
        assert path == own_path(path, own)


@given(st.text(max_size=40))
def test_a_url_of_another_host_is_unchanged(text: str) -> None:
    """The URL stays equal byte for byte."""
    own = own_authorities(side(Side.PRIMARY, "x", "", host="a-host-that-no-text-has"))
    assert text == own_path(text, own)


@pytest.mark.parametrize(
    "text", ["<" * 60_000, "<" + "a" * 60_000, "5;url=" + " " * 60_000, "5" * 60_000, "//" * 30_000]
)
def test_long_values_take_linear_work(text: str) -> None:
    """The work is linear for any value that fits in a header."""
    assert Result.MISMATCH is result("link", text, text + "x")
    assert Result.MISMATCH is result("refresh", text, text + "x")
    assert Result.MISMATCH is result("location", text, text + "x")


PREFIXES = {
    "replaced": (("/v1", "/v2"),),
    "removed": (("/v1", ""),),
    "with the path of the URL": (("/v1", "/api/v2"), ("", "/api")),
}


def moved(prefixes: tuple[tuple[str, str], ...], said: str, answered: str, field: str = "location") -> Result:
    """Return the result for v1's and v2's value, if v2 receives paths with these prefixes."""
    primary = side(Side.PRIMARY, field, said)
    return compared(primary, side(Side.CANDIDATE, field, answered, authority="shop-v2:8080", prefixes=prefixes)).result


@pytest.mark.parametrize(
    ("prefixes", "said", "answered"),
    [
        ("replaced", "/v1/cart?x=1", "/v2/cart?x=1"),
        ("replaced", "/v1/cart", "/v1/cart"),
        ("replaced", "https://shop.example/v1", "http://shop-v2:8080/v2"),
        ("replaced", "/login", "/login"),
        ("removed", "/v1/cart", "/cart"),
        ("removed", "/v1/", "/"),
        ("with the path of the URL", "/v1/cart", "/api/v2/cart"),
        ("with the path of the URL", "/login", "http://shop-v2:8080/api/login"),
    ],
)
def test_v2_may_use_its_own_prefix_in_urls(prefixes: str, said: str, answered: str) -> None:
    """v2 may send a URL with the prefix that it received, or with v1's prefix, as a gateway would write it."""
    found = Result.IGNORED if "shop-v2" in answered else Result.MATCH
    assert found is moved(PREFIXES[prefixes], said, answered)
    assert found is moved(PREFIXES[prefixes], said, answered, "content-location")
    link = '<{}>; rel="next"'
    assert found is moved(PREFIXES[prefixes], link.format(said), link.format(answered), "link")


@pytest.mark.parametrize(
    ("prefixes", "said", "answered"),
    [
        ("replaced", "/v1/cart", "/v2/carts"),
        ("replaced", "/v1/cart", "/v20/cart"),
        ("replaced", "/v1/cart", "/v3/cart"),
        ("replaced", "/v2/cart", "/v1/cart"),
        ("replaced", "/v1/cart", "https://other.example/v2/cart"),
        ("removed", "/v1/cart", "/v2/cart"),
        ("removed", "/v1/cart", "//other.example/cart"),
    ],
)
def test_another_path_or_host_still_differs(prefixes: str, said: str, answered: str) -> None:
    """Only the prefix that v2 received is accepted, and only in place of v1's."""
    assert Result.MISMATCH is moved(PREFIXES[prefixes], said, answered)
