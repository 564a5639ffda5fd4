"""Run long work off the event loop, with limits on time and memory.

The service uses a pool of processes. If there is no pool, as in tests, a thread does the work.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from shadowdiff.report import Sample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Parts = Callable[[], Awaitable[Sequence[bytes]]]

Returned = TypeVar("Returned")


class Offload(Protocol):
    """Runs a function off the event loop."""

    async def __call__(
        self, function: Callable[..., Returned], *arguments: Any, parts: Parts | None = None
    ) -> Returned:
        """Return the result of a module-level function. parts: returns its last argument; called when it can start.

        Raises: RequestError if it needs too much time or memory, or if too much work waits.
        """
        ...


async def in_a_thread(function: Callable[..., Returned], *arguments: Any, parts: Parts | None = None) -> Returned:
    """Run a function in a thread, without limits."""
    read = () if parts is None else (await parts(),)
    return await asyncio.to_thread(function, *arguments, *read)


async def pack_samples(reading: Awaitable[Sequence[Sample]]) -> list[bytes]:
    """Return samples as bytes for another process."""
    samples = await reading
    return await asyncio.to_thread(lambda: [msgspec.msgpack.encode(one) for one in samples])


def unpack_samples(parts: Sequence[bytes]) -> list[Sample]:
    """Return the samples that `pack_samples` packed."""
    decode = msgspec.msgpack.Decoder(Sample).decode
    return [decode(part) for part in parts]
