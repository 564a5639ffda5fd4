"""Turn what shadowdiff's API returned into causes, and into the figures of one run.

If the service has no causes, a cause is a place and a kind of difference, over all routes. Everything here is a pure
function.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from release_labels import Cause, Labels, Match, causes_per_change, match, wholly_explained

from shadowdiff.model.relation import most_specific, relation_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from release_run import Shown

TOP = 10
MOST_VALUES = 50
OTHER = "other"

Differing = list[tuple[str, list[Any]]]
"""For each stored pair of the run that differs: its route, and its differences that no rule covers."""


def differing(shown: Shown) -> Differing:
    """Return the stored pairs of the run, without differences that are learned noise."""
    since = _time_ms(shown.verdict["window"].get("start"))
    places: list[Any] = shown.noise["places"] if shown.noise else []
    learned = {(one["route"], one["path"], one["kind"]) for one in places if one["state"] == "noise"}
    return [
        (
            sample["route"],
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


def by_place(pairs: Differing) -> list[Cause]:
    """Return a cause for each place and kind, over all routes, the most frequent first."""
    counts: Counter[str] = Counter()
    routes: defaultdict[str, set[str]] = defaultdict(set)
    values: defaultdict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    masks: dict[str, int] = {}
    for route, found in pairs:
        counts.update({cause_id(one) for one in found})
        for one in found:
            name = cause_id(one)
            routes[name].add(route)
            masks[name] = masks.get(name, -1) & one.get("relations", 0)
            if len(values[name]) < MOST_VALUES:
                values[name][_values(one)] = None
    return [
        Cause(
            id=name,
            place=name.rpartition(" ")[0],
            kind=name.rpartition(" ")[2],
            relation=(most_specific(masks[name], 0).name or OTHER).lower(),
            routes=tuple(sorted(routes[name])),
            pairs=count,
            values=tuple(values[name]),
        )
        for name, count in counts.most_common()
    ]


def _values(difference: Any) -> tuple[str, str]:
    return difference["primary"] or "", difference["candidate"] or ""


def from_api(listed: Iterable[Any], pairs: Differing) -> list[Cause]:
    """Return the service's causes with the values of their samples, without causes that it shows as v1's noise."""
    return [
        Cause(
            id=one["id"],
            place=one["place"],
            kind=one["kind"],
            relation=one["relation"],
            routes=tuple(route["route"] for route in one["routes"]),
            pairs=one["pairs"],
            values=tuple(_values_of(one, pairs)),
            title=one["sentence"],
        )
        for one in listed
        if not one["noise"]
    ]


def _values_of(cause: Any, pairs: Differing) -> list[tuple[str, str]]:
    routes = {route["route"] for route in cause["routes"]}
    places = set(cause["places"])
    found: dict[tuple[str, str], None] = {}
    for route, differences in pairs:
        if route in routes:
            for one in differences:
                fits = one["pattern"] in places and one["kind"] == cause["kind"]
                names = relation_names(one.get("relations", 0))
                if fits and len(found) < MOST_VALUES and (cause["relation"] in names or cause["relation"] == OTHER):
                    found[_values(one)] = None
    return list(found)


def figures(shown: Shown, labels: Labels) -> dict[str, Any]:
    """Return the figures of one run, with the names of everything that does not fit."""
    pairs = differing(shown)
    if shown.causes is None:
        causes = by_place(pairs)
        sets = Counter(frozenset(cause_id(one) for one in found) for _, found in pairs)
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
        "failures_labeled": sum(label.failure for label in labels.changes),
        "failures": shown.verdict["pairs"].get("incomparable", 0),
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
