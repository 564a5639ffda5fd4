"""What an epoch is, and when a new one is due.

In: the epoch that is open, what was seen since, what a process compares by.  Out: the opening that is due, or none.
Holds: pure. A verdict is valid only from a start that was fixed beforehand, so an epoch opens when something
that it rests on changes, and what is seen in it never moves its start. A revision or session that was seen before
does not open one again (a late answer of an old pod must not end the new epoch), unless the present one has been
silent for so long that v2 evidently went back.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

RETURNS_AFTER_MS: Final = 120_000
"""So long must the present revision be silent before one that was seen before opens an epoch again."""


class OpenedBy(StrEnum):
    """Why an epoch opened."""

    START = "start"
    REVISION = "revision"
    RULES = "rules"
    NOISE = "noise"
    ROLLOUT = "rollout"
    HAND = "hand"


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time in which nothing that a verdict rests on changed.

    id: counts up per target.  revision: as v2's header names it, None before the first answer that bears one.
    rules: a digest of what is compared and how.  session: the rollout that asked for it, None without one.
    ledger: the figures of the ledger when it opened, by dotted name.
    """

    id: int
    started_ms: int
    by: OpenedBy
    revision: str | None = None
    rules: str = ""
    noise: str | None = None
    session: str | None = None
    ledger: dict[str, int] = {}


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch that is due; `session` None keeps the present one; `noise` is the version of the set in force."""

    by: OpenedBy
    revision: str | None = None
    session: str | None = None
    noise: str | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of a target: the epoch, and when each revision and session was last heard of (Unix ms)."""

    now_ms: int
    epoch: Epoch | None = None
    revisions: Mapping[str, int] = {}
    sessions: Mapping[str, int] = {}


def due_by_traffic(seen: Seen, revisions: Iterable[str]) -> Opening | None:
    """Return the opening that v2's revisions call for; the first one in order that does.

    An epoch that does not know its revision yet takes the first one without a new start (`adopts`); what is
    asked here is asked after that.
    """
    epoch = seen.epoch
    if epoch is None:
        return Opening(by=OpenedBy.START)
    answering = list(revisions)
    heard = dict(seen.revisions)
    if epoch.revision is not None and epoch.revision in answering:
        heard[epoch.revision] = seen.now_ms
    for revision in answering:
        if revision != epoch.revision and _is_new(revision, heard, epoch.revision, seen.now_ms):
            return Opening(by=OpenedBy.REVISION, revision=revision)
    return None


def due_by_rules(seen: Seen, rules: str) -> Opening | None:
    """Return the opening that a process calls for when it starts or takes a new configuration."""
    epoch = seen.epoch
    if epoch is None:
        return Opening(by=OpenedBy.START)
    return Opening(by=OpenedBy.RULES, revision=epoch.revision) if epoch.rules != rules else None


def due_by_noise(seen: Seen, noise: str | None) -> Opening | None:
    """Return the opening that another noise set than the epoch's calls for."""
    epoch = seen.epoch
    if epoch is None:
        return Opening(by=OpenedBy.START)
    return Opening(by=OpenedBy.NOISE, revision=epoch.revision) if epoch.noise != noise else None


def due_by_session(seen: Seen, session: str) -> Opening | None:
    """Return the opening that a rollout's question calls for: its first, or its return after another's."""
    epoch = seen.epoch
    if epoch is not None and session in {epoch.session, epoch.revision}:
        return None
    present = epoch.session if epoch else None
    if not _is_new(session, seen.sessions, present, seen.now_ms):
        return None
    return Opening(by=OpenedBy.ROLLOUT, session=session)


def is_superseded(epoch: Epoch, session: str) -> bool:
    """Return whether another rollout took this one's place, so that the evidence is not about it."""
    return session not in {epoch.session, epoch.revision}


def _is_new(name: str, heard: Mapping[str, int], present: str | None, now_ms: int) -> bool:
    """Return whether `name` was never heard of, or the present one has been silent for too long."""
    if name not in heard:
        return True
    return now_ms - heard.get(present or "", 0) > RETURNS_AFTER_MS
