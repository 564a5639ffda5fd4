"""A query for fingerprints, and its result: a page."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from shadowdiff.model import Severity
from shadowdiff.report.fingerprint import HOUR_MS, MINUTE_MS, Place
from shadowdiff.report.triage import Note, State, StateChange


class Order(StrEnum):
    """The sort key of a page, greatest value first."""

    LAST_SEEN = "last_seen"
    COUNT = "count"
    FIRST_SEEN = "first_seen"
    SEVERITY = "severity"


class Span(StrEnum):
    """The time span of a trend: an hour in steps of a minute, or a day or a week in steps of an hour."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def ms(self) -> int:
        """Its length."""
        step_ms, steps = BUCKETS[self]
        return step_ms * steps


BUCKETS: Final = {Span.HOUR: (MINUTE_MS, 60), Span.DAY: (HOUR_MS, 24), Span.WEEK: (HOUR_MS, 168)}


class FingerprintQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which fingerprints to return; times refer to the last mismatch.

    path: a predicate on the pattern of a place. glance: lower-case text that a place contains; this check is faster,
    and if it is sufficient, there is no `path`.
    """

    order: Order = Order.LAST_SEEN
    limit: int = 50
    offset: int = 0
    route: str | None = None
    kind: str | None = None
    severity: Severity | None = None
    state: State | None = None
    path: Callable[[str], bool] | None = None
    glance: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    span: Span = Span.DAY


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of the last time steps; the last time step has not ended yet."""

    step_ms: int
    start_ms: int
    counts: tuple[int, ...]


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """A group of mismatches that have differences at the same places.

    share: the share of all compared pairs of the target. places: the first places; `more_places` are not listed.
    example: the id of a stored sample, if any. state: the current state; stated: the last change by a user.
    reopened_ms: when the fingerprint recurred after it was fixed.
    """

    id: str
    target: str
    route: str
    places: tuple[Place, ...]
    more_places: int
    severity: Severity
    count: int
    share: float | None
    first_seen_ms: int
    last_seen_ms: int
    state: State
    reopened_ms: int | None
    stated: StateChange | None
    note: Note | None
    trend: Trend
    example: str | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of fingerprints.

    total: how many fingerprints match the query; None if they were not counted. stored: the number of all fingerprints.
    other: the number of mismatches whose fingerprints are beyond the limit.
    """

    fingerprints: tuple[Fingerprint, ...]
    total: int | None
    more: bool
    stored: int
    other: int
