"""Processes that share a store name routes alike, within one bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from shadowdiff.rules import Router
from shadowdiff.service.route_names import RouteNames

if TYPE_CHECKING:
    from shadowdiff.store import Store

MOST = 6


class Process:
    """One process: a router of one target, and what shares its names."""

    def __init__(self, store: Store, most: int = MOST) -> None:
        self.router = Router(most=most)
        self.names = RouteNames(store, lambda: {"shop": self.router}, most)

    def route(self, *paths: str) -> list[str]:
        """Return the routes of some paths."""
        return [self.router.route("GET", path) for path in paths]


def people() -> list[str]:
    """Return many names without digits."""
    return [f"/users/{first}{last}" for first in "abcdefgh" for last in "stuvwxyz"]


async def test_one_bound_holds_for_all(store: Store) -> None:
    """Names given first stand; what one process gave, the other knows."""
    one, other = Process(store), Process(store)
    one.route("/a", "/b", "/c", "/d")
    other.route("/e", "/f", "/g")
    await one.names.share()
    await other.names.share()
    await one.names.share()
    assert sorted(one.router.given()) == sorted(other.router.given())
    assert len(one.router.given()) == MOST
    assert one.route("/e", "/g", "/z") == other.route("/e", "/g", "/z") == ["GET /e", "_other", "_other"]


async def test_a_process_that_starts_anew_names_as_those_before(store: Store) -> None:
    """What was found out survives every process."""
    before = Process(store)
    for path in people():
        before.route(path, "/users/me")
    await before.names.share()
    anew = Process(store)
    await anew.names.share()
    assert anew.route("/users/somebody", "/users/me") == ["GET /users/{name}", "GET /users/me"]


async def test_two_that_find_a_place_at_once_agree(store: Store) -> None:
    """The first to say so decides."""
    one, other = Process(store), Process(store)
    for path in people():
        one.route(path, "/users/me")
        other.route(path, "/users/self")
    await other.names.share()
    await one.names.share()
    assert one.route("/users/me", "/users/self") == other.route("/users/me", "/users/self")
    assert one.route("/users/self") == ["GET /users/self"]


async def test_names_that_a_place_used_up_leave_the_store_room(store: Store) -> None:
    """Users' names told before the place was found give way."""
    process = Process(store, most=20)
    process.route(*people()[:20])
    await process.names.share()
    process.route(*people())
    await process.names.share()
    others = [f"/carts/{letter}" for letter in "abcdefghijklmnopqrs"]
    assert "_other" not in process.route(*others)
    await process.names.share()
    assert "_other" not in process.route(*others, "/users/nobody")


async def test_a_new_configuration_keeps_the_names(store: Store) -> None:
    """Routers made by a reload know at once what the old ones knew."""
    process = Process(store)
    process.route("/a", "/b")
    await process.names.share()
    process.router = Router(most=MOST)
    process.names.furnish({"shop": process.router})
    assert process.router.given() == ["GET /a", "GET /b"]


async def test_what_could_not_be_said_is_said_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is away costs no name."""
    process = Process(store)
    process.route("/a")
    with monkeypatch.context() as away:
        away.setattr(store, "run", _refuse)
        with pytest.raises(RedisError):
            await process.names.share()
    await process.names.share()
    other = Process(store)
    await other.names.share()
    assert other.router.given() == ["GET /a"]


async def _refuse(*_args: object) -> None:
    raise RedisError("away")
