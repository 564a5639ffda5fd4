"""What never changes of a target's fingerprints, kept in each process: which a route, a kind or a place chooses.

In: a reader.  Out: names of fingerprints.
Holds: as many entries as the store has fingerprints (`limits.fingerprints`), give or take those it forgot; taken a few
hundred at a time, so that neither the store nor the event loop is kept from the pairs. One look at a time.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model.reader import Card, Fields, Top
from shadowdiff.report.fingerprint import PLACE_CHARS, Described, key_of
from shadowdiff.report.ranking import names_of
from shadowdiff.store import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from shadowdiff.model.reader import StoreReader

    OnPath = Callable[[str], bool]

AT_ONCE: Final = 500
_LATE_MS: Final = 60_000
"""Clocks of processes, and the order in which their writes arrive, may be so far apart."""
_FEW: Final = 500
"""So many may be gone from the store before all is taken anew."""
_INDEX: Final = re.compile(r"\[\d+\]")


class Catalogue:
    """The fingerprints of one target, as of the last look."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._looking = asyncio.Lock()
        self.known: dict[str, Described] = {}
        self._clear()

    async def look(self, reader: StoreReader) -> None:
        """Take what is new; take everything where much is gone. Raises: redis.exceptions.RedisError."""
        async with self._looking:
            stored = sum(int(found[0]) for found in await reader.read([Card(key_of("first", self._target))]))
            if len(self.known) > 2 * stored + _FEW:
                self._clear()
            await self._take_new(reader)

    async def _take_new(self, reader: StoreReader) -> None:
        """Take what was first seen since the last look, the newest first, page by page."""
        first, newest = key_of("first", self._target), self._first_ms
        most, n = None, AT_ONCE
        while True:
            tops = [found[0] for found in await reader.read([Top(first, n, self._first_ms, most)])]
            newest = max([newest or 0, *(int(top[0][1]) for top in tops if top)])
            names = [name for name in names_of(tops) if name not in self.known]
            for at in range(0, len(names), AT_ONCE):
                await self._describe(reader, names[at : at + AT_ONCE])
            full = [int(top[-1][1]) for top in tops if len(top) >= n]
            if not full:
                break
            # of a second in which more were first seen than fit, no page would ever reach the end
            most, n = max(full), AT_ONCE if max(full) != most else 4 * n
        self._first_ms = newest and newest - _LATE_MS

    async def _describe(self, reader: StoreReader, names: Sequence[str]) -> None:
        told = [found[0] for found in await reader.read([Fields(key_of("what", self._target), names)])]
        for name, *values in zip(names, *told, strict=True):
            value = next((value for value in values if value is not None), None)
            if value is not None:
                with reading(f"a fingerprint of {self._target}"):
                    described = msgspec.msgpack.decode(value, type=Described)
                self._add(name, described)
        await asyncio.sleep(0)  # whoever else waits for the loop comes first

    def chosen(self, route: str | None, kind: str | None, on_path: OnPath | None, glance: str = "") -> set[str]:
        """Return the names that route, kind and path choose; `glance`: what a place there has in lower case."""
        sets = [self._of_route.get(route, set[str]())] if route else []
        sets += [self._of_kind.get(kind, set[str]())] if kind else []
        if on_path is None and not glance:
            return set[str].intersection(*sets) if sets else set(self.known)
        names = self._glanced_at(glance).intersection(*sets)
        if on_path is None:
            return set(names)
        described = ((name, self.known.get(name)) for name in names)
        return {name for name, what in described if what is not None and _has_place(what, kind, on_path)}

    def ruled_out(
        self, route: str | None, kind: str | None, on_path: OnPath | None, glance: str = ""
    ) -> Container[str]:
        """Return the names none of whose mismatches can be chosen; of one with untold places any may be."""
        untold = self._untold & self._of_route.get(route, set[str]()) if route else self._untold
        chosen = self.chosen(route, kind, None, glance)
        if on_path is not None and len(chosen) <= _FEW:
            chosen = self.chosen(route, kind, on_path, glance)
        return _RuledOut(self.known, chosen | untold)

    def _glanced_at(self, glance: str) -> frozenset[str]:
        """Return the names with a place that contains this, which spares nearly all others the dearer look."""
        asked = (glance, len(self.known))
        if self._glanced[0] != asked:
            texts = list(self._texts.items())
            self._glanced = (asked, frozenset([name for name, text in texts if glance in text]))
        return self._glanced[1]

    def _add(self, name: str, what: Described) -> None:
        self.known[name] = what
        self._texts[name] = "\n".join([place.path for place in what.places]).lower()
        self._of_route.setdefault(what.route, set()).add(name)
        for kind in {place.kind for place in what.places}:
            self._of_kind.setdefault(kind, set()).add(name)
        if what.more or any(len(place.path) >= PLACE_CHARS for place in what.places):
            self._untold.add(name)

    def _clear(self) -> None:
        self.known = {}
        self._of_route: dict[str, set[str]] = {}
        self._of_kind: dict[str, set[str]] = {}
        self._untold: set[str] = set()
        self._texts: dict[str, str] = {}
        self._glanced: tuple[tuple[str, int], frozenset[str]] = (("", -1), frozenset())
        self._first_ms: int | None = None


class _RuledOut:
    """All that is known but for some; what is not known may be anything."""

    def __init__(self, known: dict[str, Described], some: set[str]) -> None:
        self._known = known
        self._some = some

    def __contains__(self, name: object) -> bool:
        return name in self._known and name not in self._some


def _has_place(what: Described, kind: str | None, on_path: OnPath) -> bool:
    return any((not kind or one.kind == kind) and on_path(one.path) for one in what.places)


def without_indexes(path: str) -> str:
    """Return a path as fingerprints have it: whichever element it names, all are one place."""
    return _INDEX.sub("[*]", path)
