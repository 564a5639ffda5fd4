"""Test how keys are spread over shards, and shards over the masters of a cluster."""

from __future__ import annotations

from collections import Counter
from statistics import NormalDist

import pytest
from redis.crc import key_slot

from shadowdiff.pairing.request_id import key_of
from shadowdiff.store.keys import SLOTS, Keys, slot_of, tags

PAIRS = 64_000
SHARDS = 64


def test_pairs_lie_evenly_on_the_shards() -> None:
    """A chi-squared test shows that numbered ids are spread as evenly as random ones."""
    keys = Keys("sd", SHARDS)
    held = Counter(keys.shard_of(key_of("shop", f"pair-{number}", "x-diff-id", "GET", "/")) for number in range(PAIRS))
    each = PAIRS / SHARDS
    chi_squared = sum((held[shard] - each) ** 2 / each for shard in range(SHARDS))
    # Wilson and Hilferty's approximation with 63 degrees of freedom, at a probability of 1 in 1,000.
    freedom = SHARDS - 1
    spread = 2 / (9 * freedom)
    assert chi_squared < freedom * (1 - spread + NormalDist().inv_cdf(0.999) * spread**0.5) ** 3


@pytest.mark.parametrize("shards", [1, 2, 6, 16, 64, 100, 1024])
def test_the_first_shard_is_found_whatever_their_number(shards: int) -> None:
    """The first shard stores the number of shards, so another number is detected."""
    found = tags(shards)
    assert (0, shards) == (found[0], len(set(found)))


@pytest.mark.parametrize("shards", [6, 64, 1024])
@pytest.mark.parametrize("masters", [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 48, 64])
def test_masters_with_equal_ranges_hold_equally_many_shards(shards: int, masters: int) -> None:
    """The numbers differ by one or two at the ends of a range. With more masters than shards, some have no shard."""
    held = Counter(slot_of(tag) * masters // SLOTS for tag in tags(shards))
    counts = [held[master] for master in range(masters)]
    assert max(counts) - min(counts) <= 2
    assert max(counts) <= -(-shards // masters) + 1


def test_slots_are_those_of_redis() -> None:
    """Slots equal those of Redis' own client, from the full name of a key."""
    keys = Keys("sd", SHARDS)
    assert [key_slot(b"%d" % tag) for tag in tags(SHARDS)] == [slot_of(tag) for tag in tags(SHARDS)]
    assert slot_of(tags(SHARDS)[5]) == key_slot(keys.name(5, "ledger:shop"))
