"""Exchange route names between processes through the store, so that all processes use the same names.

The number of names (`limits.routes`) and variable segments per target is limited across all processes. A route name
expires three weeks after its last use. The first process that detects a variable segment sets it for all processes.
While the store is unavailable, each process uses the route names that it already has.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final, cast

from shadowdiff.rules import PathParameter
from shadowdiff.store import STORE_ERRORS, Script, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shadowdiff.rules import Router
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
IN_USE_EVERY_S: Final = 600.0
"""How often names in use are written again, so that they do not expire."""
LIFE_S: Final = 21 * 86_400
MOST_PLACES: Final = 256
_SHARE_ROUTES = Script.from_package("shadowdiff.worker.lua", "share_routes.lua")


class RouteNames:
    """The route names and variable segments of each target, across all processes."""

    def __init__(self, store: Store, routers: Callable[[], Mapping[str, Router]], most: int) -> None:
        self._store = store
        self._routers = routers
        self._most = most
        self._known: dict[str, tuple[list[str], list[PathParameter]]] = {}
        self._unsent: dict[str, tuple[dict[str, None], list[PathParameter]]] = {}
        self._in_use_at_s = 0.0

    async def run(self) -> None:
        """Exchange new route names through the store every few seconds."""
        while True:
            try:
                await self.share()
            except STORE_ERRORS as error:
                log.debug("store unavailable; will retry exchanging route names", extra={"error": repr(error)})
            await asyncio.sleep(EVERY_S)

    async def share(self) -> None:
        """Write this process's new route names, and read the route names of all processes. Raises: RedisError."""
        routers = dict(self._routers())
        all_in_use = time.monotonic() - self._in_use_at_s >= IN_USE_EVERY_S
        for target, router in routers.items():
            names, places = self._unsent.pop(target, ({}, []))
            names |= dict.fromkeys([*router.take_new_names(), *(router.names_in_use() if all_in_use else ())])
            places += router.take_new_parameters()
            try:
                self._known[target] = await self._exchange(target, router, names, places)
            except BaseException:
                self._unsent[target] = names, places
                raise
            router.adopt(*self._known[target])
            await self._free(target, router)
        if all_in_use:
            self._in_use_at_s = time.monotonic()

    def furnish(self, routers: Mapping[str, Router]) -> None:
        """Add the known route names to new routers."""
        for target, router in routers.items():
            if target in self._known:
                router.adopt(*self._known[target])

    async def _free(self, target: str, router: Router) -> None:
        """Remove the route names that were used before a variable segment was detected."""
        moved = [name for name in self._known[target][0] if router.current_name(name) != name]
        if moved:
            await self._store.command("ZREM", self._store.keys.name(0, _names(target)), *map(_sent, moved))

    async def _exchange(
        self, target: str, router: Router, names: Iterable[str], places: Iterable[PathParameter]
    ) -> tuple[list[str], list[PathParameter]]:
        current = [name for name in names if router.current_name(name) == name]
        pairs = [word for place in places for word in (place.before, json.dumps(place.words))]
        keys = [_names(target), f"places:{target}"]
        args = [self._most, MOST_PLACES, LIFE_S, len(current), *current, *pairs]
        answer: Any = await self._store.run(_SHARE_ROUTES, 0, keys, [_sent(arg) for arg in args])
        found = cast("tuple[list[bytes], list[bytes]]", answer)
        with reading(f"the routes of {target}"):
            return [_read(name) for name in found[0]], [
                PathParameter(_read(before), _words(words))
                for before, words in zip(found[1][::2], found[1][1::2], strict=True)
            ]


def _words(written: bytes) -> tuple[str, ...]:
    found: Any = json.loads(written)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in cast("list[object]", found)):
        raise ValueError("the values of a variable segment must be strings")
    return tuple(cast("list[str]", found))


def _names(target: str) -> str:
    return f"routes:{target}"


def _sent(arg: str | int) -> bytes:
    """Return a name as UTF-8; a path may contain a lone surrogate."""
    return str(arg).encode("utf-8", "surrogatepass")


def _read(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")
