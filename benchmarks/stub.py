"""A cheap service: answers each GET of a product from memory, so its own time is negligible.

Takes PORT, and `v2` for responses that differ from v1 as a new version's would.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from traffic import Answering, Served, answers


async def serve(port: int, *, is_new: bool) -> None:
    """Serve until killed."""
    prepared, served = answers("2026-11-23T10:00:00.001Z", faults=is_new), Served()
    server = await asyncio.get_running_loop().create_server(lambda: Answering(prepared, served), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), is_new="v2" in sys.argv[2:]))
