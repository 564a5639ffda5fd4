"""The epochs that opened, as the pages mark them on a line of time.

In: what `lua/open.lua` notes of each opening.  Out: the newest of them, in order of time.
Holds: bounded in number by the script; what cannot be read is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shadowdiff.verdict.epoch import OpenedBy

if TYPE_CHECKING:
    from shadowdiff.model.reader import StoreReader

_MOST = 100


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch that opened: when (Unix milliseconds), why, and under which revision."""

    at_ms: int
    id: int
    by: OpenedBy
    revision: str | None


def openings_key(target: str) -> str:
    """Return the key of the list of openings."""
    return f"epochs:{target}"


async def read_openings(reader: StoreReader, target: str) -> list[Opened]:
    """Return the newest openings, the oldest of them first."""
    found = (_read(value) for value in await reader.newest(openings_key(target), _MOST))
    return sorted((one for one in found if one), key=lambda one: one.at_ms)


def _read(value: bytes) -> Opened | None:
    at_ms, _, rest = value.decode("utf-8", "replace").partition(" ")
    number, _, rest = rest.partition(" ")
    by, _, revision = rest.partition(" ")
    try:
        return Opened(at_ms=int(at_ms), id=int(number), by=OpenedBy(by), revision=revision or None)
    except ValueError:
        return None
