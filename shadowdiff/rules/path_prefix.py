"""Replace the beginning of a path, for requests to v2 and for the URLs in v2's responses."""

from __future__ import annotations

from typing import Final

_ENDS: Final = frozenset({"", "/", "?", "#"})


def move_prefix(path: str, before: str, after: str) -> str | None:
    """Return a path, which may have a query, with the prefix `after` in place of `before`; None if it has another one.

    A prefix covers whole segments, and does not end with a slash; an empty prefix covers every path.
    """
    rest = path[len(before) :]
    if not path.startswith(before) or not path.startswith("/") or rest[:1] not in _ENDS:
        return None
    moved = after + rest
    return moved if moved.startswith("/") else f"/{moved}"
