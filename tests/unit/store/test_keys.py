"""How keys are spread over shards, and shards over the masters of a cluster."""

from __future__ import annotations

from collections import Counter
from statistics import NormalDist

import pytest
from redis.crc import key_slot

from shadowdiff.pairing import key_of
from shadowdiff.store.keys import SLOTS, Keys, slot_of, tags

PAIRS = 64_000
SHARDS = 64


def test_pairs_lie_evenly_on_the_shards() -> None:
    """By a chi-squared test: numbered ids are no less evenly spread than chance would have them."""
    keys = Keys("sd", SHARDS)
    held = Counter(keys.shard_of(key_of("shop", f"pair-{number}", "x-diff-id", "GET", "/")) for number in range(PAIRS))
    each = PAIRS / SHARDS
    chi_squared = sum((held[shard] - each) ** 2 / each for shard in range(SHARDS))
    # Wilson and Hilferty's cube: with 63 degrees of freedom, what chance exceeds once in a thousand times.
    freedom = SHARDS - 1
    spread = 2 / (9 * freedom)
    assert chi_squared < freedom * (1 - spread + NormalDist().inv_cdf(0.999) * spread**0.5) ** 3


@pytest.mark.parametrize("shards", [1, 2, 6, 16, 64, 100, 1024])
def test_the_first_shard_is_found_whatever_their_number(shards: int) -> None:
    """The number of shards is noted in the first, so that a store that was made with another number is recognised."""
    found = tags(shards)
    assert (0, shards) == (found[0], len(set(found)))


@pytest.mark.parametrize("shards", [6, 64, 1024])
@pytest.mark.parametrize("masters", [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 48, 64])
def test_masters_with_equal_ranges_hold_equally_many_shards(shards: int, masters: int) -> None:
    """But for one or two at the ends of a range, and as few as there are where there are more masters."""
    held = Counter(slot_of(tag) * masters // SLOTS for tag in tags(shards))
    counts = [held[master] for master in range(masters)]
    assert max(counts) - min(counts) <= 2
    assert max(counts) <= -(-shards // masters) + 1


def test_slots_are_those_of_redis() -> None:
    """As its own client computes them, of the whole name of a key."""
    keys = Keys("sd", SHARDS)
    assert [key_slot(b"%d" % tag) for tag in tags(SHARDS)] == [slot_of(tag) for tag in tags(SHARDS)]
    assert slot_of(tags(SHARDS)[5]) == key_slot(keys.name(5, "ledger:shop"))
