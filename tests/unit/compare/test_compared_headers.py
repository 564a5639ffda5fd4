"""Test which headers are compared, by names, prefixes, configuration and limits."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import msgspec
import pytest

from shadowdiff.compare import ALL_HEADERS, EXCLUDED_HEADERS, ComparedHeaders, Limits, fields, headers_of
from shadowdiff.compare.compared_headers import COMPARED
from shadowdiff.model import Candidate, Target

SHOP = Target(name="shop", hosts=("shop",), candidate=Candidate(url="http://v2:8080"))


@pytest.mark.parametrize(
    ("compare", "exclude", "name", "expected"),
    [
        ((), (), "x-total-count", True),
        ((), (), "date", False),
        ((), (), "x-envoy-upstream-service-time", False),
        ((), (), "x-ratelimit-limit", True),
        (("date",), (), "date", True),
        (("x-envoy-*",), (), "x-envoy-overloaded", True),
        (("x-envoy-overloaded",), (), "x-envoy-overloaded", True),
        ((), ("x-total-*",), "x-total-count", False),
        (("x-total-count",), ("x-total-*",), "x-total-count", True),
        (("x-total-c*",), ("x-total-*",), "x-total-count", True),
        ((), ("*",), "x-total-count", False),
        (("x-total-count",), ("*",), "x-total-count", True),
        ((), ("*",), "grpc-status", True),
        ((), ("grpc-status",), "grpc-status", False),
    ],
)
def test_an_exact_name_wins_over_a_prefix_and_a_longer_prefix_over_a_shorter_one(
    compare: tuple[str, ...], exclude: tuple[str, ...], name: str, expected: bool
) -> None:
    """Configuration has priority over the default list. Only its exact name excludes the status of a gRPC call."""
    assert (name in ComparedHeaders(compare, exclude)) is expected


def test_a_targets_revision_header_is_not_compared_unless_it_is_named() -> None:
    """The revision header differs between v1 and v2 by design."""
    build = msgspec.structs.replace(SHOP, candidate=Candidate(url="http://v2:8080", revision_header="x-build"))
    named = msgspec.structs.replace(build, compare_headers=("x-build",))
    excluding = msgspec.structs.replace(SHOP, exclude_headers=("x-built-by",))
    found = [("x-build" in headers_of(one), "x-built-by" in headers_of(one)) for one in (SHOP, build, named, excluding)]
    assert found == [(True, True), (False, True), (True, True), (True, False)]


def test_compared_headers_can_be_pickled() -> None:
    """Equal choices become one object, so decisions are made once."""
    limits = Limits(headers=ComparedHeaders(("date",), ("x-a",)))
    first, second = (pickle.loads(pickle.dumps(limits)) for _ in range(2))  # noqa: S301 - made here
    assert first == limits != Limits()
    assert first.headers is second.headers
    assert hash(first.headers) == hash(limits.headers)


def test_unknown_header_names_use_bounded_memory() -> None:
    """The number and length of header names are limited."""
    headers = ComparedHeaders()
    for index in range(10_000):
        assert headers.usual[b"x-%d" % index]
        assert headers.usual[b"x-%d-" % index + b"y" * 100]
    assert len(headers.usual) <= 4096
    assert max(map(len, headers.usual)) <= 64


def test_the_list_has_lower_case_names_each_once() -> None:
    """Header names are lower case when they arrive."""
    assert sorted(set(EXCLUDED_HEADERS)) == sorted(name.lower() for name in EXCLUDED_HEADERS)
    assert all(ALL_HEADERS.usual[name.encode()] != COMPARED for name in EXCLUDED_HEADERS)


def test_the_documentation_lists_every_excluded_header() -> None:
    """The docs list everything that is not compared."""
    section = (Path(__file__).parents[3] / "docs" / "comparing.md").read_text().partition("## Headers\n")[2]
    listed = re.findall(
        r"^\| [^|]+ \| (`[^|]+) \|$", section.partition("A header is compared by its grammar")[0], re.MULTILINE
    )
    assert sorted(re.findall(r"`([a-z0-9*-]+)`", " ".join(listed))) == sorted(EXCLUDED_HEADERS)


def test_the_documentation_lists_every_header_with_a_grammar() -> None:
    """The list also describes how each header is compared."""
    section = (Path(__file__).parents[3] / "docs" / "comparing.md").read_text().partition("by its grammar:\n")[2]
    table = section.partition("The order of headers")[0]
    known = {name.decode() for name in fields.READERS} | {"expires", "location", "content-location", "set-cookie"}
    assert {name for name in known if f"`{name}`" not in table} <= {"x-ratelimit-remaining", "x-ratelimit-reset"}
