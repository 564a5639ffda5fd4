"""Every change, with who made it, when, what, and from where: a line in the log, and the newest ones in the store.

In: what a request changed.  Out: entries, newest first.
Holds: bounded in number and in the length of each part, and redacted, since a rule may quote what it covers; a store
that is away costs the entry there, never the line in the log, nor the change.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from redis.exceptions import RedisError

from shadowdiff.telemetry.repeats import AUDIT as CHANGES
from shadowdiff.web.operation import Arguments, Operation, Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from shadowdiff.store import Store
    from shadowdiff.web.state import WebState
    from shadowdiff.web.visit import Visit

log = logging.getLogger(__name__)
changes = logging.getLogger(CHANGES)

KEPT: Final = 1000
SHOWN: Final = 100
_CHARACTERS: Final = 500
_FACTS: Final = 12
_KEY: Final = "audit"
_WHO: Final = frozenset({"author", "by"})


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change.  by: how the caller was known; from_: the address that asked; author: the name that was typed in."""

    at_ms: int
    who: str
    by: str
    source: str = msgspec.field(name="from")
    what: str
    target: str = ""
    facts: dict[str, str] = {}


class AuditEntries(msgspec.Struct, frozen=True):
    """The newest changes, newest first."""

    entries: list[AuditEntry]


class Audit(Protocol):
    """Where changes are noted."""

    async def note(self, seen: Visit) -> None:
        """Note what a request changed."""
        ...

    async def newest(self, count: int) -> list[AuditEntry]:
        """Return the newest entries."""
        ...


class AuditLog:
    """The audit log, in the store and as lines."""

    def __init__(self, store: Store, now_ms: Callable[[], int], redact: Callable[[str], str]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._redact = redact

    async def note(self, seen: Visit) -> None:
        """Note what a request changed."""
        entry = entry_of(seen, self._now_ms(), self._redact)
        told = msgspec.to_builtins(entry)
        changes.info("audit: %s", entry.what, extra={**told.pop("facts"), **told})
        name = self._store.keys.name(0, _KEY)
        try:
            await self._store.command("LPUSH", name, msgspec.json.encode(entry))
            await self._store.command("LTRIM", name, 0, KEPT - 1)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("the store did not take an audit entry; the log has it", extra={"error": repr(error)})

    async def newest(self, count: int) -> list[AuditEntry]:
        """Return the newest entries. Raises: redis.exceptions.RedisError."""
        lines = await self._store.command("LRANGE", self._store.keys.name(0, _KEY), 0, count - 1)
        return [entry for line in lines if (entry := _read(line)) is not None]


def entry_of(seen: Visit, at_ms: int, redact: Callable[[str], str]) -> AuditEntry:
    """Return the entry of what a request changed, every part bounded; who did it stays as it is."""
    change = seen.change
    facts = list((change.facts if change else {}).items())[:_FACTS]
    return AuditEntry(
        at_ms=at_ms,
        who=_cut(seen.caller.name or "anonymous"),
        by=seen.caller.by,
        source=_cut(seen.source),
        what=_cut(change.what if change else ""),
        target=_cut(change.target if change else ""),
        facts={_cut(name): _cut(str(value) if name in _WHO else redact(str(value))) for name, value in facts},
    )


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"


def _read(line: bytes) -> AuditEntry | None:
    try:
        return msgspec.json.decode(line, type=AuditEntry)
    except (msgspec.DecodeError, RecursionError):
        return None  # of another version


async def get_audit(state: WebState, arguments: Arguments, _request: Request) -> AuditEntries:
    """Answer the newest changes."""
    return AuditEntries(await state.audit.newest(arguments["limit"]) if state.audit else [])


AUDIT: Final = Operation(
    path="/audit",
    name="audit",
    summary="The newest changes: who, when, what, and from where",
    handler=get_audit,
    answer=AuditEntries,
    parameters=(
        Parameter(name="limit", description="how many", type="integer", default=SHOWN, minimum=1, maximum=KEPT),
    ),
    refuses={400: "The limit is wrong"},
)
