"""The names of routes do not depend on the order of paths, and each request has one current name."""

from __future__ import annotations

import random
import string
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowdiff.report import Redactor
from shadowdiff.rules import PathParameter, Router
from shadowdiff.rules.path_parameters import KEPT_WORDS, MAX_POSITIONS, MAX_SEGMENTS
from shadowdiff.rules.path_segments import inner_name, outer_name

FEW: Final = settings(max_examples=20)
"""Each example names thousands of paths."""
FIXTURES: Final = Path(__file__).parents[2] / "fixtures" / "routes"
SERVICES: Final = sorted(path.stem for path in FIXTURES.glob("*.txt"))
SEEDS: Final = st.integers(0, 2**32)
PIECES: Final = st.sampled_from([
    "42", "user", "-", "_", ".", ":", ",", ";", "=", "v1", "json", ".json", ".min.js", "2024-05", "(", ")", "('", "')",
    "@", "%40", "%2F", "{id}", "{name}", "a1b2c3d4", "550e8400-e29b-41d4-a716-446655440000", "sha256", "x" * 50, "~",
    "é", "9" * 50,
])  # fmt: skip


def table(service: str) -> dict[str, str]:
    """Return the paths of a service, with the expected template of each."""
    return dict(line.split() for line in (FIXTURES / f"{service}.txt").read_text().splitlines())


@cache
def traffic() -> tuple[str, ...]:
    """Return paths with many users, repositories, files and titles, below each other."""
    draw = random.Random(7)
    words = ["".join(draw.choices(string.ascii_lowercase, k=7)) for _ in range(300)]
    found = {path for service in ("github", "tables", "spring") for path in table(service)}
    for number, word in enumerate(words[:70]):
        found |= {f"/users/{word}", f"/users/{word}/orders", f"/users/{word}/orders/{number}.json", "/users/me"}
        for other in draw.sample(words, 2):
            found |= {
                f"/repos/{word}/{other}",
                f"/repos/{word}/{other}/issues",
                f"/repos/{word}/{other}/issues/{number}",
            }
            found |= {f"/wiki/{other}.html", f"/tags/{other}/{word}", f"/users/{word}/files/{other}.pdf"}
    found |= {f"/titles/{word}-{number}" for number, word in enumerate(words[:50])}
    return tuple(sorted(found))


def named(router: Router, paths: list[str]) -> list[str]:
    """Return the routes of some paths."""
    return [router.route("GET", path) for path in paths]


@pytest.mark.parametrize("service", SERVICES)
def test_paths_of_known_services_have_the_expected_templates(service: str) -> None:
    """The templates are those of the service's handlers, and are also the names of their own names."""
    expected = table(service)
    router = Router(max_names=200, hide=Redactor(b"k").route_path)
    named(router, list(expected))
    assert {path: f"GET {template}" for path, template in expected.items()} == dict(
        zip(expected, named(router, list(expected)), strict=True)
    )
    assert all(router.current_name(f"GET {name}") == f"GET {name}" for name in expected.values())


@FEW
@given(SEEDS)
def test_the_order_of_paths_does_not_matter(seed: int) -> None:
    """After all paths are known, each path has the same name in any order, however often it occurred before."""
    paths = list(traffic())
    draw = random.Random(seed)
    shuffled = draw.sample(paths, len(paths)) + draw.choices(paths, k=300)
    router, other = Router(), Router()
    named(router, sorted(paths))
    named(other, shuffled)
    assert named(router, paths) == named(other, paths)
    assert "GET /repos/{name}/{name}/issues/{id}" in named(other, paths)
    assert "GET /users/{name}/files/{name}.pdf" in named(other, paths)


@FEW
@given(SEEDS)
def test_each_request_keeps_one_current_name(seed: int) -> None:
    """The current names of all earlier names are a partition of the counts: nothing is doubled or lost."""
    paths = list(traffic())
    draw = random.Random(seed)
    requests = draw.choices(paths, k=2000)
    router = Router()
    counts = Counter(zip(named(router, requests), requests, strict=True))
    folded: Counter[str] = Counter()
    for (name, path), count in counts.items():
        assert router.current_name(name) == router.current_name(router.peek("GET", path))
        folded[router.current_name(name)] += count
    assert sum(folded.values()) == len(requests)
    assert all(router.current_name(name) == name for name in folded)


@FEW
@given(SEEDS, st.integers(2, 4))
def test_processes_that_see_different_requests_agree(seed: int, processes: int) -> None:
    """After they have exchanged what they found, and whichever of them found it first."""
    draw = random.Random(seed)
    routers = [Router() for _ in range(processes)]
    stored: dict[str, tuple[str, ...]] = {}
    names: dict[str, None] = {}
    paths = list(traffic())
    for _ in range(3):
        for router in draw.sample(routers, processes):
            named(router, draw.choices(paths, k=400))
            share(router, stored, names)
    for _ in range(2):
        for router in routers:
            share(router, stored, names)
    first, *rest = [[router.current_name(f"GET {path}") for path in paths] for router in routers]
    assert all(first == other for other in rest)


def share(router: Router, stored: dict[str, tuple[str, ...]], names: dict[str, None]) -> None:
    """Exchange names and parameters as through the store: the first words of a parameter stay."""
    for place in router.take_new_parameters():
        stored.setdefault(place.before, place.words)
    names |= dict.fromkeys(router.take_new_names())
    router.adopt(list(names), [PathParameter(before, words) for before, words in stored.items()])


@given(st.lists(PIECES, max_size=8).map("".join))
def test_the_name_of_a_name_is_the_name(segment: str) -> None:
    """So a reader can name what an earlier version stored. A name has a limited length."""
    once = inner_name(outer_name(segment.replace("/", "")))
    assert inner_name(outer_name(once)) == once
    assert len(once) <= 300


@FEW
@given(SEEDS)
def test_hostile_paths_use_bounded_memory(seed: int) -> None:
    """Random segments at every depth fill neither the positions nor the names."""
    draw = random.Random(seed)
    router = Router(max_names=200)
    alphabet = "ab/{}%.,;:=()'-_@~0123\\é"
    for _ in range(300):
        router.route("GET", "/" + "".join(draw.choices(alphabet, k=draw.randrange(1, 120))))
    inside = router._parameters  # pyright: ignore[reportPrivateUsage]
    assert max(len(inside._words), len(inside._values)) <= MAX_POSITIONS  # pyright: ignore[reportPrivateUsage]
    assert all(len(words) <= KEPT_WORDS for words in inside._values.values())  # pyright: ignore[reportPrivateUsage]
    assert len(router.names_in_use()) <= 200
    assert all(name.count("/") <= MAX_SEGMENTS + 1 for name in router.names_in_use())
