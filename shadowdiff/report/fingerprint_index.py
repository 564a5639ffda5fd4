"""An in-memory index of the constant data of a target's fingerprints: routes, kinds and places.

The index has about as many entries as the store has fingerprints (`limits.fingerprints`). It reads a few hundred
fingerprints at a time, so it blocks neither the store nor the event loop.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import OTHER
from shadowdiff.model.store_reader import Card, Fields, Top
from shadowdiff.report.fingerprint import PLACE_CHARS, Described, key_of
from shadowdiff.store import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowdiff.model.store_reader import StoreReader

    OnPath = Callable[[str], bool]

AT_ONCE: Final = 500
_LATE_MS: Final = 60_000
"""How far the clocks of processes, and the order of their writes, may differ."""
_FEW: Final = 500
"""If more names than this are missing in the store, the index is rebuilt."""
_INDEX: Final = re.compile(r"\[\d+\]")
_LINE: Final = re.compile(r"text\[\d+\]")


class FingerprintIndex:
    """The fingerprints of one target at the last refresh."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._refreshing = asyncio.Lock()
        self._clear()

    async def refresh(self, reader: StoreReader) -> None:
        """Read new fingerprints, or all if many were deleted. Raises: redis.exceptions.RedisError."""
        async with self._refreshing:
            stored = sum(int(found[0]) for found in await reader.read([Card(key_of("first", self._target))]))
            if len(self.known) > 2 * stored + _FEW:
                self._clear()
            await self._read_new(reader)

    async def _read_new(self, reader: StoreReader) -> None:
        """Read the fingerprints that were first seen since the last refresh, newest first, page by page."""
        first, newest = key_of("first", self._target), self._first_ms
        most, n = None, AT_ONCE
        while True:
            tops = [found[0] for found in await reader.read([Top(first, n, self._first_ms, most)])]
            newest = max([newest or 0, *(int(top[0][1]) for top in tops if top)])
            names = [name for name in ranked_names(tops) if name not in self.known]
            for at in range(0, len(names), AT_ONCE):
                await self._describe(reader, names[at : at + AT_ONCE])
            full = [int(top[-1][1]) for top in tops if len(top) >= n]
            if not full:
                break
            # if one second has more fingerprints than a page, a page of the same size would never reach the end
            most, n = max(full), AT_ONCE if max(full) != most else 4 * n
        self._first_ms = newest and newest - _LATE_MS

    async def _describe(self, reader: StoreReader, names: Sequence[str]) -> None:
        columns = [found[0] for found in await reader.read([Fields(key_of("what", self._target), names)])]
        for name, *values in zip(names, *columns, strict=True):
            value = next((value for value in values if value is not None), None)
            if value is not None:
                with reading(f"a fingerprint of {self._target}"):
                    described = msgspec.msgpack.decode(value, type=Described)
                self._add(name, described)
        await asyncio.sleep(0)  # let other tasks run

    def chosen(self, route: str | None, kind: str | None, on_path: OnPath | None, glance: str = "") -> set[str]:
        """Return the names that match route, kind and path. glance: lower-case text that a place contains."""
        sets = [self._of_route.get(route, set[str]())] if route else []
        sets += [self._of_kind.get(kind, set[str]())] if kind else []
        if on_path is None and not glance:
            return set[str].intersection(*sets) if sets else set(self.known)
        names = self._glanced_at(glance).intersection(*sets)
        if on_path is None:
            return set(names)
        described = [(name, what) for name in names if (what := self.known.get(name))]
        return {
            name
            for name, what in described
            if any((not kind or one.kind == kind) and on_path(one.path) for one in what.places)
        }

    def ruled_out(self, route: str | None, kind: str | None, on_path: OnPath | None, glance: str = "") -> set[str]:
        """Return the names that cannot match; a fingerprint with unlisted places can always match."""
        unlisted = self._unlisted & self._of_route.get(route, set[str]()) if route else self._unlisted
        chosen = self.chosen(route, kind, None, glance)
        if on_path is not None and len(chosen) <= _FEW:
            chosen = self.chosen(route, kind, on_path, glance)
        return set(self.known) - chosen - unlisted

    def _glanced_at(self, glance: str) -> frozenset[str]:
        """Return the names with a place that contains `glance`, so that only these need the full check."""
        query = (glance, len(self.known))
        if self._glanced[0] != query:
            texts = list(self._texts.items())
            self._glanced = (query, frozenset([name for name, text in texts if glance in text]))
        return self._glanced[1]

    def _add(self, name: str, what: Described) -> None:
        self.known[name] = what
        self._texts[name] = "\n".join([place.path for place in what.places]).lower()
        self._of_route.setdefault(what.route, set()).add(name)
        for kind in {place.kind for place in what.places}:
            self._of_kind.setdefault(kind, set()).add(name)
        if what.more or any(len(place.path) >= PLACE_CHARS for place in what.places):
            self._unlisted.add(name)

    def _clear(self) -> None:
        self.known: dict[str, Described] = {}
        self._of_route: dict[str, set[str]] = {}
        self._of_kind: dict[str, set[str]] = {}
        self._unlisted: set[str] = set()
        self._texts: dict[str, str] = {}
        self._glanced: tuple[tuple[str, int], frozenset[str]] = (("", -1), frozenset())
        self._first_ms: int | None = None


def ranked_names(tops: Sequence[Sequence[tuple[str, float]]]) -> list[str]:
    """Return every name in the rankings once, without the overflow."""
    found = dict.fromkeys(name for top in tops for name, _ in top)
    found.pop(OTHER, None)
    return list(found)


def without_indexes(path: str) -> str:
    """Return a path in the form of fingerprints, where all elements of an array are one place, or of all lines."""
    if _LINE.fullmatch(path):
        return "text"
    return _INDEX.sub("[*]", path)
