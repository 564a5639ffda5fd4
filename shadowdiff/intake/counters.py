"""Count received items, and the one disposition of each item.

A received item raises `in_flight`, and lowers it when its disposition is known. So `received` equals the sum of the
other counts only if every item got exactly one disposition. Only one event loop writes the counts; this module reads no
clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from shadowdiff.model import OTHER, Side

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_EXAMPLE_CHARS = 4096
KEPT_EXAMPLES = 32
"""The number of different examples of each kind. The least recently seen example is dropped."""


class Disposition(StrEnum):
    """The outcome of a mirrored request, a record or a control request, as the ledger and the metrics name it.

    FORWARDED, ACCEPTED, OBSERVED: the store has the observation of the candidate, of a record, or of the control.
    WITHHELD: the store knows that the request is not sent to v2, because its GraphQL operation is not a query.
    """

    FORWARDED = "forwarded"
    ACCEPTED = "accepted"
    OBSERVED = "observed"
    BLOCKED = "blocked"
    WITHHELD = "withheld"
    INELIGIBLE = "ineligible"
    EXCLUDED = "excluded"
    SAMPLED_OUT = "sampled_out"
    UNIDENTIFIED = "unidentified"
    LOOPED = "looped"
    ABORTED = "aborted"
    TOO_LARGE = "too_large"
    REFUSED = "refused"
    SHED = "shed"
    STORE_LOST = "store_lost"


class Counts:
    """The number of all items of one kind, and of the items with each disposition."""

    dispositions: ClassVar[tuple[Disposition, ...]]
    """Every one that an item may get. The first is for items that the store has."""

    def __init__(self, received: int = 0, in_flight: int = 0, **ended: int) -> None:
        self.received = received
        self.in_flight = in_flight
        self._ended = {one: ended.get(one, 0) for one in self.dispositions}

    def __getitem__(self, disposition: Disposition) -> int:
        return self._ended[disposition]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and self.as_dict() == other.as_dict()

    __hash__ = None  # pyright: ignore[reportAssignmentType] - it changes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} { ({name: count for name, count in self.as_dict().items() if count}) }>"

    def receive(self, items: int = 1) -> None:
        """Count items whose disposition is not known yet."""
        self.received += items
        self.in_flight += items

    def end(self, disposition: Disposition, items: int = 1) -> None:
        """Set the disposition of items in flight."""
        self.in_flight -= items
        self._ended[disposition] += items

    def settle(self, is_stored: bool) -> None:  # noqa: FBT001 - the sink's callback
        """Set the disposition of an item after the store has stored or rejected its observation."""
        self.in_flight -= 1
        self._ended[self.dispositions[0] if is_stored else Disposition.STORE_LOST] += 1

    def withhold(self, is_stored: bool) -> None:  # noqa: FBT001 - the sink's callback
        """Set the disposition of a request that is not sent to v2."""
        self.end(Disposition.WITHHELD if is_stored else Disposition.STORE_LOST)

    def as_dict(self) -> dict[str, int]:
        """Return every count by its name in the ledger."""
        return {"received": self.received, "in_flight": self.in_flight} | {str(k): n for k, n in self._ended.items()}


class MirrorCounts(Counts):
    """The mirrored requests of one target."""

    dispositions = (
        Disposition.FORWARDED, Disposition.BLOCKED, Disposition.WITHHELD, Disposition.EXCLUDED, Disposition.SAMPLED_OUT,
        Disposition.UNIDENTIFIED, Disposition.LOOPED, Disposition.ABORTED, Disposition.TOO_LARGE, Disposition.SHED,
        Disposition.STORE_LOST,
    )  # fmt: skip


class RecordCounts(Counts):
    """The recorded responses of one side of one target."""

    dispositions = (
        Disposition.ACCEPTED, Disposition.INELIGIBLE, Disposition.EXCLUDED, Disposition.SAMPLED_OUT,
        Disposition.REFUSED, Disposition.SHED, Disposition.STORE_LOST,
    )  # fmt: skip


class ControlCounts(Counts):
    """The requests that were sampled for the control of one target."""

    dispositions = (Disposition.OBSERVED, Disposition.SHED, Disposition.STORE_LOST)


class Examples:
    """The newest few examples of one problem, each with a count and its last path."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[int, str]] = OrderedDict()

    def add(self, what: str, path: str) -> None:
        """Add one to the count of `what`. Both texts are unredacted; the code that stores the texts redacts them."""
        what = _cut(what)
        count, _ = self._kept.pop(what, (0, ""))
        self._kept[what] = (count + 1, _cut(path.partition("?")[0]))
        if len(self._kept) > KEPT_EXAMPLES:
            self._kept.popitem(last=False)

    def forget(self) -> None:
        """Delete all examples."""
        self._kept.clear()

    def newest(self) -> list[tuple[str, int, str]]:
        """Return (what, count, last path), newest first. Paths have no query, because queries may contain secrets."""
        return [(what, count, path) for what, (count, path) in reversed(self._kept.items())]


def _cut(text: str) -> str:
    """Cut a text to its limit, without a partial word at the end, because redaction cannot detect half a secret."""
    if len(text) <= MAX_EXAMPLE_CHARS:
        return text
    text = text[:MAX_EXAMPLE_CHARS]
    return text[: max(text.rfind("/"), text.rfind(" ")) + 1] + "…"


@dataclass(eq=False)
class RouteLosses:
    """The number of requests per route that were lost before pairing, by target and `route row.disposition`.

    The number of routes per target is limited; further routes count as `_other`. Unreadable records, and requests that
    were lost when their process died, have no route and count only in the ledger.
    """

    route_of: Callable[[str, str, str], str] = lambda _target, _method, _path: OTHER
    most: int = 200
    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter[str]))
    _routes: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set[str]))

    def add(self, target: str, loss: str, method: str, path: str) -> None:
        """Count one lost request; `loss` is a row of the ledger and a disposition, such as `mirrored.blocked`."""
        route = self.route_of(target, method, path)
        routes = self._routes[target]
        if route not in routes:
            route = route if len(routes) < self.most else OTHER
            routes.add(route)
        self.counts[target][f"{route} {loss}"] += 1


@dataclass(slots=True)
class IntakeCounters:
    """All counts of this process, the reasons for shedding, and examples of items that were not compared.

    mirrored, controls: by target.  recorded: by target and side.  shed_reasons: by target and reason.
    """

    mirrored: defaultdict[str, MirrorCounts] = field(default_factory=lambda: defaultdict(MirrorCounts))
    recorded: defaultdict[tuple[str, Side], RecordCounts] = field(default_factory=lambda: defaultdict(RecordCounts))
    controls: defaultdict[str, ControlCounts] = field(default_factory=lambda: defaultdict(ControlCounts))
    losses: RouteLosses = field(default_factory=RouteLosses)
    shed_reasons: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    unknown_mirrored: Examples = field(default_factory=Examples)
    unknown_recorded: Examples = field(default_factory=Examples)
    unidentified: Examples = field(default_factory=Examples)
    loops: Examples = field(default_factory=Examples)
    blocked: Examples = field(default_factory=Examples)
    refusals: Examples = field(default_factory=Examples)

    def records(self, target: str) -> RecordCounts:
        """Return the counts of a target's records as the sum of its sides: the ledger's `recorded`."""
        total: Counter[str] = Counter()
        for (name, _), counts in self.recorded.items():
            if name == target:
                total.update(counts.as_dict())
        return RecordCounts(**total)

    def targets(self) -> set[str]:
        """Return the names of all targets that received anything."""
        return {*self.mirrored, *self.controls, *(name for name, _ in self.recorded)}
