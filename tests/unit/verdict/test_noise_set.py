"""Test noise: classes of values, the choice of the set, the test of excess, and the writes of a triple."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from shadowdiff.model import Comparison, Kind, Result, Side
from shadowdiff.verdict.counts import CountCaps
from shadowdiff.verdict.noise_set import Cells, Learned, Place, Source, choose, read_halves
from shadowdiff.verdict.sequence import is_excess, log_excess
from shadowdiff.verdict.triples import Recent, Tally, is_whole, read_triples
from shadowdiff.verdict.value_class import change_of, value_class
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
def test_value_class(shown: str, primary: str | None, expected: str) -> None:
    """The class depends on v1's value and the current time, so clocks and counters keep theirs."""
    assert expected == value_class(shown, NOW_MS, primary)


def test_status_is_its_own_class_and_a_missing_value_is_gone() -> None:
    """If 503 is noise, 500 is not."""
    assert "503" == change_of(Kind.STATUS, "200", "503", NOW_MS)
    assert "gone" == change_of(Kind.REMOVED, '"x"', None, NOW_MS)
    assert "order" == change_of(Kind.ORDER, "[1,2]", "[2,1]", NOW_MS)


def test_excess_needs_more_raw_than_noise() -> None:
    """Any number of equal counts is no evidence against v2."""
    assert 0.0 == log_excess(1000, 300, 300, 0.001)
    assert not is_excess(1000, 310, 300, 0.001, 0.01)
    assert is_excess(1000, 450, 300, 0.001, 0.01)


def test_few_triples_without_noise_are_enough() -> None:
    """Eight discordant triples are enough if v2 differs in all of them."""
    assert [False, True] == [is_excess(n, n, 0, 0.001, 0.01) for n in (6, 9)]


def test_allowed_excess_is_never_blamed() -> None:
    """At exactly the allowed excess the evidence does not grow."""
    assert all(log_excess(n, n // 1000, 0, 0.001) < math.log(100) for n in range(1000, 200_000, 7000))


@pytest.mark.parametrize("allowed", [0.0, 0.001, 0.05])
def test_bet_on_the_allowed_excess_has_no_average_gain(allowed: float) -> None:
    """The mean of M over all outcomes of three triples is at most 1 (M is capped at 1 if b <= c)."""
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
    """Return half of the triples that were learned for one route."""
    return Learned(triples={"GET /": triples}, cells=cells)


def chosen(first: dict[Place, Cells], second: dict[Place, Cells]) -> tuple[set[Place], int]:
    """Return the noisy paths, and the number of triples in which the first half's choice missed some."""
    made = choose((learned(first), learned(second)), version=1, source=Source.CONTROL, now_ms=0, candidate="")
    return {one.place for one in made.places}, made.missed


def test_place_where_two_instances_of_v1_differ_is_noise() -> None:
    """One difference between two responses of v1 is enough."""
    rare = PLACE._replace(path="$['rare']")
    places, missed = chosen({PLACE: Cells(both=500)}, {PLACE: Cells(both=500), rare: Cells(noise=1)})
    assert ({PLACE, rare}, 1) == (places, missed)


def test_place_where_only_v2_differs_is_not_noise() -> None:
    """A path is also not noise if v2 differs far more often than v1 does."""
    bug = PLACE._replace(path="$['bug']")
    worse = PLACE._replace(path="$['worse']")
    half = {bug: Cells(raw=50), worse: Cells(raw=200, noise=2)}
    assert (set(), 2) == chosen(half, half)


def test_status_of_a_failing_control_is_no_noise() -> None:
    """A failing control must not hide a failing v2."""
    failing = Place("GET /", "status", "status", "503")
    places, _ = chosen({failing: Cells(both=400)}, {failing: Cells(both=400)})
    assert set() == places


def test_the_place_of_all_lines_is_never_noise() -> None:
    """A place with lines of many kinds would hide a fault in each of them; a line of its own can be noise."""
    coarse, line = Place("GET /", "text[*]", "text", "text"), Place("GET /", "text[took {number}ms]", "text", "text")
    places, _ = chosen({coarse: Cells(both=500), line: Cells(both=500)}, {})
    assert places == {line}


def test_request_counts_once_per_second() -> None:
    """A repeated request counts again after a second."""
    recent = Recent()
    asked = [pair(candidate=observation(Side.CANDIDATE, at_ms=at_ms)) for at_ms in (0, 300, 999, 1000, 1500)]
    assert [True, False, False, True, False] == [recent.is_new(one) for one in asked]


def test_comparison_with_unlisted_differences_is_never_noise_only() -> None:
    """An unlisted difference may be a fault. Covered differences have their own list."""
    bounds = CountCaps(differences=2)
    cut = Comparison(result=Result.MISMATCH, differences=(difference(), difference("$['x']")), unlisted=3)
    covered = Comparison(result=Result.MISMATCH, differences=(difference(),), unlisted=3)
    assert (False, True) == (is_whole(cut, bounds), is_whole(covered, bounds))


def test_no_value_is_stored() -> None:
    """Only classes and counts are stored."""
    secret = "0b6f1f64-8f0e-4d7e-9d0e-ffffffffffff"
    changed = mismatch(difference("$['id']", primary='"a"', candidate=f'"{secret}"'))
    tally = Tally(CountCaps())
    triple = pair(control=observation(Side.CONTROL))
    writes = tally.learned("shop", 1, triple, changed, changed)
    assert writes
    assert secret not in repr(writes)
    again = pair(control=observation(Side.CONTROL), candidate=observation(Side.CANDIDATE, at_ms=NOW_MS + 5000))
    assert secret not in repr(tally.counted("run:shop:1:", frozenset({PLACE}), again, changed, changed))


def test_overflow_counts_as_missed() -> None:
    """An overflow never counts as no miss."""
    first, second = read_halves({'["GET /","0"]': 10, '["GET /","1"]': 11, "_other": 2}, {"_other": 3})
    assert (10, 13, 3) == (first.total, second.total, second.overflow)
    assert 4 == read_triples({'["GET /","all"]': 3, "_other": 4})["_other"].all
