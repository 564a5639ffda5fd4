"""Test which requests a target sends to v2: the methods of every route and of single routes, and conditions."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from shadowdiff.config.target_settings import TargetSettings
from shadowdiff.model import Candidate, Target
from shadowdiff.pairing.request_id import is_sampled
from shadowdiff.rules.traffic import NotRecordedError, Traffic, header_value, recorded_value
from tests.conftest import ROOT


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


VECTORS: list[tuple[list[Any], list[Any], str, str, list[tuple[str, str]], bool]] = json.loads(
    (ROOT / "fixtures" / "conditions.json").read_bytes()
)


def selecting(include: list[Any], exclude: list[Any]) -> Traffic:
    """Return what a configuration file with these conditions selects."""
    given = {"name": "shop", "hosts": ["shop"], "candidate": {"url": "http://v2"}}
    settings = TargetSettings.model_validate({**given, "include": include, "exclude": exclude})
    return Traffic(settings.target(()))


def test_the_conditions_match_every_test_vector() -> None:
    """The mirror port and the records port decide alike. The recorders have the same test."""
    for include, exclude, method, path, headers, expected in VECTORS:
        traffic = selecting(include, exclude)
        received = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        read = {name for one in (*include, *exclude) for name in names_of(one)}
        recorded = [*received, *((name.encode(), b"") for name in read - {name for name, _ in headers})]
        assert [expected] * 2 == [
            traffic.includes(
                method, path.encode("latin-1").partition(b"?")[0], partial(header_value, received), is_sampled
            ),
            traffic.includes(method, path, partial(recorded_value, recorded), is_sampled),
        ], (include, exclude, method, path, headers)


def names_of(condition: Any) -> list[str]:
    """Return the headers that a condition reads."""
    if isinstance(condition, str):
        return []
    users = condition.get("users", {})
    return [*condition.get("header", {}), *([users.get("header", "cookie")] if users else [])]


def test_a_record_without_a_header_that_decides_is_rejected() -> None:
    """The header decides only if route and path do not."""
    traffic = selecting(
        ["/a", {"path": "/b*", "header": {"x-t": "1"}}], ["/c", {"route": "/a/b", "header": {"x-u": "*"}}]
    )
    unknown = partial(recorded_value, ())
    assert [True, False, False] == [traffic.includes("GET", path, unknown, is_sampled) for path in ("/a", "/c", "/d")]
    with pytest.raises(NotRecordedError, match="x-t"):
        traffic.includes("GET", "/bb", unknown, is_sampled)


def test_a_hundred_conditions_are_one_expression() -> None:
    """The longest allowed list compiles, and its last entry matches."""
    routes = [f"/{'{a}x' * 120}/{number}" for number in range(100)]
    traffic = selecting(routes, routes[:50])
    assert [False, True] == [
        traffic.includes("GET", f"/{'ax' * 120}/{number}", partial(header_value, ()), is_sampled) for number in (49, 99)
    ]
