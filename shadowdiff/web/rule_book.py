"""Rules that people made while the service ran: kept in the store, and known to every process within seconds.

In: declarations, each with an author and a reason.  Out: the rules of each target, beside the configuration's.
Holds: a declaration is checked before it is kept, and sealed where a key is set, since a path or a pattern may name
what nobody else should read; the number is bounded; what cannot be read any more (by an older version) is left out and
said in the log, and never stops a process. Who changes it notes the change.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from redis.exceptions import RedisError

from shadowdiff.rules import Rule, RuleError, parse_rules
from shadowdiff.store import UnopenableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowdiff.store import Store

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
MOST: Final = 500
MAX_BYTES: Final = 16_384
_KEY: Final = "rules:made"


class BookFullError(Exception):
    """No more rules can be kept."""


class MadeRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that somebody made: the declaration as in the configuration, who made it, why, and when."""

    id: str
    target: str
    rule: dict[str, Any]
    author: str
    reason: str
    made_ms: int


class RuleBook:
    """The rules that people made, as of the last look into the store."""

    def __init__(self, store: Store, now_ms: Callable[[], int], on_change: Callable[[], None]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._on_change = on_change
        self._raw: Mapping[bytes, bytes] = {}
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self.made: tuple[MadeRule, ...] = ()
        self.looked = asyncio.Event()
        """Set after the first look: until then nobody knows which rules hold."""

    def rules(self, target: str) -> tuple[Rule, ...]:
        """Return the rules made for a target, the oldest first."""
        return self._rules.get(target, ())

    async def run(self) -> None:
        """Look every few seconds."""
        while True:
            try:
                await self.look()
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("rules wait for the store", extra={"error": repr(error)})
            await asyncio.sleep(EVERY_S if self.looked.is_set() else EVERY_S / 10)

    async def look(self) -> None:
        """Take what the store holds. Raises: redis.exceptions.RedisError."""
        found = cast("dict[bytes, bytes]", await self._store.command("HGETALL", self._name))
        if found != self._raw:
            self._raw = found
            self._take(found)
            self._on_change()
        self.looked.set()

    async def add(self, target: str, declared: dict[str, Any], author: str, reason: str) -> MadeRule:
        """Keep a rule, and let it hold here at once.

        Raises: RuleError where it is none; BookFullError; redis.exceptions.RedisError.
        """
        declared = {**declared, "reason": reason}
        parse_rules([declared])
        made = MadeRule(
            id=secrets.token_hex(6),
            target=target,
            rule=declared,
            author=author,
            reason=reason,
            made_ms=self._now_ms(),
        )
        value = msgspec.json.encode(made)
        if len(value) > MAX_BYTES:
            raise RuleError(f"rule: {len(value):,} bytes are too long; at most {MAX_BYTES:,} are kept")
        if int(await self._store.command("HLEN", self._name)) >= MOST:
            raise BookFullError(f"{MOST} rules are kept already: move some to the configuration, and remove them here")
        await self._store.command("HSET", self._name, made.id, self._store.vault.close(value, _lies_under(made.id)))
        await self.look()
        return made

    async def remove(self, rule_id: str) -> MadeRule | None:
        """Take a rule back; None where there is none of that id. Raises: redis.exceptions.RedisError."""
        await self.look()
        made = next((made for made in self.made if made.id == rule_id), None)
        if made is None or not int(await self._store.command("HDEL", self._name, rule_id)):
            return None
        await self.look()
        return made

    @property
    def _name(self) -> bytes:
        return self._store.keys.name(0, _KEY)

    def _opened(self, rule_id: bytes, value: bytes) -> bytes:
        """Return what was kept; JSON as it is was kept by an older version. Raises: UnopenableError."""
        return value if value.startswith(b"{") else self._store.vault.open(value, _lies_under(rule_id.decode()))

    def _take(self, found: Mapping[bytes, bytes]) -> None:
        rules: dict[str, list[Rule]] = {}
        made: list[MadeRule] = []
        for rule_id, value in found.items():
            try:
                one = msgspec.json.decode(self._opened(rule_id, value), type=MadeRule)
                rule = parse_rules([one.rule])
            except (UnopenableError, msgspec.DecodeError, RuleError, ValueError, RecursionError) as error:
                log.warning("a rule in the store cannot be read", extra={"rule": repr(rule_id), "error": str(error)})
                continue
            made.append(one)
            rules.setdefault(one.target, []).extend(rule)
        self.made = tuple(sorted(made, key=lambda one: (one.made_ms, one.id)))
        self._rules = {target: parse_rules([m.rule for m in self.made if m.target == target]) for target in rules}


def _lies_under(rule_id: str) -> bytes:
    return b"rule " + rule_id.encode()
