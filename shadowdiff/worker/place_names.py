"""Exchange the learned names of places between processes through the store, so that all processes use the same names.

Containers with open-ended keys are used by all processes from the same time on, at most once per hour, and the process
that finds that this time has come starts a new run. A place of a line expires a week after its last use. While the
store is unavailable, each process uses the names that it already has.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from shadowdiff.rules.place_names import MAX_LINES, LinePlace, OpenContainer, PlaceNames
from shadowdiff.store import STORE_ERRORS, Script, reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from shadowdiff.model import Comparison, Pair
    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
IN_USE_EVERY_S: Final = 600.0
"""How often lines in use are written again, so that they do not expire."""
LIFE_S: Final = 7 * 86_400
CHANGES_EVERY_S: Final = 3600
"""The shortest time between two changes of the containers, because each starts a new run."""
WAIT_S: Final = 30
"""How long a new container waits for others, so that they start one run."""
MOST_CONTAINERS: Final = 256
MOST_LINES: Final = 5000
_SHARE: Final = Script.from_package("shadowdiff.worker.lua", "share_places.lua")


class SharedPlaceNames:
    """The learned names of each target's places, across all processes.

    targets: the names of all targets. start_run: starts a new run of a target, because its places have other names.
    changes_every_s, wait_s: see the constants of the same names.
    """

    def __init__(
        self,
        store: Store,
        targets: Callable[[], Sequence[str]],
        start_run: Callable[[str], Awaitable[object]],
        *,
        changes_every_s: int = CHANGES_EVERY_S,
        wait_s: int = WAIT_S,
    ) -> None:
        self._store = store
        self._targets = targets
        self._start_run = start_run
        self._times = changes_every_s, wait_s
        self._names: dict[str, PlaceNames] = {}
        self._versions: dict[str, str] = {}
        self._due: set[str] = set()
        self._in_use_at_s = 0.0

    def of(self, target: str) -> PlaceNames:
        """Return the names of a target's places."""
        return self._names.setdefault(target, PlaceNames())

    def renamed(self, pair: Pair, comparison: Comparison) -> Comparison:
        """Return a comparison with the current names of its places; usually this is the same object."""
        found = comparison.differences
        if not found:
            return comparison
        counted, covered = ([one.pattern for one in found if (one.rule is None) is each] for each in (True, False))
        changed = self.of(pair.target).renamed(pair.route, counted, covered)
        if not changed:
            return comparison
        named = tuple(msgspec.structs.replace(one, pattern=changed.get(one.pattern, one.pattern)) for one in found)
        return msgspec.structs.replace(comparison, differences=named)

    async def run(self) -> None:
        """Exchange new names through the store every few seconds."""
        while True:
            try:
                await self.share()
            except STORE_ERRORS as error:
                log.debug("store unavailable; will retry exchanging places", extra={"error": repr(error)})
            await asyncio.sleep(EVERY_S)

    async def share(self) -> None:
        """Write what this process has learned, and read what all processes have learned. Raises: RedisError."""
        targets = list(self._targets())
        for gone in self._names.keys() - set(targets):
            del self._names[gone]
            self._versions.pop(gone, None)
            self._due.discard(gone)
        all_in_use = time.monotonic() - self._in_use_at_s >= IN_USE_EVERY_S
        for target in targets:
            await self._share(target, all_in_use=all_in_use)
        if all_in_use:
            self._in_use_at_s = time.monotonic()

    async def _share(self, target: str, *, all_in_use: bool) -> None:
        names = self.of(target)
        found, lines = names.found, names.lines
        names.found, names.lines = [], []
        sent = names.lines_in_use() if all_in_use else lines
        try:
            started, version, *lists = await self._exchange(target, found, sent, all_in_use=all_in_use)
        except BaseException:
            names.found, names.lines = [*found, *names.found], [*lines, *names.lines]
            raise
        if lists:
            names.adopt(*_read(target, *lists))
            self._versions[target] = version
        if started:
            self._due.add(target)
        if target in self._due:  # again, if the store was unavailable
            await self._start_run(target)
            self._due.discard(target)

    async def _exchange(
        self, target: str, found: Iterable[OpenContainer], lines: Iterable[LinePlace], *, all_in_use: bool
    ) -> tuple[int, str, list[bytes], list[bytes]] | tuple[int, str]:
        keys = [f"places:open:{target}", f"places:lines:{target}"]
        pairs = [text for one in found for text in (one.before, json.dumps(one.words))]
        known = self._versions.get(target, "")
        limits = (MOST_CONTAINERS, MAX_LINES, MOST_LINES, LIFE_S, *self._times)
        given = [f"{one.route}\n{one.place}" for one in lines]
        args = [known, *limits, int(all_in_use), len(pairs) // 2, *pairs, *given]
        answer: Any = await self._store.run(
            _SHARE, 0, keys, [str(arg).encode("utf-8", "surrogatepass") for arg in args]
        )
        return (int(answer[0]), answer[1].decode(), *answer[2:])


def _read(target: str, used: list[bytes], lines: list[bytes]) -> tuple[list[OpenContainer], dict[str, list[str]]]:
    of_route: defaultdict[str, list[str]] = defaultdict(list)
    with reading(f"the places of {target}"):
        for line in lines:
            route, _, place = line.decode("utf-8", "surrogatepass").partition("\n")
            of_route[route].append(place)
        containers = [
            OpenContainer(before.decode("utf-8", "surrogatepass"), _words(words))
            for before, words in zip(used[::2], used[1::2], strict=True)
        ]
    return containers, of_route


def _words(written: bytes) -> tuple[str, ...]:
    found: Any = json.loads(written)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in cast("list[object]", found)):
        raise ValueError("the names in an open container must be strings")
    return tuple(cast("list[str]", found))
