"""Processes that share a store name places the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from shadowdiff.model import Side
from shadowdiff.rules.place_names import MAX_LINES
from shadowdiff.worker.place_names import SharedPlaceNames
from tests.fakes.traffic import difference, mismatch, observation, pair

if TYPE_CHECKING:
    from shadowdiff.store import Store

PEOPLE = [f"{first}{last}" for first in "abcdefghij" for last in "klmnopqrst"]


class Process:
    """One process with the places of one target, and the runs that it started."""

    def __init__(self, store: Store, changes_every_s: int = 0, wait_s: int = 0) -> None:
        self.started: list[str] = []
        self.names = SharedPlaceNames(
            store, lambda: ["shop"], self._start, changes_every_s=changes_every_s, wait_s=wait_s
        )

    async def _start(self, target: str) -> None:
        self.started.append(target)

    def places(self, *paths: str, route: str = "GET /") -> list[str]:
        """Return the places of a pair that differs at these paths."""
        one = pair(observation(Side.PRIMARY), observation(Side.CANDIDATE), number=1, route=route)
        return [each.pattern for each in self.names.renamed(one, mismatch(*map(difference, paths))).differences]

    def people(self, under: str = "users") -> None:
        """Compare pairs that differ at a new key each."""
        for name in PEOPLE:
            self.places(f"$['{under}']['{name}']['at']")


async def test_an_open_container_is_used_by_all_processes_and_starts_one_run(store: Store) -> None:
    """A process that starts later uses it, too."""
    one, other = Process(store), Process(store)
    one.people()
    await one.names.share()
    await other.names.share()
    later = Process(store)
    await later.names.share()
    for process in (one, other, later):
        assert process.places("$['users']['zoe']['at']") == ["$['users'][{name}]['at']"]
    assert [one.started, other.started, later.started] == [["shop"], [], []]


async def test_containers_change_at_most_once_per_hour(store: Store) -> None:
    """Further containers wait, and the list only grows."""
    process = Process(store, changes_every_s=3600)
    process.people()
    await process.names.share()
    process.people("carts")
    await process.names.share()
    await process.names.share()
    assert process.started == ["shop"]
    assert process.places("$['users']['zoe']", "$['carts']['zoe']") == ["$['users'][{name}]", "$['carts']['zoe']"]


async def test_a_new_container_waits_for_others(store: Store) -> None:
    """Containers that are found at almost the same time start one run."""
    process = Process(store, wait_s=600)
    process.people()
    await process.names.share()
    assert process.started == []
    assert process.places("$['users']['zoe']") == ["$['users']['zoe']"]


async def test_all_processes_share_the_lines_of_a_route(store: Store) -> None:
    """The lines that were stored first stay, and other lines are coarse in every process."""
    one, other = Process(store), Process(store)
    theirs = [f"text[{name}]" for name in PEOPLE[:MAX_LINES]]
    one.places(*theirs)
    other.places(*(f"text[other {name}]" for name in PEOPLE[:MAX_LINES]))
    await one.names.share()
    await other.names.share()
    await one.names.share()
    for process in (one, other):
        assert process.places(*theirs) == theirs
        assert process.places("text[other ak]") == ["text[*]"]
        assert process.places("text[other ak]", route="GET /b") == ["text[other ak]"]


async def test_names_are_stored_later_if_the_store_is_unavailable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing learned is lost."""
    process = Process(store)
    process.people()
    process.places("text[a]")
    with monkeypatch.context() as away:
        away.setattr(store, "run", _refuse)
        with pytest.raises(RedisError):
            await process.names.share()
    await process.names.share()
    other = Process(store)
    await other.names.share()
    assert other.places("$['users']['zoe']") == ["$['users'][{name}]"]
    assert [one.place for one in other.names.of("shop").lines_in_use()] == ["text[a]"]


async def _refuse(*_args: object) -> None:
    raise RedisError("away")
