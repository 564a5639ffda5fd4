"""Which requests are taken while there is more to do than can be done."""

from __future__ import annotations

import uuid

import pytest

from shadowdiff.intake.thinning import BEGINS_AT, ENDS_AT, Thinning, place_of, share_at
from shadowdiff.pairing import keeps

IDS = [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128))) for number in range(20_000)]


@pytest.mark.parametrize(
    ("fill", "expected"), [(0, 1), (BEGINS_AT, 1), ((BEGINS_AT + ENDS_AT) / 2, 0.5), (ENDS_AT, 0), (1, 0), (2, 0)]
)
def test_the_share_falls_as_the_queue_fills(fill: float, expected: float) -> None:
    """All up to a mark that a burst may reach, none shortly before the bound."""
    assert pytest.approx(expected) == share_at(fill)


@pytest.mark.parametrize("fill", [0.55, 0.7, 0.85])
def test_as_many_are_taken_as_the_share_says(fill: float) -> None:
    """Whatever the ids are made of."""
    for ids in (IDS, [f"run-{number:012d}" for number in range(20_000)]):
        thinning = Thinning(lambda _target: fill)
        taken = sum(thinning.takes("shop", one) for one in ids)
        assert pytest.approx(share_at(fill), abs=0.02) == taken / len(ids)


def test_who_is_taken_of_few_is_taken_of_more() -> None:
    """So that processes under unequal load, and two halves a moment apart, keep the same requests."""
    taken = [{one for one in IDS if Thinning(lambda _target, at=fill: at).takes("shop", one)} for fill in (0.8, 0.6)]
    assert taken[0] < taken[1]


def test_both_halves_are_drawn_alike_however_their_id_is_written() -> None:
    """A proxy may change the case of an id between the two."""
    assert place_of("A1B2-ü\udc80") == place_of("a1b2-Ü\udc80")


def test_the_draw_is_another_than_that_of_the_sample() -> None:
    """Else a target's sample of a tenth would be taken whole down to a share of a tenth, and nothing of it below."""
    sampled = [one for one in IDS if keeps(one, 0.1)]
    taken = sum(place_of(one) < 0.5 for one in sampled)
    assert pytest.approx(0.5, abs=0.05) == taken / len(sampled)


def test_each_target_has_its_own_fill() -> None:
    """One that is flooded leaves the others whole."""
    thinning = Thinning({"flooded": 1.0, "quiet": 0.0}.__getitem__)
    assert [(False, True)] * 5 == [(thinning.takes("flooded", one), thinning.takes("quiet", one)) for one in IDS[:5]]
