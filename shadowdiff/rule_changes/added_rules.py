"""Rules that users add while the service runs. They are stored, and every process reads them within seconds.

A rule is checked before it is stored, and encrypted if the store has a key. The number of rules is limited. A stored
rule that cannot be read is logged and skipped; it never stops a process.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from shadowdiff.rules import Rule, RuleError, parse_rules
from shadowdiff.store import STORE_ERRORS, ValueCodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowdiff.store import Store

log = logging.getLogger(__name__)

READ_EVERY_S: Final = 2.0
MAX_RULES: Final = 500
MAX_BYTES: Final = 16_384
_CONTEXT: Final = b"rule "
"""An encrypted rule is bound to this context and the rule's id."""


class BookFullError(Exception):
    """The rule book is full."""


class AddedRule(msgspec.Struct, frozen=True, kw_only=True):
    """An added rule: its declaration as in the configuration, author, reason and time."""

    id: str
    target: str
    rule: dict[str, Any]
    author: str
    reason: str
    added_ms: int


class _Stored(NamedTuple):
    value: bytes
    added: AddedRule
    rule: Rule


class RuleBook:
    """The added rules that the last read of the store returned."""

    def __init__(self, store: Store, now_ms: Callable[[], int], on_change: Callable[[], None]) -> None:
        self._store = store
        self._name = store.keys.name(0, "rules:made")
        self._now_ms = now_ms
        self._on_change = on_change
        self._raw: Mapping[bytes, bytes] = {}
        self._stored: dict[bytes, _Stored] = {}
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self.added: tuple[AddedRule, ...] = ()
        self.is_read = asyncio.Event()
        """Set after the first read; until then, the rules in force are unknown."""

    def rules(self, target: str) -> tuple[Rule, ...]:
        """Return the rules added for a target, oldest first."""
        return self._rules.get(target, ())

    async def run(self) -> None:
        """Read the store every few seconds."""
        while True:
            try:
                await self.read()
            except STORE_ERRORS as error:
                log.debug("store unavailable; will retry reading rules", extra={"error": repr(error)})
            await asyncio.sleep(READ_EVERY_S if self.is_read.is_set() else READ_EVERY_S / 10)

    async def read(self) -> None:
        """Read the store now. Raises: redis.exceptions.RedisError."""
        found = cast("dict[bytes, bytes]", await self._store.command("HGETALL", self._name))
        if found != self._raw:
            self._raw = found
            self._take(found)
            self._on_change()
        self.is_read.set()

    async def add(self, target: str, declared: dict[str, Any], author: str, reason: str) -> AddedRule:
        """Store a rule and apply it here immediately. Raises: RuleError, BookFullError, redis.exceptions.RedisError."""
        declared = {**declared, "reason": reason}
        added = AddedRule(
            id=secrets.token_hex(6), target=target, rule=declared, author=author, reason=reason, added_ms=self._now_ms()
        )
        value = msgspec.json.encode(added)
        if len(value) > MAX_BYTES:
            raise RuleError(f"rule: {len(value):,} bytes are too many; at most {MAX_BYTES:,} are allowed")
        parse_rules([declared])
        if int(await self._store.command("HLEN", self._name)) >= MAX_RULES:
            raise BookFullError(f"{MAX_RULES} rules are stored; move some to the configuration, and remove them here")
        sealed = self._store.value_codec.encode(value, _CONTEXT + added.id.encode())
        await self._store.command("HSET", self._name, added.id, sealed)
        await self.read()
        return added

    async def remove(self, rule_id: str, may_change: Callable[[str], bool] = lambda _: True) -> AddedRule | None:
        """Remove and return a rule. Raises: redis.exceptions.RedisError.

        Returns: None if no rule of a target for which `may_change` returns True has that id.
        """
        await self.read()
        added = next((one for one in self.added if one.id == rule_id and may_change(one.target)), None)
        if added is None or not int(await self._store.command("HDEL", self._name, rule_id)):
            return None
        await self.read()
        return added

    def _take(self, found: Mapping[bytes, bytes]) -> None:
        """Use the stored rules. Parse only new or changed rules."""
        stored: dict[bytes, _Stored] = {}
        for rule_id, value in found.items():
            known = self._stored.get(rule_id)
            if known is not None and known.value == value:
                stored[rule_id] = known
                continue
            try:
                is_sealed = not value.startswith(b"{")
                opened = self._store.value_codec.decode(value, _CONTEXT + rule_id) if is_sealed else value
                added = msgspec.json.decode(opened, type=AddedRule)
                stored[rule_id] = _Stored(value, added, parse_rules([added.rule])[0])
            except (ValueCodecError, msgspec.DecodeError, ValueError, RecursionError) as error:
                about = {"rule": repr(rule_id), "error": str(error)}
                log.warning("unreadable rule in the store; skipping", extra=about)
        self._stored = stored
        in_order = sorted(stored.values(), key=lambda one: (one.added.added_ms, one.added.id))
        self.added = tuple(one.added for one in in_order)
        rules: dict[str, list[Rule]] = {}
        for one in in_order:
            rules.setdefault(one.added.target, []).append(one.rule)
        self._rules = {target: tuple(those) for target, those in rules.items()}
