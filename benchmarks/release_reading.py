"""Turn what shadowdiff's API returned into causes, and into the figures of one run.

If the service has no causes, a cause is a place and a kind of difference, over all routes. Everything here is a pure
function.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from release_labels import Cause, Labels, Match, causes_per_change, match, wholly_explained

if TYPE_CHECKING:
    from collections.abc import Iterable

    from release_run import Shown

TOP = 10
MOST_VALUES = 50
OTHER = "other"
MARKS = re.compile(r"\[-|-\]|\{\+|\+\}")


@dataclass(frozen=True, slots=True)
class DifferingPair:
    """A stored pair of the run that differs.

    request: its method and path. differences: those that neither a rule nor learned noise covers.
    """

    route: str
    request: str
    differences: list[Any]


def differing(shown: Shown) -> list[DifferingPair]:
    """Return the stored pairs of the run, without differences that are learned noise."""
    since = _time_ms(shown.verdict["window"].get("start"))
    places: list[Any] = shown.noise["places"] if shown.noise else []
    learned = {(one["route"], one["path"], one["kind"]) for one in places if one["state"] == "noise"}
    return [
        DifferingPair(
            sample["route"],
            f"{sample['method']} {sample['path']}",
            [
                one
                for one in sample["differences"]
                if one["rule"] is None and (sample["route"], one["pattern"], one["kind"]) not in learned
            ],
        )
        for sample in shown.samples
        if sample["at_ms"] >= since
    ]


def _time_ms(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000 if text else 0.0


def cause_id(difference: Any) -> str:
    """Return the id of a cause by place and kind."""
    return f"{difference['pattern']} {difference['kind']}"


@dataclass(slots=True)
class _Seen:
    """What the samples of one cause have."""

    pairs: int = 0
    relations: list[str] | None = None
    routes: set[str] = field(default_factory=set[str])
    requests: dict[str, None] = field(default_factory=dict[str, None])
    values: dict[tuple[str, str], None] = field(default_factory=dict[tuple[str, str], None])

    def add(self, pair: DifferingPair, found: list[Any]) -> None:
        """Add one pair with its differences of this cause."""
        self.pairs += 1
        self.routes.add(pair.route)
        self.requests[pair.request] = None
        for one in found:
            names = list(one["change"])
            self.relations = [name for name in names if self.relations is None or name in self.relations]
            if len(self.values) < MOST_VALUES:
                self.values[_plain(one["primary"]), _plain(one["candidate"])] = None


def _plain(value: str | None) -> str:
    """Return a value without the marks of changed words."""
    return MARKS.sub("", value or "")


def by_place(pairs: list[DifferingPair]) -> list[Cause]:
    """Return a cause for each place and kind, over all routes, the most frequent first."""
    seen: defaultdict[str, _Seen] = defaultdict(_Seen)
    for pair in pairs:
        for name in {cause_id(one) for one in pair.differences}:
            seen[name].add(pair, [one for one in pair.differences if cause_id(one) == name])
    return [
        Cause(
            id=name,
            place=name.rpartition(" ")[0],
            kind=name.rpartition(" ")[2],
            relation=next(iter(one.relations or ()), OTHER),
            routes=tuple(sorted(one.routes)),
            pairs=one.pairs,
            values=tuple(one.values),
            requests=tuple(one.requests),
        )
        for name, one in sorted(seen.items(), key=lambda item: -item[1].pairs)
    ]


def from_api(listed: Iterable[Any], pairs: list[DifferingPair]) -> list[Cause]:
    """Return the service's causes with what their samples have, without causes that it shows as v1's noise."""
    causes: list[Cause] = []
    for one in listed:
        if not one["noise"]:
            seen = _seen(one, pairs)
            routes = tuple(route["route"] for route in one["routes"])
            causes.append(
                Cause(
                    id=one["id"],
                    place=one["place"],
                    kind=one["kind"],
                    relation=one["relation"],
                    routes=routes,
                    pairs=one["pairs"],
                    values=tuple(seen.values),
                    requests=tuple(seen.requests),
                    title=one["sentence"],
                )
            )
    return causes


def _seen(cause: Any, pairs: list[DifferingPair]) -> _Seen:
    """Return what the samples of one cause of the service have."""
    routes = {route["route"] for route in cause["routes"]}
    places, relation = set(cause["places"]), cause["relation"]

    def fits(one: Any) -> bool:
        at = one["pattern"] in places and one["kind"] == cause["kind"]
        return at and (relation == OTHER or relation in one["change"])

    seen = _Seen()
    for pair in pairs:
        found = [one for one in pair.differences if fits(one)]
        if found and pair.route in routes:
            seen.add(pair, found)
    return seen


def figures(shown: Shown, labels: Labels) -> dict[str, Any]:
    """Return the figures of one run, with the names of everything that does not fit."""
    pairs = differing(shown)
    if shown.causes is None:
        causes = by_place(pairs)
        sets = Counter(frozenset(map(cause_id, pair.differences)) for pair in pairs)
        top = frozenset(cause.id for cause in causes[:TOP])
        mismatches = sum(count for ids, count in sets.items() if ids)
        explained = wholly_explained(list(sets.items()), top)
    else:
        causes = from_api(shown.causes["causes"], pairs)
        mismatches, explained = shown.causes["mismatches"], shown.causes["top_ten"]
    result = match(labels, causes)
    return {
        "requests": shown.sent,
        "lost": shown.lost,
        "balanced": shown.ledger["balanced"],
        "pairs": shown.verdict["pairs"],
        "fingerprints": len(shown.fingerprints),
        "source": "places" if shown.causes is None else "causes",
        "causes": len(causes),
        "reachable": sum(label.expected for label in labels.changes),
        "found": len(result.found),
        "causes_per_change": round(causes_per_change(result), 2),
        "noise_causes": len(result.noise),
        "extra_causes": len(result.extra),
        "mismatches": mismatches,
        "explained_by_top_ten": explained,
        "rules_needed": len({next(label.name for label in labels.noise if label.matches(one)) for one in result.noise}),
        "incomparable": shown.verdict["pairs"].get("incomparable", 0),
        "verdict": shown.verdict["verdict"],
        "pairs_until_fail": shown.failed_after,
        **_details(result),
    }


def _details(result: Match) -> dict[str, Any]:
    return {
        "missing": [label.name for label in result.missing],
        "changes": {name: [show(one) for one in causes] for name, causes in result.found.items()},
        "noise": [show(one) for one in result.noise],
        "extra": [show(one) for one in result.extra],
    }


def show(cause: Cause) -> str:
    """Return one line about a cause."""
    routes = ", ".join(cause.routes[:3]) + (f" and {len(cause.routes) - 3} more" if len(cause.routes) > 3 else "")
    return f"{cause.place} {cause.kind} {cause.relation}: {cause.pairs} pairs of {routes}; {cause.title}".rstrip("; ")
