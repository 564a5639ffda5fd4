"""v2's own origin in place of v1's own origin is covered by a built-in rule, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare import Limits
from shadowdiff.model import Comparison, Headers, Result, Side
from shadowdiff.rules.builtin import BUILT_IN_RULES, OWN_ORIGIN
from tests.fakes.responses import compared, response

HOST, AUTHORITY = "shop.example", "shop-v2.internal:8080"
V1, V2 = f"https://{HOST}", f"http://{AUTHORITY}"
OFF = Limits(built_in_off=(OWN_ORIGIN.name,))
JSON = "application/json"


def result(
    one: bytes,
    other: bytes,
    *rules: object,
    kind: str = JSON,
    scheme: str = "https",
    host: str = HOST,
    authority: str = AUTHORITY,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    fields: tuple[Headers, Headers] = ((), ()),
) -> Comparison:
    """Compare two bodies. The user called `host` by `scheme` (empty: unknown), and v2 was sent `authority`."""
    sent: dict[str, Any] = {"request_headers": ((b"x-forwarded-proto", scheme.encode()),) if scheme else ()}
    of_type = (b"content-type", kind.encode())
    primary = response(Side.PRIMARY, one, (of_type, *fields[0]), host=host)
    candidate = response(Side.CANDIDATE, other, (of_type, *fields[1]), host=host, authority=authority, **sent)
    return compared(primary, candidate, *rules, limits=limits)


def of_texts(one: str, other: str, **changes: Any) -> Comparison:
    """Compare two texts inside a JSON body."""
    return result(json.dumps({"text": one}).encode(), json.dumps({"text": other}).encode(), **changes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://shop.example", "http://shop-v2.internal:8080"),
        ("https://shop.example/a?b#c", "http://shop-v2.internal:8080/a?b#c"),
        ("https://shop.example/a", "https://shop-v2.internal:8080/a"),
        ("https://shop.example:443/a", "http://shop-v2.internal:8080/a"),
        ("https://SHOP.example/a", "http://shop-v2.internal:8080/a"),
        ("//shop.example/a", "//shop-v2.internal:8080/a"),
        ("see https://shop.example.", "see http://shop-v2.internal:8080."),
        (
            "https://shop.example/a https://shop.example/b",
            "http://shop-v2.internal:8080/a http://shop-v2.internal:8080/b",
        ),
        ("https://id/?to=https%3A%2F%2Fshop.example%2Fa", "https://id/?to=http%3A%2F%2Fshop-v2.internal%3A8080%2Fa"),
        ("https://id/?to=https%3a%2f%2fshop.example", "https://id/?to=http%3a%2f%2fshop-v2.internal%3a8080"),
        ("https%253A%252F%252Fshop.example", "http%253A%252F%252Fshop-v2.internal%253A8080"),
        ("https:&#x2F;&#x2F;shop.example/", "http:&#x2F;&#x2F;shop-v2.internal:8080/"),
        ("https:\\/\\/shop.example/", "http:\\/\\/shop-v2.internal:8080/"),
        ('{"to": "https://shop.example", "n": 1}', '{"n": 1, "to": "http://shop-v2.internal:8080"}'),
    ],
)
def test_the_own_origin_is_covered(one: str, other: str) -> None:
    """The rule covers an origin in each of its forms, and several origins."""
    found = of_texts(one, other)
    assert (Result.IGNORED, {OWN_ORIGIN.label}) == (found.result, {place.rule for place in found.differences})
    assert Result.MISMATCH is of_texts(one, other, limits=OFF).result


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://shop.example/a", "http://shop-v2.internal:8080/b"),
        ("https://shop.example/a", "http://shop-v2.internal:8081/a"),
        ("https://shop.example/a", "http://shop-v2.internal/a"),
        ("https://shop.example/a", "http://shop-v2.internal:8080.evil/a"),
        ("https://shop.example/a", "http://shop-v2.internal:8080@evil/a"),
        ("https://shop.example/a", "http://shop-v2.internal:80801/a"),
        ("https://shop.example/a", "http://evil-shop-v2.internal:8080/a"),
        ("https://shop.example/a", "ftp://shop-v2.internal:8080/a"),
        ("https://shop.example/a", "shop-v2.internal:8080/a"),
        ("https://shop.example/a", "//shop-v2.internal:8080/a"),
        ("https://shop.example/a", "http%3A%2F%2Fshop-v2.internal%3A8080/a"),
        ("https://shop.example/a", "/a"),
        ("http://shop.example/a", "http://shop-v2.internal:8080/a"),
        ("https://shop.example:8443/a", "http://shop-v2.internal:8080/a"),
        ("https://shop.example:80/a", "http://shop-v2.internal:8080/a"),
        ("https://cdn.shop.example/a", "http://shop-v2.internal:8080/a"),
        ("https://shop.example.evil/a", "http://shop-v2.internal:8080/a"),
        ("shop.example", "shop-v2.internal:8080"),
        ("https://shop.example/a", "https://other.example/a"),
        ("https://other.example/a", "https://shop.example/a"),
        ("http://shop-v2.internal:8080/a", "https://shop.example/a"),
    ],
)
def test_everything_else_is_a_mismatch(one: str, other: str) -> None:
    """A wrong path, port, host or scheme counts, and the host of v1 is no origin of v2."""
    assert Result.MISMATCH is of_texts(one, other).result


def test_without_the_users_scheme_both_are_accepted() -> None:
    """If the request does not name the scheme, v1's URLs may have http or https."""
    for scheme in ("http", "https"):
        assert Result.IGNORED is of_texts(f"{scheme}://shop.example", V2, scheme="").result


def test_a_port_is_part_of_the_users_host() -> None:
    """A port that is no default port must be in v1's text."""
    assert Result.IGNORED is of_texts("https://shop:8443/a", f"{V2}/a", host="shop:8443").result
    assert Result.MISMATCH is of_texts("https://shop/a", f"{V2}/a", host="shop:8443").result
    assert Result.IGNORED is of_texts("https://shop/a", f"{V2}/a", host="shop:443").result
    assert Result.MISMATCH is of_texts("https://shop/a", f"{V2}/a", host="shop:80").result
    assert (
        Result.IGNORED
        is of_texts("https://[::1]:9000/a", "http://[::2]:9/a", host="[::1]:9000", authority="[::2]:9").result
    )


def test_a_preserved_host_has_no_own_origin() -> None:
    """If v2 was sent the user's host, its own origin is v1's, so another scheme counts."""
    assert Result.MISMATCH is of_texts(f"{V1}/a", f"http://{HOST}/a", authority=HOST).result


def test_a_difference_next_to_an_origin_counts() -> None:
    """Only the place with the origin is covered. v2's text is shown as v2 sent it."""
    found = result(b'{"a": "https://shop.example", "n": 1}', b'{"a": "http://shop-v2.internal:8080", "n": 2}')
    assert [("$['n']", None), ("$['a']", OWN_ORIGIN.label)] == [(place.path, place.rule) for place in found.differences]
    links = [json.dumps([f"{origin}/{at}" for at in ats]).encode() for origin, ats in ((V1, "ab"), (V2, "acb"))]
    found = result(*links)
    assert [("$[1]", None, '"http://shop-v2.internal:8080/c"')] == [
        (place.path, place.primary, place.candidate) for place in found.differences if place.rule is None
    ]


def test_a_rule_may_cover_the_rest_of_a_text() -> None:
    """A mask and the origin together cover a text that needs both."""
    rule = {"mask": {"path": "$.text", "pattern": r"t=\d+"}}
    found = result(b'{"text": "https://shop.example?t=1"}', b'{"text": "http://shop-v2.internal:8080?t=2"}', rule)
    assert Result.IGNORED is found.result


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"a\nsee %b/x now\nb"),
        ("text/html", b"<p><a href='%b/x'>%b</a></p>"),
        ("application/xml", b"<a b='%b'>%b/c</a>"),
        ("application/x-www-form-urlencoded", b"a=%b/x&b=1"),
        ("application/x-ndjson", b'{"a": 1}\n{"a": "%b"}\n'),
        ("text/event-stream", b'data: {"a": "%b"}\n\n'),
        ("application/yaml", b"a: %b/x\n"),
        ("text/csv; header=present", b"a,b\n1,%b/x\n"),
        ("application/octet-stream", b"\0%b/x\0"),
        ("multipart/mixed; boundary=x", b'--x\r\ncontent-type: application/json\r\n\r\n["%b"]\r\n--x--\r\n'),
    ],
)
def test_every_format_has_own_origins(kind: str, body: bytes) -> None:
    """The rule applies to the texts of each format."""
    one, other = (body.replace(b"%b", origin.encode()) for origin in (V1, V2))
    assert Result.IGNORED is result(one, other, kind=kind).result
    assert Result.MISMATCH is result(one, other, kind=kind, limits=OFF).result
    assert Result.MISMATCH is result(one, other.replace(b"8080", b"8081"), kind=kind).result


def test_lengths_of_a_binary_format_change_with_the_origin() -> None:
    """In a binary format, the strings of the value have v1's origin, because the bytes have their length."""
    one, other = (msgspec.msgpack.encode({"a": [f"{origin}/x"]}) for origin in (V1, V2))
    assert Result.IGNORED is result(one, other, kind="application/msgpack").result


def test_headers_have_own_origins() -> None:
    """The rule applies to every header."""
    fields: tuple[Headers, Headers] = (
        ((b"location", f"{V1}/a".encode()), (b"x-self", V1.encode())),
        ((b"location", f"{V2}/a".encode()), (b"x-self", V2.encode())),
    )
    found = result(b"{}", b"{}", fields=fields)
    assert [("header.location", OWN_ORIGIN.label), ("header.x-self", OWN_ORIGIN.label)] == [
        (place.path, place.rule) for place in found.differences
    ]
    assert len(result(b"{}", b"{}", fields=fields, limits=OFF).differences) == len(found.differences)
    assert Result.MISMATCH is result(b"{}", b"{}", fields=fields, limits=OFF).result


parts = st.lists(
    st.sampled_from([V1, V2, "https://cdn.example", "//", "/", ":8080", ".", " ", "a", "@", HOST, AUTHORITY])
)
texts = st.builds("".join, parts)
values = st.recursive(texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@given(values, values)
def test_the_rule_only_covers(one: Any, other: Any) -> None:
    """The rule never turns a match or an ignored pair into a mismatch, and needs v2's origin to cover."""
    bodies = json.dumps(one).encode(), json.dumps(other).encode()
    with_rule, without = result(*bodies), result(*bodies, limits=OFF)
    if without.result is not Result.MISMATCH:
        assert without == with_rule
    if with_rule.result is Result.IGNORED:
        assert AUTHORITY in json.dumps(other)
        assert HOST in json.dumps(one)
    assert Result.MATCH is result(bodies[0], bodies[0]).result


@given(st.lists(st.sampled_from([V1, "https://cdn.example", "/a", "//", "?x=", " ", "a"])))
def test_a_text_with_v2s_origin_for_v1s_is_ignored(parts: list[str]) -> None:
    """If v2 writes its own origin wherever v1 writes its own, and the rest is equal, the pair is not a mismatch."""
    one = " ".join(parts)
    found = of_texts(one, one.replace(V1, V2))
    assert (Result.IGNORED if V1 in one else Result.MATCH) is found.result
    changed = of_texts(one, one.replace(V1, V2) + "x")
    assert Result.MISMATCH is changed.result


def test_every_built_in_rule_can_be_turned_off() -> None:
    """Without its built-in rules a comparison counts what they cover."""
    off = Limits(built_in_off=tuple(rule.name for rule in BUILT_IN_RULES))
    document = [json.dumps({"a": text}).encode() for text in ('{"b": 1, "c": 2}', '{"c": 2, "b": 1}')]
    assert (Result.IGNORED, Result.MISMATCH) == (result(*document).result, result(*document, limits=off).result)
    broken = b"<p>x</p>", b"<p>y</p>"
    mask = {"mask": {"path": "text", "pattern": "[xy]"}}
    assert (Result.IGNORED, Result.MISMATCH) == (
        result(*broken, mask).result,
        result(*broken, mask, limits=off).result,
    )
    nested = b"--x\r\ncontent-type: multipart/mixed; boundary=%b\r\n\r\n--%b\r\n\r\na\r\n--%b--\r\n--x--\r\n"
    bodies = [nested.replace(b"%b", name) for name in (b"y", b"z")]
    kind = "multipart/mixed; boundary=x"
    assert (Result.IGNORED, Result.MISMATCH) == (
        result(*bodies, kind=kind).result,
        result(*bodies, kind=kind, limits=off).result,
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://shop.example//evil.com/x", "//evil.com/x"),
        ("//evil.com/x", f"http://{AUTHORITY}//evil.com/x"),
        ("https://shop.example/\\evil.com", "/\\evil.com"),
    ],
)
def test_an_open_redirect_is_not_the_own_origin(one: str, other: str) -> None:
    """Without its host, such a path would be the URL of another host."""
    locations = tuple(((b"location", text.encode()),) for text in (one, other))
    found = result(b"{}", b"{}", host="shop.example", fields=(locations[0], locations[1]))
    assert Result.MISMATCH is found.result


def test_differences_count_even_if_the_second_comparison_is_too_complex() -> None:
    """The budget that finds a fault without the rule also finds it with the rule."""
    rows = ", ".join(f'{{"id": {at}, "url": "https://{HOST}/{at}"}}' for at in range(300))
    one, other = (
        f"[{rows}]",
        f"[{rows}]".replace(f"https://{HOST}", f"http://{AUTHORITY}").replace('"id": 7,', '"id": 0,'),
    )
    least = next(
        work
        for work in range(2_000, 200_000, 2_000)
        if result(one.encode(), other.encode(), limits=Limits(work=work)).result is not Result.INCOMPARABLE
    )
    for work in range(least, 3 * least, 2_000):
        assert Result.MISMATCH is result(one.encode(), other.encode(), limits=Limits(work=work)).result
