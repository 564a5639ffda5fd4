"""Lua scripts, which are called by digest, and sent as source only if the server does not have them.

This works on one server and on a cluster. In a cluster, `execute_command` routes by the first key, and redis-py rejects
pipelines of scripts. The call also works after a restart of Redis or a SCRIPT FLUSH.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, Final

from redis.exceptions import NoScriptError

from shadowdiff.model import GROUP_CHARS, NAME_CHARS, RANK_CHARS

Execute = Callable[..., Awaitable[Any]]
"""Sends one command to Redis and returns the reply."""


class Script:
    """One Lua source, and its SHA-1 for EVALSHA."""

    __slots__ = ("sha", "source")

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()

    @classmethod
    def from_package(cls, package: str, *names: str, before: bytes = b"") -> Script:
        """Return one script that consists of `before` and the given files of `package`, shared parts first."""
        folder = files(package)
        return cls(b"\n".join([before, *(folder.joinpath(name).read_bytes() for name in names)]))

    async def run(self, execute: Execute, keys: Sequence[bytes], args: Sequence[bytes | str | int]) -> Any:
        """Run the script on the server that has `keys`. Raises: redis.exceptions.RedisError."""
        try:
            return await execute("EVALSHA", self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await execute("EVAL", self.source, len(keys), *keys, *args)


_LUA: Final = "shadowdiff.store.lua"
READS: Final = Script.from_package(_LUA, "reads.lua")
ONCE: Final = Script.from_package(_LUA, "once.lua")
HASHES: Final = Script.from_package(_LUA, "hashes.lua")
SAMPLE_SET_LUA: Final = Script.from_package(
    _LUA, "sample_set.lua", before=b"local GROUP, NAME = %d, %d" % (GROUP_CHARS, NAME_CHARS)
).source
"""The shared part of the scripts that change sample sets."""
BOTTOM_SAMPLE_LUA: Final = Script.from_package(_LUA, "bottom_sample.lua", before=b"local RANK = %d" % RANK_CHARS).source
"""The shared part of the scripts that change bottom samples; it follows `SAMPLE_SET_LUA`."""
SWEEP_SAMPLE_SET: Final = Script.from_package(_LUA, "sweep_sample_set.lua", before=SAMPLE_SET_LUA)
