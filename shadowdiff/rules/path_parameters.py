"""Find the positions of paths that are parameters, such as the user's name in `/users/anna/orders`.

A position becomes a parameter when it has more words than its limit; only names of operations (`me`, `search`) stay
words there. The limit depends on the path before the position, so the order of paths does not matter. Where a segment
usually names a part of the API (after `/` or `/api/v1`), the limit is higher, words that occur often also stay, and the
order matters for these words only. Memory is limited.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.rules.path_segments import LIST, NAME, PLACEHOLDERS, inner_name, outer_name, split_extension

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_SEGMENTS: Final = 12
MAX_COLLECTION_WORDS: Final = 32
"""The limit of words after a plural, such as `/users`."""
MAX_WORDS: Final = 48
MAX_CHILD_WORDS: Final = 64
"""The limit of words after a value: most are parts of one object, such as `/users/{id}/orders`."""
MAX_OPERATION_WORDS: Final = 96
"""The limit of words where segments name parts of an API, if at least half of the words are rare."""
MAX_FREQUENT_WORDS: Final = 256
"""The limit of words at such a position, even if all words are frequent."""
OFTEN: Final = 3
"""Number of times that a word must occur to be frequent."""
KEPT_WORDS: Final = 128
MAX_POSITIONS: Final = 1024
"""Maximum number of positions that are tracked. Other positions are named only by shape."""
MAX_CACHED: Final = 4096
MAX_CACHED_CHARS: Final = 512

OPERATIONS: Final = frozenset({
    "actions", "active", "activate", "add", "admin", "all", "archive", "archived", "available", "batch", "bulk",
    "cancel", "categories", "changes", "check", "clear", "compare", "complete", "confirm", "copy", "count",
    "create", "current", "deactivate", "default", "delete", "details", "disable", "download", "draft", "drafts",
    "edit", "enable", "events", "exists", "export", "favorites", "featured", "feed", "filter", "find", "health",
    "help", "history", "import", "index", "info", "latest", "list", "login", "logout", "lookup", "me", "meta",
    "metadata", "metrics", "mine", "move", "new", "newest", "next", "password", "ping", "popular", "preview",
    "previous", "private", "public", "publish", "query", "random", "recent", "refresh", "register", "remove",
    "reorder", "reset", "restore", "root", "rss", "schema", "search", "self", "settings", "signin", "signup",
    "stats", "status", "suggest", "suggestions", "summary", "sync", "tags", "top", "total", "trending", "update",
    "upload", "validate", "verify", "version", "versions",
})  # fmt: skip
"""Words that are names of operations or views at any position, and no values."""
_PARTS: Final = frozenset({
    "", "api", "apis", "rest", "rpc", "services", "service", "v", "odata", "twirp", "wp-json", "internal", "public",
})  # fmt: skip
_VERSION: Final = re.compile(r"v?[0-9]+(?:\.[0-9]+)*(?:alpha|beta|rc)?[0-9]*|\{id\}|latest")
_SPECIFIC: Final = frozenset({"{id}", "{date}"})
"""Placeholders that stay where names are values, because numbers and names often are separate endpoints."""


class PathParameter(msgspec.Struct, frozen=True):
    """A position that is a parameter, with the path before it and the words that stay words at this position."""

    before: str
    words: tuple[str, ...] = ()


class PathParameters:
    """The words at each position of a path, and the positions that are parameters.

    hide: removes secrets from a path after its other values are named and before its words are stored.
    """

    def __init__(self, hide: Callable[[str], str] = str) -> None:
        self._hide = hide
        self._words: dict[str, dict[str, int]] = {}
        self._values: dict[str, frozenset[str]] = {}
        self._cached_inner = lru_cache(MAX_CACHED)(self._inner)
        self._taken: frozenset[PathParameter] = frozenset()
        self.found: list[PathParameter] = []

    def name(self, segments: Sequence[str]) -> tuple[str, bool]:
        """Return the path with named parameters, and whether all its words are known well enough to remember it."""
        before, often = "", True
        for segment in self._shaped(segments[1:]):
            if segment and segment not in PLACEHOLDERS:
                often &= self._count(before, segment)
            before = f"{before}/{self._named(before, segment)}"
        return f"{segments[0]}{before}" or "/", often

    def shaped(self, segments: Sequence[str]) -> str:
        """Return the path with only those names that do not depend on other paths."""
        return "/".join([segments[0], *self._shaped(segments[1:])]) or "/"

    def current_name(self, path: str) -> str:
        """Return the current name for an earlier name, without counting its words."""
        head, *rest = path.split("/")
        return head + self._current(rest)

    def take(self, places: Iterable[PathParameter]) -> bool:
        """Add path parameters that other processes found. Return whether any route name changes."""
        taken = frozenset(places)
        if taken == self._taken:
            return False
        self._taken = taken
        changed = False
        for place in sorted(taken, key=lambda one: (one.before.count("/"), one.before)):
            before, words = self.current_name(place.before), frozenset(place.words)
            known = self._values.get(before)
            if known == words or (known is None and len(self._values) >= MAX_POSITIONS):
                continue
            if known is None or before == place.before:
                changed = True
                self._settle(before, words)
            if known is None and before != place.before:  # found before a position above it became a parameter
                self.found.append(PathParameter(before, place.words))
        return changed

    def _shaped(self, segments: Sequence[str]) -> list[str]:
        """Return segments with the names of their values, and without secrets."""
        outer = "/".join(["", *map(outer_name, segments[:MAX_SEGMENTS])])
        if len(segments) > MAX_SEGMENTS:
            outer += "/{rest}"
        return self._cached_inner(outer) if len(outer) <= MAX_CACHED_CHARS else self._inner(outer)

    def _inner(self, outer: str) -> list[str]:
        return [inner_name(segment) for segment in self._hide(outer).split("/")[1:]]

    def _current(self, segments: Sequence[str]) -> str:
        before = ""
        for segment in self._shaped(segments):
            before = f"{before}/{self._named(before, segment)}"
        return before

    def _named(self, before: str, segment: str) -> str:
        words = self._values.get(before)
        if words is None or not segment or segment in _SPECIFIC or segment in words:
            return segment
        stem, extension = split_extension(segment)
        if stem in words or stem in OPERATIONS or stem in _SPECIFIC or segment == "{rest}":
            return segment
        return NAME + extension

    def _count(self, before: str, segment: str) -> bool:
        """Count a word at its position. Return whether another occurrence cannot change anything."""
        if before in self._values:
            return True
        words = self._words.get(before)
        if words is None:
            if max(len(self._words), len(self._values)) >= MAX_POSITIONS:
                return True
            words = self._words[before] = {}
        word = split_extension(segment)[0]
        times = words[word] = min(OFTEN, words.get(word, 0) + 1)
        if times == 1:
            self._decide(before, words)
        return times >= OFTEN or not _names_parts(before)

    def _decide(self, before: str, words: dict[str, int]) -> None:
        """Make a position a parameter if it has too many words."""
        if len(words) <= MAX_COLLECTION_WORDS:
            return
        if _names_parts(before):
            kept = [word for word, times in words.items() if times >= OFTEN]
            has_values = len(words) > MAX_OPERATION_WORDS and 2 * len(kept) <= len(words)
            has_values |= len(words) > MAX_FREQUENT_WORDS
        else:
            kept = sorted(OPERATIONS.intersection(words))
            has_values = len(words) - len(kept) > _most_words(before)
        if has_values:
            place = PathParameter(before, tuple(sorted(kept[:KEPT_WORDS])))
            self.found.append(place)
            self._settle(before, frozenset(place.words))

    def _settle(self, before: str, words: frozenset[str]) -> None:
        """Make a position a parameter, and merge the positions below it that now have the same path."""
        self._values[before] = words
        self._words.pop(before, None)
        below = f"{before}/"
        for known in [one for one in self._values if one.startswith(below)]:
            current = self._moved(known)
            if current != known:
                kept = self._values.pop(known)
                if current not in self._values:
                    self.found.append(PathParameter(current, tuple(sorted(kept))))
                    self._values[current] = kept
                self._words.pop(current, None)
        for known in [one for one in self._words if one.startswith(below)]:
            if known in self._words:  # otherwise a decision below has merged it
                self._merge(known, self._moved(known))

    def _merge(self, known: str, current: str) -> None:
        """Add the words of a position to the position that has its path now."""
        if current == known:
            return
        counts = self._words.pop(known)
        if current in self._values:
            return
        into = self._words.setdefault(current, {})
        for word, times in counts.items():
            into[word] = min(OFTEN, into.get(word, 0) + times)
        self._decide(current, into)

    def _moved(self, position: str) -> str:
        before = ""
        for segment in position.split("/")[1:]:
            before = f"{before}/{self._named(before, segment)}"
        return before


def _names_parts(before: str) -> bool:
    """Return whether segments after this path name parts of an API, such as `/api/v1` or `/shop.Catalog`."""
    *above, last = before.split("/")
    if "." in last and last not in PLACEHOLDERS and not _VERSION.fullmatch(last):
        return not above or above == [""]  # a service of gRPC
    return all(one in _PARTS or _VERSION.fullmatch(one) for one in (*above, last))


def _most_words(before: str) -> int:
    last = before.rpartition("/")[2]
    if last.startswith("{"):
        return MAX_CHILD_WORDS
    is_plural = last.endswith("s") and not last.endswith(("ss", "us", "is"))
    return MAX_COLLECTION_WORDS if is_plural or last == LIST else MAX_WORDS
