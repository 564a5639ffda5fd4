"""Noise: classes of values, the choice of the set, the test of excess, and what a triple writes."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from shadowdiff.model import Comparison, Kind, Result, Side
from shadowdiff.verdict.change import change_of, value_class
from shadowdiff.verdict.excess import is_excess, log_excess
from shadowdiff.verdict.noise import Cells, Learned, Place, Source, choose
from shadowdiff.verdict.triples import Recent, Tally, TripleBounds, is_whole, read_halves, read_triples
from tests.fakes.traffic import difference, mismatch, observation, pair

NOW_MS = 1_772_000_000_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)


@pytest.mark.parametrize(
    ("shown", "primary", "expected"),
    [
        ('"0b6f1f64-8f0e-4d7e-9d0e-9c1f5a2b3c4d"', None, "uuid"),
        ('"null"', None, "'null'"),
        ("null", None, "null"),
        ('""', None, "empty"),
        ("[]", None, "empty"),
        ("true", None, "bool"),
        (f'"{NOW.isoformat()}"', None, "now"),
        ('"2001-01-01T00:00:00Z"', None, "past"),
        ('"2101-01-01T00:00:00+02:00"', None, "future"),
        ('"2026-13-45T99:00:00Z"', '"2026-01-01T00:00:00Z"', "text"),
        (str(NOW_MS), None, "now"),
        (str(NOW_MS // 1000), None, "now"),
        (f'"{NOW_MS // 1000 - 30}"', None, "'now'"),
        ("150", "120", "near"),
        ("900", "120", "x2"),
        ("12", "120", "/10"),
        ("0.00001", "120", "/1000"),
        ("-3", "120", "sign"),
        ("0", "120", "zero"),
        ("5", '"five"', "number"),
        ('"recommendation-7d9f8b6c5d-x2x4z"', None, "pod"),
        ('"9f86d081884c7d65"', None, "hex"),
        ('"eyJhbGciOiJIUzI1NiJ9_x"', None, "token"),
        ('"‹redacted:ab12›"', None, "token"),
        ("recommendation v2 from 'abc': 12", "recommendation v1 from 'def': 9", "text"),
        ('"a"', '"a long sentence about nothing"', "shorter text"),
        ('{"a":1', None, "object"),
        ("Mon, 02 Mar 2026 10:00:00 GMT", None, "future"),
    ],
)
def test_a_value_has_a_class(shown: str, primary: str | None, expected: str) -> None:
    """Relative to v1's value and to now, so that clocks and counters keep theirs."""
    assert expected == value_class(shown, NOW_MS, primary)


def test_a_status_is_its_own_class_and_what_is_missing_is_gone() -> None:
    """A 503 that is noise makes no 500 noise."""
    assert "503" == change_of(Kind.STATUS, "200", "503", NOW_MS)
    assert "gone" == change_of(Kind.REMOVED, '"x"', None, NOW_MS)
    assert "order" == change_of(Kind.ORDER, "[1,2]", "[2,1]", NOW_MS)


def test_excess_needs_more_raw_than_noise() -> None:
    """As much of both, however much, says nothing against v2."""
    assert 0.0 == log_excess(1000, 300, 300, 0.001)
    assert not is_excess(1000, 310, 300, 0.001, 0.01)
    assert is_excess(1000, 450, 300, 0.001, 0.01)


def test_a_handful_without_any_noise_is_enough() -> None:
    """Eight discordant triples, all of them v2's."""
    assert [False, True] == [is_excess(n, n, 0, 0.001, 0.01) for n in (6, 9)]


def test_excess_within_what_is_allowed_is_never_blamed() -> None:
    """At exactly the allowed excess the evidence does not grow."""
    assert all(log_excess(n, n // 1000, 0, 0.001) < math.log(100) for n in range(1000, 200_000, 7000))


@pytest.mark.parametrize("allowed", [0.0, 0.001, 0.05])
def test_a_stake_on_what_is_allowed_wins_nothing_on_average(allowed: float) -> None:
    """Over every way that three triples can go, the mean of M is at most 1 (where b <= c it is capped at 1)."""
    raw, noise = 0.2 + allowed, 0.2
    chances = {1: raw, -1: noise, 0: 1 - raw - noise}
    mean = 0.0
    for ways in ((x, y, z) for x in chances for y in chances for z in chances):
        b, c = ways.count(1), ways.count(-1)
        if b > c:
            mean += math.prod(chances[way] for way in ways) * math.exp(log_excess(3, b, c, allowed))
    assert mean <= 1.0


PLACE = Place("GET /", "$['id']", "value", "uuid")


def learned(cells: dict[Place, Cells], triples: int = 500) -> Learned:
    """Return one half of what was learned of one route."""
    return Learned(triples={"GET /": triples}, cells=cells)


def chosen(first: dict[Place, Cells], second: dict[Place, Cells]) -> tuple[set[Place], int]:
    """Return the places that are noise, and in how many triples the first half's choice missed some."""
    made = choose((learned(first), learned(second)), version=1, source=Source.CONTROL, now_ms=0, candidate="")
    return {one.place for one in made.places}, made.missed


def test_where_v1_differs_from_itself_is_noise() -> None:
    """Once proves that it can."""
    rare = PLACE._replace(path="$['rare']")
    places, missed = chosen({PLACE: Cells(both=500)}, {PLACE: Cells(both=500), rare: Cells(noise=1)})
    assert ({PLACE, rare}, 1) == (places, missed)


def test_where_v2_alone_differs_is_no_noise() -> None:
    """Nor where it differs far oftener than v1 does."""
    bug = PLACE._replace(path="$['bug']")
    worse = PLACE._replace(path="$['worse']")
    half = {bug: Cells(raw=50), worse: Cells(raw=200, noise=2)}
    assert (set(), 2) == chosen(half, half)


def test_a_control_that_mostly_fails_is_no_measure() -> None:
    """Else a broken control would hide a broken v2."""
    failing = Place("GET /", "status", "status", "503")
    places, _ = chosen({failing: Cells(both=400)}, {failing: Cells(both=400)})
    assert set() == places


def test_a_request_counts_once_a_second() -> None:
    """And again after it."""
    recent = Recent()
    asked = [pair(candidate=observation(Side.CANDIDATE, at_ms=at_ms)) for at_ms in (0, 300, 999, 1000, 1500)]
    assert [True, False, False, True, False] == [recent.is_new(one) for one in asked]


def test_a_comparison_cut_short_is_never_noise_alone() -> None:
    """What is not listed may be a fault; what rules cover is listed apart."""
    bounds = TripleBounds(differences=2)
    cut = Comparison(result=Result.MISMATCH, differences=(difference(), difference("$['x']")), unlisted=3)
    covered = Comparison(result=Result.MISMATCH, differences=(difference(),), unlisted=3)
    assert (False, True) == (is_whole(cut, bounds), is_whole(covered, bounds))


def test_no_value_goes_into_what_is_stored() -> None:
    """Classes and counts alone."""
    secret = "0b6f1f64-8f0e-4d7e-9d0e-ffffffffffff"
    changed = mismatch(difference("$['id']", primary='"a"', candidate=f'"{secret}"'))
    tally = Tally(TripleBounds())
    triple = pair(control=observation(Side.CONTROL))
    writes = tally.learned("shop", 1, triple, changed, changed)
    assert writes
    assert secret not in repr(writes)
    again = pair(control=observation(Side.CONTROL), candidate=observation(Side.CANDIDATE, at_ms=NOW_MS + 5000))
    assert secret not in repr(tally.counted("epoch:shop:1:", frozenset({PLACE}), again, changed, changed))


def test_what_overflowed_counts_as_missed() -> None:
    """Never as nothing."""
    first, second = read_halves({'["GET /","0"]': 10, '["GET /","1"]': 11, "_other": 2}, {"_other": 3})
    assert (10, 13, 3) == (first.total, second.total, second.overflow)
    assert 4 == read_triples({'["GET /","all"]': 3, "_other": 4})["_other"].all
