"""Every response header is compared unless a list excludes the header, and rules work for every header."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shadowdiff.compare import EXCLUDED_HEADERS, ComparedHeaders, Limits
from shadowdiff.model import Comparison, Kind, Result, Severity, Side
from tests.fakes import responses

Lines = tuple[tuple[str, str], ...]

KNOWN: Final = (
    "accept-ranges", "access-control-max-age", "allow", "cache-control", "content-disposition", "content-language",
    "content-range", "content-security-policy", "content-type", "deprecation", "link", "location", "nel", "pragma",
    "permissions-policy", "proxy-status", "referrer-policy", "refresh", "report-to", "server-timing", "sourcemap",
    "strict-transport-security", "sunset", "timing-allow-origin", "vary", "warning", "www-authenticate", "x-cache",
    "x-content-type-options", "x-frame-options", "x-powered-by", "x-ratelimit-limit", "x-robots-tag", "x-total-count",
    "grpc-retry-pushback-ms", "x.dotted", "x_underscored", "!#$%&'*+.^_`|~",
)  # fmt: skip
BY_FORM: Final = frozenset({
    "etag", "expires", "last-modified", "ratelimit", "ratelimit-remaining", "ratelimit-reset", "retry-after",
    "set-cookie", "x-process-time", "x-ratelimit-remaining", "x-ratelimit-reset", "x-response-time", "x-runtime",
})  # fmt: skip
"""Headers whose value may change; docs/comparing.md lists how each header is compared."""
UNORDERED: Final = frozenset({
    "accept-ranges", "access-control-allow-headers", "access-control-allow-methods", "access-control-expose-headers",
    "allow", "cache-control", "server-timing", "vary",
})  # fmt: skip

NAMES: Final = st.one_of(
    st.sampled_from(KNOWN),
    st.sampled_from(sorted(BY_FORM)),
    st.from_regex(r"[!#$%&'*+.^_`|~0-9a-z-]{1,12}", fullmatch=True),
)
VALUES: Final = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


def is_listed(name: str) -> bool:
    """Return whether the documented list of headers contains a header."""
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in EXCLUDED_HEADERS)


def judged(
    one: Lines, other: Lines, *rules: object, headers: ComparedHeaders | None = None, method: str = "GET"
) -> Comparison:
    """Compare two responses that have only headers."""
    fields = [tuple((name.encode(), value.encode()) for name, value in lines) for lines in (one, other)]
    limits = Limits() if headers is None else Limits(headers=headers)
    return responses.judged(b"", b"", *rules, headers=fields[0], headers_other=fields[1], limits=limits, method=method)


def places(comparison: Comparison) -> list[tuple[str, str | None, str | None]]:
    """Return the paths of a comparison's differences."""
    return [(one.path, one.primary, one.candidate) for one in comparison.differences]


@given(NAMES, VALUES, st.booleans())
@example("x-total-count", "240", True)
def test_a_header_that_one_side_lacks_is_a_difference_unless_listed(name: str, value: str, on_v1: bool) -> None:
    """A missing header is a breaking difference, and a new header is not."""
    lines: Lines = ((name, value),)
    found = judged(lines, ()) if on_v1 else judged((), lines)
    if is_listed(name):
        assert found.result is Result.MATCH
    else:
        assert [one.path.partition("[")[0] for one in found.differences] == [f"header.{name}"]
        assert found.differences[0].severity is (Severity.BREAKING if on_v1 else Severity.ADDITIVE)


@given(NAMES, VALUES, VALUES)
@example("x-total-count", "240", "24")
def test_a_changed_header_is_a_difference_unless_listed(name: str, value: str, changed: str) -> None:
    """A changed header is a difference, unless the header's value is new in every response."""
    assume(value != changed)
    found = judged(((name, value),), ((name, changed),))
    counts = not is_listed(name) and name not in BY_FORM
    assert found.result is (Result.MISMATCH if counts else Result.MATCH)
    assert [one.kind for one in found.differences] == [Kind.HEADER] * counts


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_different_headers_does_not_matter(lines: list[tuple[str, str]], random: object) -> None:
    """The order of headers does not matter if the lines of each header are in the same order."""
    names = [name for name, _ in lines]
    random.shuffle(names)  # type: ignore[attr-defined]
    queues = {name: [line for line in lines if line[0] == name] for name in names}
    assert judged(tuple(lines), tuple(queues[name].pop(0) for name in names)).result is Result.MATCH


@given(
    st.lists(st.tuples(st.sampled_from(["x-a", "x-b", "date", "x-envoy-a"]), st.sampled_from("12")), max_size=5),
    st.lists(st.tuples(st.sampled_from(["x-a", "x-b", "date", "x-envoy-a"]), st.sampled_from("12")), max_size=5),
)
def test_differences_are_those_of_a_naive_reference(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """The reference compares header by header, and joins the lines of a header in order."""
    expected: list[tuple[str, str | None, str | None]] = []
    for name in ("x-a", "x-b"):
        said = [", ".join(value for each, value in lines if each == name) or None for lines in (one, other)]
        if said[0] != said[1]:
            expected.append((f"header.{name}", said[0], said[1]))
    assert places(judged(tuple(one), tuple(other))) == expected
    mirrored = places(judged(tuple(other), tuple(one)))
    assert [(path, right, left) for path, left, right in mirrored] == expected


@given(NAMES, VALUES, VALUES)
def test_rules_and_configuration_work_for_any_header(name: str, value: str, changed: str) -> None:
    """An ignore rule and `exclude` work for any header, and `compare` adds a header that the list excludes."""
    assume(value != changed and name not in BY_FORM)
    one, other = ((name, value),), ((name, changed),)
    whatever = ComparedHeaders(compare=(name,))
    assert judged(one, other, headers=whatever).result is Result.MISMATCH
    covered = judged(one, other, {"ignore": f"header.{name}"}, headers=whatever)
    assert (covered.result, [each.rule for each in covered.differences]) == (
        Result.IGNORED,
        [f"ignore header.{name}"],
    )
    assert judged(one, other, headers=ComparedHeaders(exclude=(name,))).result is Result.MATCH
    assert judged(one, other, headers=ComparedHeaders(exclude=("*",))).result is Result.MATCH
    assert judged(one, other, headers=ComparedHeaders(compare=(name,), exclude=("*",))).result is Result.MISMATCH


@given(NAMES, st.integers(0, 999), st.integers(0, 999))
def test_a_tolerance_and_a_mask_work_for_any_header(name: str, value: int, changed: int) -> None:
    """A tolerance covers a number in any header, and a mask covers text."""
    assume(value != changed and name not in BY_FORM)
    one, other = ((name, str(value)),), ((name, str(changed)),)
    whatever = ComparedHeaders(compare=(name,))
    near = judged(one, other, {"tolerance": {"path": f"header.{name}", "abs": 10}}, headers=whatever)
    assert near.result is (Result.IGNORED if abs(value - changed) <= 10 else Result.MISMATCH)
    masked = judged(one, other, {"mask": {"path": f"header.{name}", "pattern": "[0-9]+"}}, headers=whatever)
    assert masked.result is Result.IGNORED


@given(st.sampled_from(sorted(set(KNOWN) - UNORDERED - {"content-type", "location"})), VALUES, VALUES)
def test_the_lines_of_one_header_keep_their_order(name: str, value: str, after: str) -> None:
    """The order of a header's lines matters unless the header's grammar defines a set."""
    assume(value != after)
    found = judged(((name, value), (name, after)), ((name, after), (name, value)))
    assert found.result is Result.MISMATCH


@given(st.lists(VALUES, min_size=2, max_size=4), st.sampled_from([",", ", ", " , "]))
def test_joined_lines_are_the_same_list(values: list[str], comma: str) -> None:
    """A proxy may join the lines of a header (RFC 9110, section 5.3)."""
    lines: Lines = tuple(("x-a", value) for value in values)
    assert judged(lines, (("x-a", comma.join(values)),)).result is Result.MATCH
    assert judged(lines, (("x-a", comma.join(reversed(values))),)).result is (
        Result.MATCH if values == values[::-1] else Result.MISMATCH
    )


COOKIES: Final = st.tuples(
    st.sampled_from(["a", "b"]), st.sampled_from(["", "x.example", "y.example"]), st.sampled_from(["", "/", "/p"]),
    st.booleans(), st.booleans(),
)  # fmt: skip
Cookie = tuple[str, str, str, bool, bool]


def cookie_line(cookie: Cookie, value: str) -> tuple[str, str]:
    """Return a Set-Cookie header with a name, a domain and a path, either secure or not, and either deleted or not."""
    name, domain, path, secure, deleted = cookie
    parts = [f"{name}={value}", f"Domain={domain}" * bool(domain), f"path={path}" * bool(path), "Secure" * secure]
    return "set-cookie", "; ".join(part for part in [*parts, "Max-Age=0" * deleted] if part)


@given(st.lists(COOKIES, max_size=4), st.lists(COOKIES, max_size=4))
def test_cookies_match_exactly_as_a_multiset_whose_last_ones_agree(one: list[Cookie], other: list[Cookie]) -> None:
    """Cookies are compared by name, domain, path and attributes, but never by value."""
    same = Counter(one) == Counter(other) and last(one) == last(other)
    lines, lines_other = (
        tuple(cookie_line(each, value) for each in side) for side, value in ((one, "v"), (other, "w"))
    )
    found = judged(lines, lines_other)
    assert found.result is (Result.MATCH if same else Result.MISMATCH)
    assert {path for path, _, _ in places(found)} <= {f"header.set-cookie[{name!r}]" for name in ("a", "b")}
    mirrored = [(path, right, left) for path, left, right in places(judged(lines_other, lines))]
    assert Counter(mirrored) == Counter(places(found))


def last(cookies: list[Cookie]) -> dict[tuple[str, str, str], Cookie]:
    """Return the cookies that a client stores."""
    return {each[:3]: each for each in cookies}


@pytest.mark.parametrize("name", ["content-length", "content-md5", "digest", "content-digest", "repr-digest"])
def test_sizes_and_digests_count_only_if_no_body_is_compared(name: str) -> None:
    """In a response to HEAD, only the size and digest headers describe the body, so both are compared."""
    one, other = ((name, "240"),), ((name, "24"),)
    assert judged(one, other).result is Result.MATCH
    assert judged(one, other, method="HEAD").result is Result.MISMATCH
    assert judged(one, (), method="HEAD").result is Result.MISMATCH
    assert judged(one, other, method="HEAD", headers=ComparedHeaders(exclude=(name,))).result is Result.MATCH


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=6))
def test_trailers_of_a_grpc_call_are_compared_like_headers(lines: list[tuple[str, str]]) -> None:
    """v1's users receive the trailers, so they are compared."""
    trailers = tuple((name.encode(), value.encode()) for name, value in lines)
    call: dict[str, Any] = {"headers": ((b"content-type", b"application/grpc"),), "method": "POST", "path": "/a.B/C"}
    primary = responses.response(Side.PRIMARY, trailers=((b"grpc-status", b"0"), *trailers), **call)
    candidate = responses.response(Side.CANDIDATE, trailers=((b"grpc-status", b"0"),), **call)
    found = responses.compared(primary, candidate, limits=Limits(differences=1000), route="POST /a.B/C")
    expected = {f"header.{name}" for name, _ in lines if not is_listed(name)}
    assert {one.path.partition("[")[0] for one in found.differences} == expected
