"""Ports on this machine.

In: the port one would like.  Out: that port where it is free, else another free one.
Holds: what it returns was free a moment ago; whoever binds it next has it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "127.0.0.1"


def free_ports(wanted: Sequence[int]) -> list[int]:
    """Return one port for each wanted one: itself where it is free, else any free one (0: any); all different."""
    held: list[socket.socket] = []
    try:
        held.extend(map(_bind, wanted))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def _bind(port: int) -> socket.socket:
    """Hold the port, or any free one where it is taken."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what only lingers after a close is free
    try:
        one.bind((HOST, port))
    except OSError:
        one.bind((HOST, 0))
    return one
