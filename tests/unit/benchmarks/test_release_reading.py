"""Test how the benchmark of releases reads what shadowdiff shows."""

from __future__ import annotations

import re
from typing import Any

from release_labels import Label, Labels
from release_reading import DifferingPair, by_place, differing, figures, from_api
from release_run import Shown

LABELS = Labels(
    changes=(Label("price", "", re.compile("price")), Label("gone", "", re.compile("gone"))),
    noise=(Label("clock", "", re.compile("at$|took")),),
)


def difference(pattern: str, kind: str = "value", **changed: Any) -> dict[str, Any]:
    """Return a difference of a sample."""
    stated: dict[str, Any] = {
        "pattern": pattern,
        "kind": kind,
        "primary": "1",
        "candidate": "2",
        "rule": None,
        "change": {},
    }
    return stated | changed


def sample(route: str, at_ms: int, found: list[Any]) -> dict[str, Any]:
    """Return a sample as the API does."""
    return {"route": route, "method": "GET", "path": "/x", "at_ms": at_ms, "differences": found}


def pair(route: str, *found: Any) -> DifferingPair:
    """Return a pair that differs."""
    return DifferingPair(route, "GET /x", list(found))


def shown(*samples: tuple[str, list[Any]], noise: Any = None, causes: Any = None) -> Shown:
    """Return what shadowdiff shows, with samples one second after the start of the run."""
    return Shown(
        ledger={"balanced": True},
        verdict={
            "verdict": "fail", "window": {"start": "1970-01-01T00:00:10.000Z"},
            "pairs": {"compared": len(samples), "incomparable": 1},
        },
        noise=noise,
        causes=causes,
        samples=[sample(route, 11_000, found) for route, found in samples],
    )  # fmt: skip


def test_without_causes_a_cause_is_a_place_and_a_kind_over_all_routes() -> None:
    """Each pair counts once for a cause, however often it differs there."""
    price = difference("$.price")
    causes = by_place([pair("GET /a", price, price), pair("GET /b", price, difference("$.stock", "added"))])
    assert [("$.price", "value", 2), ("$.stock", "added", 1)] == [(one.place, one.kind, one.pairs) for one in causes]
    assert ("GET /a", "GET /b") == causes[0].routes
    assert (("1", "2"),) == causes[0].values


def test_the_marks_of_changed_words_are_not_a_part_of_values() -> None:
    """A label names the text that a version sends."""
    (cause,) = by_place([pair("GET /a", difference("$.at", primary="2[-.0-]", candidate="2{+.1+}"))])
    assert (("2.0", "2.1"),) == cause.values


def test_learned_noise_rules_and_earlier_runs_do_not_count() -> None:
    """Only differences that the verdict of the current run counts are causes."""
    one = shown(
        ("GET /a", [difference("$.at"), difference("$.price"), difference("$.ruled", rule="ignore")]),
        noise={"places": [{"route": "GET /a", "path": "$.at", "kind": "value", "state": "noise"}]},
    )
    one.samples.append(sample("GET /a", 9_000, [difference("$.before")]))
    assert [pair("GET /a", difference("$.price"))] == differing(one)


def test_a_cause_has_the_values_of_its_own_relation_and_noise_is_left_out() -> None:
    """Two causes at one place differ in their relation."""
    stated = {
        "kind": "value", "routes": [{"route": "GET /a"}], "place": "$.price", "places": ["$.price"], "pairs": 2,
        "sentence": "`price` differs", "noise": False,
    }  # fmt: skip
    scaled, other, noise = (
        stated | changed
        for changed in (
            {"id": "1", "relation": "case"},
            {"id": "2", "relation": "other"},
            {"id": "3", "relation": "other", "noise": True},
        )
    )
    pairs = [
        pair("GET /a", difference("$.price", change={"case": None}, candidate="X")),
        pair("GET /b", difference("$.price")),
    ]
    first, second = from_api([scaled, other, noise], pairs)
    assert (("1", "X"),) == first.values
    assert (("1", "X"),) == second.values
    assert "`price` differs" == first.title


def test_the_figures_name_everything_that_does_not_fit() -> None:
    """A missing change, noise and an unlabeled cause are listed; pairs are explained if all their causes are shown."""
    found = figures(
        shown(("GET /a", [difference("$.price"), difference("$.took")]), ("GET /a", [difference("$.x")])), LABELS
    )
    assert (3, 2, 1, 1, 1) == tuple(
        found[name] for name in ("causes", "reachable", "found", "noise_causes", "extra_causes")
    )
    assert ["gone"] == found["missing"]
    assert 1 == found["rules_needed"]
    assert 1 == found["incomparable"]
    assert 2 == found["mismatches"] == found["explained_by_top_ten"]


def test_the_service_counts_the_pairs_that_its_causes_explain() -> None:
    """If the service has causes, its own counts are reported."""
    page: dict[str, Any] = {"causes": [], "mismatches": 9, "top_ten": 7}
    found = figures(shown(causes=page), LABELS)
    assert (9, 7, "causes") == (found["mismatches"], found["explained_by_top_ten"], found["source"])
