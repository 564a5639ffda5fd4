"""Let all processes name routes alike: what each named and found is kept in the store, off the hot path.

In: the routers of this process.  Out: the same routers, with what the others know in them.
Holds: bounded per target in names (`limits.routes`, over all processes) and places. A name stays for as long as it is
given, and three weeks after; a place of values is settled by the first process that found it. While the store is
away each process names by what it knows; a process that starts learns the names within seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final, cast

from redis.exceptions import RedisError

from shadowdiff.rules import Place
from shadowdiff.store import Script, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shadowdiff.rules import Router
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
IN_USE_EVERY_S: Final = 600.0
"""How often all names in use are told, so that they do not grow old."""
LIFE_S: Final = 21 * 86_400
MOST_PLACES: Final = 256
_SCRIPT = Script.from_package("shadowdiff.service.lua", "routes.lua")


class RouteNames:
    """What all processes together know of each target's routes."""

    def __init__(self, store: Store, routers: Callable[[], Mapping[str, Router]], most: int) -> None:
        self._store = store
        self._routers = routers
        self._most = most
        self._known: dict[str, tuple[list[str], list[Place]]] = {}
        self._unsaid: dict[str, tuple[dict[str, None], list[Place]]] = {}
        self._in_use_at_s = 0.0

    async def run(self) -> None:
        """Share what is new every few seconds."""
        while True:
            try:
                await self.share()
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("names of routes wait for the store", extra={"error": repr(error)})
            await asyncio.sleep(EVERY_S)

    async def share(self) -> None:
        """Tell what this process named and found since, and take what is known. Raises: RedisError."""
        routers = dict(self._routers())
        all_in_use = time.monotonic() - self._in_use_at_s >= IN_USE_EVERY_S
        for target, router in routers.items():
            names, places = self._unsaid.pop(target, ({}, []))
            names |= dict.fromkeys([*router.take_fresh(), *(router.given() if all_in_use else ())])
            places += router.take_found()
            try:
                self._known[target] = await self._tell(target, router, names, places)
            except BaseException:
                self._unsaid[target] = names, places
                raise
            router.adopt(*self._known[target])
            await self._free(target, router)
        if all_in_use:
            self._in_use_at_s = time.monotonic()

    def furnish(self, routers: Mapping[str, Router]) -> None:
        """Put what is known into routers that are new."""
        for target, router in routers.items():
            if target in self._known:
                router.adopt(*self._known[target])

    async def _free(self, target: str, router: Router) -> None:
        """Give back the room of names that a place of values used up before it was found."""
        moved = [name for name in self._known[target][0] if router.named_now(name) != name]
        if moved:
            await self._store.command("ZREM", self._store.keys.name(0, _names(target)), *map(_sent, moved))

    async def _tell(
        self, target: str, router: Router, names: Iterable[str], places: Iterable[Place]
    ) -> tuple[list[str], list[Place]]:
        said = [name for name in names if router.named_now(name) == name]
        pairs = [word for place in places for word in (place.before, json.dumps(place.words))]
        keys = [_names(target), f"places:{target}"]
        args = [self._most, MOST_PLACES, LIFE_S, len(said), *said, *pairs]
        answer: Any = await self._store.run(_SCRIPT, 0, keys, [_sent(arg) for arg in args])
        found = cast("tuple[list[bytes], list[bytes]]", answer)
        with reading(f"the routes of {target}"):
            return [_read(name) for name in found[0]], [
                Place(_read(before), _words(words)) for before, words in zip(found[1][::2], found[1][1::2], strict=True)
            ]


def _words(written: bytes) -> tuple[str, ...]:
    found: Any = json.loads(written)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in cast("list[object]", found)):
        raise ValueError("the words of a place are texts")
    return tuple(cast("list[str]", found))


def _names(target: str) -> str:
    return f"routes:{target}"


def _sent(arg: str | int) -> bytes:
    """Return a name as UTF-8 can hold it; a path may bring a lone surrogate."""
    return str(arg).encode("utf-8", "surrogatepass")


def _read(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")
