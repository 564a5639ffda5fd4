"""Test which requests an overloaded service accepts."""

from __future__ import annotations

import uuid

import pytest

from shadowdiff.intake.overload import BEGINS_AT, ENDS_AT, LoadShedder, accepted_share, position_of
from shadowdiff.pairing.request_id import is_sampled

IDS = [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128))) for number in range(20_000)]


@pytest.mark.parametrize(
    ("fill", "expected"), [(0, 1), (BEGINS_AT, 1), ((BEGINS_AT + ENDS_AT) / 2, 0.5), (ENDS_AT, 0), (1, 0), (2, 0)]
)
def test_the_accepted_share_falls_as_the_queue_fills(fill: float, expected: float) -> None:
    """Everything is accepted up to the fill level of a burst, and nothing near the limit."""
    assert pytest.approx(expected) == accepted_share(fill)


@pytest.mark.parametrize("fill", [0.55, 0.7, 0.85])
def test_the_accepted_share_holds_for_any_ids(fill: float) -> None:
    """The share is right for UUIDs and counters."""
    for ids in (IDS, [f"run-{number:012d}" for number in range(20_000)]):
        shedder = LoadShedder(lambda _target: fill)
        taken = sum(shedder.accepts("shop", one) for one in ids)
        assert pytest.approx(accepted_share(fill), abs=0.02) == taken / len(ids)


def test_a_smaller_share_is_part_of_a_larger_one() -> None:
    """Processes under different load keep the same requests, and so do the two sides of a pair."""
    taken = [
        {one for one in IDS if LoadShedder(lambda _target, at=fill: at).accepts("shop", one)} for fill in (0.8, 0.6)
    ]
    assert taken[0] < taken[1]


def test_the_case_of_an_id_does_not_matter() -> None:
    """A proxy may change the case between the two sides."""
    assert position_of("A1B2-ü\udc80") == position_of("a1b2-Ü\udc80")


def test_shedding_is_independent_of_sampling() -> None:
    """With a shared hash, shedding would keep all of a 10 % sample down to a share of 10 %, and then nothing."""
    sampled = [one for one in IDS if is_sampled(one, 0.1)]
    taken = sum(position_of(one) < 0.5 for one in sampled)
    assert pytest.approx(0.5, abs=0.05) == taken / len(sampled)


def test_each_target_has_its_own_fill() -> None:
    """A flooded target does not affect the others."""
    shedder = LoadShedder({"flooded": 1.0, "quiet": 0.0}.__getitem__)
    assert [(False, True)] * 5 == [(shedder.accepts("flooded", one), shedder.accepts("quiet", one)) for one in IDS[:5]]
