"""Erase what the store has about one request, one value of a path, or one secret, in the targets of a request.

The erased value is in no log line, no audit entry and no error. One erasure runs at a time in each process. Names in
counts (routes and JSON paths) and rules stay; the result says how many of them carry the value.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.erasure.matcher import SECRET_HASH, Matcher
from shadowdiff.queries.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shadowdiff.erasure.stored import StoredData
    from shadowdiff.queries.targets import Queries
    from shadowdiff.report import Redactor
    from shadowdiff.rule_changes.added_rules import AddedRule
    from shadowdiff.verdict import RouteCounts

MOST_CHARS: Final = 1000
KINDS: Final = ("request_id", "path_value", "secret_hash")


class ErasureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to erase: exactly one of `request_id`, `path_value` and `secret_hash`.

    secret_hash: the digits of a secret's placeholder.  target: only this target's data; empty: all targets.
    dry_run: only count.  author, reason: for the audit log; a dry run needs none.
    """

    request_id: str = ""
    path_value: str = ""
    secret_hash: str = ""
    target: str = ""
    dry_run: bool = False
    author: str = ""
    reason: str = ""


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """How many items were erased, or in a dry run would be erased.

    attributes: sampled pairs with an attribute that carries the value.
    fingerprints: those whose route or places carry the value.  parameters: counts of parameters of changes.
    waiting: observations that wait for their partner.
    pending: pairs that are not compared yet and may still become samples.
    kept_names, kept_rules: names in counts, and added rules, that contain the value. They are not erased.
    """

    dry_run: bool
    samples: int
    attributes: int
    fingerprints: int
    notes: int
    parameters: int
    doctor_examples: int
    waiting: int
    audit_entries: int
    pending: int
    kept_names: int
    kept_rules: tuple[str, ...] = ()


@dataclass(slots=True)
class Eraser:
    """Runs erasures.  added_rules: returns the rules that users added."""

    queries: Queries
    stored: StoredData
    redactor: Redactor
    added_rules: Callable[[], Sequence[AddedRule]]
    _running: asyncio.Lock = field(default_factory=asyncio.Lock)

    def matcher(self, request: ErasureRequest) -> Matcher:
        """Return the matcher of the request's value. Raises: RequestError if the request does not have one value."""
        given = [name for name in KINDS if getattr(request, name).strip()]
        if len(given) != 1:
            names = ", ".join(f"`{name}`" for name in KINDS)
            raise RequestError(400, f"{' and '.join(given) or 'no value'} given: give exactly one of {names}")
        kind, value = given[0], str(getattr(request, given[0])).strip()
        if len(value) > MOST_CHARS:
            raise RequestError(400, f"{kind} has {len(value):,} characters; at most {MOST_CHARS:,} are allowed")
        if kind != "secret_hash":
            return Matcher(value, self.redactor)
        digits = SECRET_HASH.fullmatch(value)
        if digits is None:
            raise RequestError(400, "secret_hash is no placeholder: write the 12 digits of ‹redacted:…›")
        return Matcher(digits[1], self.redactor, is_secret_hash=True)

    async def run(self, request: ErasureRequest, matcher: Matcher) -> Erasure:
        """Erase everything that carries the value, except in the audit log. Raises: RequestError."""
        if self._running.locked():
            raise RequestError(503, "another erasure is running: try again when it has ended")
        async with self._running:
            return await self._run(request, matcher)

    async def _run(self, request: ErasureRequest, matcher: Matcher) -> Erasure:
        queries, stored, dry_run = self.queries, self.stored, request.dry_run
        targets = [queries.target(request.target).target.name] if request.target else queries.names
        kinds = "waiting", "samples", "attributes", "fingerprints", "notes", "parameters", "doctor_examples"
        found = dict.fromkeys(kinds, 0)
        names = pending = 0
        for target in targets:
            for kind in found:  # waiting observations first, because they become pairs
                found[kind] += await getattr(stored, kind)(target, matcher, dry_run=dry_run)
            pending += await stored.pending(target)
            names += sum(map(matcher.is_in, _names((await queries.counts(target)).routes)))
        if not dry_run:
            await stored.process_examples()
        rules = [one for one in self.added_rules() if one.target in targets and matcher.is_in_value(one)]
        return Erasure(
            **found,
            dry_run=dry_run,
            audit_entries=0,
            pending=pending,
            kept_names=names,
            kept_rules=tuple(one.id for one in rules),
        )


def _names(routes: Sequence[RouteCounts]) -> Iterator[str]:
    """Yield the names in a target's counts."""
    for route in routes:
        yield route.route
        yield from (path.path for path in (*route.paths, *route.covered))
        yield from route.reasons
