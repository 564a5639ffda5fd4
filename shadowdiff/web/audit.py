"""The audit log: every change with user, time, action and source address, as a log line and in the store.

The number and length of entries are limited. Entries are redacted, because a rule can quote values that it covers. If
the store is unavailable, only the log line is written.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.erasure.stored import EDIT_LIST
from shadowdiff.queries.visible import VISIBLE, is_visible
from shadowdiff.store import STORE_ERRORS
from shadowdiff.telemetry.logs import AUDIT as CHANGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.store import Store
    from shadowdiff.web.request_context import Change, RequestContext

log = logging.getLogger(__name__)
changes = logging.getLogger(CHANGES)

MAX_ENTRIES: Final = 1000
SHOWN: Final = 100
_CHARACTERS: Final = 500
_DETAILS: Final = 12
_KEY: Final = "audit"
_NAMES: Final = frozenset({"author", "by"})
"""Details that are names of people and are not redacted."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An audited change or export.  auth: how the caller was identified.  source: the client's address."""

    at_ms: int
    user: str
    auth: str
    source: str
    action: str
    target: str = ""
    details: dict[str, str] = {}


class AuditEntries(msgspec.Struct, frozen=True):
    """The most recent changes, newest first."""

    entries: list[AuditEntry]


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The audit log, in the store and as log lines."""

    store: Store
    now_ms: Callable[[], int]
    redact: Callable[[str], str]

    async def note(self, context: RequestContext, change: Change) -> None:
        """Log and store what a request changed. The length of each field is limited."""
        details = {name: str(value) for name, value in [*change.details.items()][:_DETAILS]}
        entry = AuditEntry(
            at_ms=self.now_ms(),
            user=_cut(context.caller.name or "anonymous"),
            auth=context.caller.by,
            source=_cut(context.source),
            action=_cut(change.action),
            target=_cut(change.target),
            details={_cut(name): _cut(one if name in _NAMES else self.redact(one)) for name, one in details.items()},
        )
        fields = msgspec.to_builtins(entry)
        changes.info("audit: %s", entry.action, extra={**fields.pop("details"), **fields})
        name = self.store.keys.name(0, _KEY)
        try:
            await self.store.command("LPUSH", name, msgspec.json.encode(entry))
            await self.store.command("LTRIM", name, 0, MAX_ENTRIES - 1)
        except STORE_ERRORS as error:
            log.warning("store unavailable; audit entry is only in the log", extra={"error": repr(error)})

    async def newest(self, count: int) -> list[AuditEntry]:
        """Return the newest entries of visible targets. Raises: redis.exceptions.RedisError."""
        most = count if VISIBLE.get() is None else MAX_ENTRIES
        lines = await self.store.command("LRANGE", self.store.keys.name(0, _KEY), 0, most - 1)
        return [entry for line in lines if (entry := _read(line)) is not None and is_visible(entry.target)][:count]

    async def erase(self, hide: Callable[[str], str], *, dry_run: bool) -> int:
        """Replace a value in the details of visible entries, and return their number. hide: replaces it in a text."""
        lines = await self.store.command("LRANGE", self.store.keys.name(0, _KEY), 0, -1)
        edits: list[bytes] = []
        for line in lines:
            entry = _read(line)
            if entry is None or not is_visible(entry.target):
                continue
            details = {name: hide(text) for name, text in entry.details.items()}
            if details != entry.details:
                edits += line, msgspec.json.encode(msgspec.structs.replace(entry, details=details))
        if edits and not dry_run:
            await self.store.run(EDIT_LIST, 0, [_KEY], [0, *edits])
        return len(edits) // 2


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}…"


def _read(line: bytes) -> AuditEntry | None:
    try:
        return msgspec.json.decode(line, type=AuditEntry)
    except (msgspec.DecodeError, RecursionError):
        return None  # another version wrote this entry
