"""Processes that share a store name routes the same way, within one limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from shadowdiff.rules import Router
from shadowdiff.worker.route_names import RouteNames

if TYPE_CHECKING:
    from shadowdiff.store import Store

MOST = 6


class Process:
    """One process: a router of one target, and its shared names."""

    def __init__(self, store: Store, most: int = MOST) -> None:
        self.router = Router(max_names=most)
        self.names = RouteNames(store, lambda: {"shop": self.router}, most)

    def route(self, *paths: str) -> list[str]:
        """Return the routes of some paths."""
        return [self.router.route("GET", path) for path in paths]


def people() -> list[str]:
    """Return many names without digits."""
    return [f"/users/{first}{last}" for first in "abcdefgh" for last in "stuvwxyz"]


async def test_all_processes_share_one_limit(store: Store) -> None:
    """Earlier names stay, and each process uses the names of the others."""
    one, other = Process(store), Process(store)
    one.route("/a", "/b", "/c", "/d")
    other.route("/e", "/f", "/g")
    await one.names.share()
    await other.names.share()
    await one.names.share()
    assert sorted(one.router.names_in_use()) == sorted(other.router.names_in_use())
    assert len(one.router.names_in_use()) == MOST
    assert one.route("/e", "/g", "/z") == other.route("/e", "/g", "/z") == ["GET /e", "_other", "_other"]


async def test_a_new_process_uses_the_names_of_earlier_ones(store: Store) -> None:
    """Learned names outlive every process."""
    before = Process(store)
    for path in people():
        before.route(path, "/users/me")
    await before.names.share()
    restarted = Process(store)
    await restarted.names.share()
    assert restarted.route("/users/somebody", "/users/me") == ["GET /users/{name}", "GET /users/me"]


async def test_two_processes_that_find_a_parameter_at_once_agree(store: Store) -> None:
    """The parameter that was stored first is used."""
    one, other = Process(store), Process(store)
    for path in people():
        one.route(path, "/users/me")
        other.route(path, "/users/self")
    await other.names.share()
    await one.names.share()
    assert one.route("/users/me", "/users/self") == other.route("/users/me", "/users/self")
    assert one.route("/users/self") == ["GET /users/self"]


async def test_names_of_a_parameter_are_removed_from_the_store(store: Store) -> None:
    """The names of users from before the parameter was found are removed to make room."""
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
    """After a reload, new routers have the names of the old ones."""
    process = Process(store)
    process.route("/a", "/b")
    await process.names.share()
    process.router = Router(max_names=MOST)
    process.names.furnish({"shop": process.router})
    assert process.router.names_in_use() == ["GET /a", "GET /b"]


async def test_names_are_stored_later_if_the_store_is_unavailable(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name is lost."""
    process = Process(store)
    process.route("/a")
    with monkeypatch.context() as away:
        away.setattr(store, "run", _refuse)
        with pytest.raises(RedisError):
            await process.names.share()
    await process.names.share()
    other = Process(store)
    await other.names.share()
    assert other.router.names_in_use() == ["GET /a"]


async def _refuse(*_args: object) -> None:
    raise RedisError("away")
