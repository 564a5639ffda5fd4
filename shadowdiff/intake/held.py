"""What the connections of one port hold together, so that many small ones are bounded as one large one is.

In: what each connection holds of requests that are not answered yet.  Out: whether that is too much; whether the port
closes.
Holds: one count for all connections of a port; who adds to it takes away what it added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shadowdiff.intake.asgi import Scope

MOST_CONNECTIONS = 16_384
"""On one port of one process."""
MOST_HELD_BYTES = 64 << 20
"""Of heads that have not come whole, or whose body has not: far above what a mesh has under way at once."""
FIELD_BYTES = 112
"""What a short field takes in memory beside its bytes on the wire: a pair, two byte strings, and a place in a list."""


def head_cost(scope: Scope) -> int:
    """Return what a head takes in memory: `head_bytes` is the protocol's own count of names, values and target."""
    cost: int = scope.get("head_bytes", 0) + FIELD_BYTES * len(scope["headers"])
    return cost


class Held:
    """The count of one port; is_closing: it takes its last requests."""

    __slots__ = ("bytes", "is_closing", "most_bytes", "most_connections")

    def __init__(self, most_connections: int = MOST_CONNECTIONS, most_bytes: int = MOST_HELD_BYTES) -> None:
        self.most_connections = most_connections
        self.most_bytes = most_bytes
        self.bytes = 0
        self.is_closing = False

    def __repr__(self) -> str:
        """State the count."""
        return f"<Held {self.bytes} of {self.most_bytes} bytes>"

    def change(self, was: int, now: int) -> bool:
        """Count what one connection holds now in place of what it held; return whether all is within the bound."""
        self.bytes += now - was
        return self.bytes <= self.most_bytes
