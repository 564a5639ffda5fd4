"""Run the deferred work among writes immediately."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.model import Later

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shadowdiff.model import Write


def done(writes: Iterable[Write | Later]) -> Iterator[Write]:
    """Yield all writes, including the writes that deferred work returns."""
    for write in writes:
        if isinstance(write, Later):
            yield from write.writes(write.function(*write.arguments))
        else:
            yield write
