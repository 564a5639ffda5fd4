"""One mirrored request, as it waits to be put to v2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shadowdiff.intake.headers import RawHeaders


@dataclass(slots=True)
class Mirrored:
    """A request that was read whole and acknowledged.

    path: the request target as on the wire, query included, always starting with `/`.
    host: as the user sent it, without the mesh's `-shadow`.
    held_bytes: what it takes in memory, head and body.
    waits_until_s: on the loop's clock; set when the request has to queue.
    """

    id: str
    id_source: str
    method: str
    path: str
    host: str
    headers: RawHeaders
    body: bytes
    held_bytes: int
    waits_until_s: float = 0.0
