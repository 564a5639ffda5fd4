"""What is asked of a target's fingerprints, and whether one is that, by its scores.

In: an order, a page, what to choose; the scores of a name.  Out: yes or no; the bounds of the index that is walked.
Holds: pure.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from shadowdiff.model import Severity
from shadowdiff.model.reader import Top
from shadowdiff.report.fingerprint import HOUR_MS, MINUTE_MS, RANK, RANKS, key_of
from shadowdiff.report.remarks import Remark, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowdiff.report.ranking import How

FEW: Final = 1_500
"""So many chosen names are scored and sorted; of more, an index is walked until the page is full."""
_SEVERITIES: Final = {rank: severity for severity, rank in RANKS.items()}


class Order(StrEnum):
    """What a page is sorted by, the greatest first."""

    LAST_SEEN = "last_seen"
    COUNT = "count"
    FIRST_SEEN = "first_seen"
    SEVERITY = "severity"


class Span(StrEnum):
    """What a trend covers: an hour by minutes, a day or a week by hours."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def ms(self) -> int:
        """How long it is."""
        step_ms, steps = BUCKETS[self]
        return step_ms * steps


INDEX: Final[dict[Order, tuple[str, How]]] = {
    Order.LAST_SEEN: ("last", "greatest"),
    Order.COUNT: ("count", "sum"),
    Order.FIRST_SEEN: ("first", "least"),
    Order.SEVERITY: ("worst", "greatest"),
}
PARTS: Final[tuple[tuple[str, How], ...]] = (
    ("last", "greatest"), ("first", "least"), ("count", "sum"), ("worst", "greatest"), ("since", "least"),
)  # fmt: skip
BUCKETS: Final = {Span.HOUR: (MINUTE_MS, 60), Span.DAY: (HOUR_MS, 24), Span.WEEK: (HOUR_MS, 168)}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; times are of the last mismatch.

    path: chooses by a predicate over a place's pattern.  glance: what one of a fingerprint's places contains in lower
    case, which is told sooner; where it says all, there is no path beside it.
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


class Known(msgspec.Struct, frozen=True):
    """The scores of a name, over all shards."""

    last: int
    first: int
    count: int
    worst: int
    since: int | None

    @property
    def severity(self) -> Severity:
        """The worst that any of its differences ever had."""
        return _SEVERITIES.get(self.worst // RANK, Severity.BREAKING)


def score_of(known: Known, order: Order) -> int:
    """Return what an order sorts by."""
    match order:
        case Order.LAST_SEEN:
            return known.last
        case Order.COUNT:
            return known.count
        case Order.FIRST_SEEN:
            return known.first
        case Order.SEVERITY:
            return known.worst


def has_predicate(wanted: Wanted) -> bool:
    """Whether severity, time or state are asked for."""
    return not (
        wanted.severity is None and wanted.state is None and wanted.since_ms is None and wanted.until_ms is None
    )


def is_wanted(known: Known, remark: Remark, wanted: Wanted) -> bool:
    """Whether severity, time and state are as asked for."""
    return (
        (wanted.severity is None or known.severity is wanted.severity)
        and (wanted.since_ms is None or known.last >= wanted.since_ms)
        and (wanted.until_ms is None or known.last <= wanted.until_ms)
        and (wanted.state is None or remark.state(known.since)[0] is wanted.state)
    )


def bounds(wanted: Wanted) -> tuple[int | None, int | None]:
    """Return the bounds of an index's scores outside of which nothing is wanted."""
    if wanted.order is Order.LAST_SEEN:
        return wanted.since_ms, wanted.until_ms
    if wanted.order is Order.SEVERITY and wanted.severity is not None:
        return _of_severity(wanted.severity)
    return None, None


def _of_severity(severity: Severity) -> tuple[int, int]:
    rank = RANKS[severity]
    return rank * RANK, (rank + 1) * RANK - 1


def narrow(target: str, wanted: Wanted) -> Iterable[Top]:
    """Yield the reads that may show how few can be wanted, of what the order's own index does not bound."""
    if wanted.severity is not None and wanted.order is not Order.SEVERITY:
        yield Top(key_of("worst", target), FEW + 1, *_of_severity(wanted.severity))
    if wanted.since_ms is not None and wanted.order is not Order.LAST_SEEN:
        yield Top(key_of("last", target), FEW + 1, wanted.since_ms, wanted.until_ms)
