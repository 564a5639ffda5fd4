"""Lua scripts, called by digest and sent whole only when the server does not know them.

Works on one Redis and on a cluster alike (`execute_command` routes by the first key; a pipeline of
scripts is refused there), and heals itself after a restart or a SCRIPT FLUSH.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

Execute = Callable[..., Awaitable[Any]]
"""Sends one command of plain words to Redis, and answers with what it answered."""


class Script:
    """One Lua source and its SHA-1, as EVALSHA names it."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, source: bytes) -> None:
        self.name = name
        self.source = source
        self.sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()

    @classmethod
    def from_package(cls, package: str, *names: str, before: bytes = b"") -> Script:
        """Return one script of the given files of `package`, joined in order (shared parts first), after `before`."""
        folder = files(package)
        return cls(names[-1], b"\n".join([before, *(folder.joinpath(name).read_bytes() for name in names)]))

    async def run(self, execute: Execute, keys: Sequence[bytes], args: Sequence[bytes | str | int]) -> Any:
        """Run on the server that holds `keys`; raises redis.exceptions.RedisError."""
        try:
            return await execute("EVALSHA", self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await execute("EVAL", self.source, len(keys), *keys, *args)
