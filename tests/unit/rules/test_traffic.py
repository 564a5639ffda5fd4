"""Test which requests a target sends to v2: the methods of every route, and of single routes."""

from __future__ import annotations

import pytest

from shadowdiff.model import Candidate, Target
from shadowdiff.rules import Traffic


def target(*methods: str, routes: tuple[str, ...] = ()) -> Target:
    """Return a target with these methods and routes."""
    return Target(name="shop", hosts=("shop",), candidate=Candidate(url="http://v2"), methods=methods, routes=routes)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/orders", True),
        ("POST", "/search", True),
        ("POST", "/search?q=1", True),
        ("POST", "/%73earch", True),
        ("POST", "/orders", False),
        ("POST", "/search/", False),
        ("POST", "/Search", False),
        ("POST", "/search/orders", False),
        ("PUT", "/search", False),
        ("PATCH", "/drafts/7", True),
        ("PATCH", "/drafts/", False),
        ("PATCH", "/drafts/7/send", False),
        ("DELETE", "/orders", False),
        ("GET", "*", True),
        ("POST", "*", False),
    ],
)
def test_a_method_of_one_route_is_allowed_there_only(method: str, path: str, expected: bool) -> None:
    """The path is compared as the routes are; the query does not matter. The wire's bytes give the same result."""
    traffic = Traffic(target("GET", "POST /search", "PATCH /drafts/{id}"))
    assert [expected] * 2 == [traffic.allows(method, path), traffic.allows(method, path.encode())]


@pytest.mark.parametrize(
    "path",
    [
        "/a/../b", "/a/./b", "/a/%2e%2e/b", "/a/.%2E/b", "/a//b", "/a/x%2F..%2Fy/b", "/a/x%5Cy/b", "/a/x\\y/b",
        "/a/..;/b", "/a/x;y/b", "/a/x%252e/b", "/a/x%00/b", "/a/x#/b", "/a/x%23/b", "/a/x%3by/b",
    ],
)  # fmt: skip
def test_a_path_that_v2_may_resolve_to_another_path_is_never_allowed_by_its_route(path: str) -> None:
    """A parameter must not lead to a route that is not allowed. A method of every route is not affected."""
    assert not Traffic(target("POST /a/{x}/b")).allows("POST", path)
    assert Traffic(target("POST", "POST /a/{x}/b")).allows("POST", path)


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ((), True),
        (("/items/{id}",), True),
        (("/items/purge",), False),
        (("POST /items/purge",), False),
        (("GET /items/purge",), True),
        (("/items/p{rest}",), False),
        (("/items", "/items/purge/all"), True),
    ],
)
def test_the_most_specific_route_decides(routes: tuple[str, ...], expected: bool) -> None:
    """A template of `methods` allows no request that belongs to a more specific route."""
    assert expected == Traffic(target("POST /items/{id}", routes=routes)).allows("POST", "/items/purge")


def test_a_method_of_every_route_keeps_its_meaning() -> None:
    """Templates without a method in `routes` restrict nothing."""
    traffic = Traffic(target("GET", "POST", routes=("POST /search",)))
    assert all(traffic.allows("POST", path) for path in ("/search", "/orders", "/a/../b"))
    assert frozenset({"GET", "POST"}) == traffic.methods
