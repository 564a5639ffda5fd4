"""Take only a share of the requests while there is more to do than this process can, drawn by id.

In: how full what bounds a target's work is.  Out: whether a request of this id is still taken.
Holds: pure but for that reading. Both halves of a request are drawn alike, at either port and in every process, and
who is drawn for a small share is drawn for every larger one: so whole pairs are left, where bounds that turn away
whatever comes next would leave halves. Another hash than that of `sample`, which is drawn from the rest.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BEGINS_AT: Final = 0.5
"""As full as a burst makes it, all is taken."""
ENDS_AT: Final = 0.9
"""As full nothing is taken any more; the bound itself is for what is on its way by then."""
_SPAN: Final = 1 << 32


def share_at(fill: float) -> float:
    """Return the share of the requests that is taken where the bound is so full."""
    return min(1.0, max(0.0, (ENDS_AT - fill) / (ENDS_AT - BEGINS_AT)))


def place_of(request_id: str) -> float:
    """Return where in [0, 1) an id lies; one below the share is taken."""
    return zlib.crc32(request_id.lower().encode("utf-8", "surrogatepass")) / _SPAN


class Thinning:
    """`fill` says how full the fullest bound on a target's way is: 0 empty, 1 full."""

    __slots__ = ("_fill",)

    def __init__(self, fill: Callable[[str], float] = lambda _target: 0.0) -> None:
        self._fill = fill

    def takes(self, target: str, request_id: str) -> bool:
        """Return whether a request of this target and id is taken now."""
        fill = self._fill(target)
        return fill <= BEGINS_AT or place_of(request_id) < share_at(fill)
