"""Dictionaries between processes and a real Redis: learned once, found by whoever needs them, never missing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Side
from shadowdiff.pairing import Codec, Dictionaries, UndecodableError, names
from shadowdiff.pairing.codec import EXAMPLES
from shadowdiff.store import dictionary_of
from tests.integration.pairing.conftest import KEY, Bench, observed, on_every_server

if TYPE_CHECKING:
    from shadowdiff.store import Dictionary, Store

DIGEST = b"k" * 16


def _body(number: int) -> bytes:
    articles = [{"article": n * number, "price": n} for n in range(20)]
    return json.dumps({"number": number, "articles": articles}).encode()


async def _teach(store: Store, codec: Codec) -> Dictionary:
    """Let a codec see enough to learn from, and learn."""
    dictionaries = Dictionaries(store, codec)
    await dictionaries.look()
    for number in range(EXAMPLES):
        codec.encode(DIGEST, observed(body=_body(number)))
    await dictionaries.look()
    assert codec.current is not None
    return codec.current


def _newcomer(bench: Bench) -> Bench:
    """Return another process at the same store, that has learned nothing."""
    return replace(bench, codec=Codec(KEY), settled=[], orphans=[], depths=[])


async def test_what_one_process_learns_the_others_take_up(store: Store) -> None:
    """One that sees no traffic at all, too."""
    codec, other = Codec(KEY), Codec(KEY)
    learned = await _teach(store, codec)
    await Dictionaries(store, other).look()
    assert other.current is not None
    assert learned.content == other.current.content
    observation = observed(body=_body(7))
    assert observation == other.decode(DIGEST, codec.encode(DIGEST, observation))


async def test_of_two_that_learn_at_once_one_is_taken_up_by_both(store: Store) -> None:
    """Whoever is quicker."""
    codecs = [Codec(KEY), Codec(KEY)]
    learned = await asyncio.gather(*(_teach(store, codec) for codec in codecs))
    for codec in codecs:
        await Dictionaries(store, codec).look()
    current = {codec.current.id for codec in codecs if codec.current is not None}
    assert 1 == len(current)
    assert current <= {one.id for one in learned}


async def test_pairs_are_the_same_with_a_dictionary(store: Store, bench: Bench) -> None:
    """In every shard, each of which is given the dictionary before the first observation that needs it."""
    await _teach(store, bench.codec)
    for side in (Side.PRIMARY, Side.CANDIDATE):
        await bench.park(*[observed(side, f"id-{number}", body=_body(7)) for number in range(40)])
    claims = await bench.claims()
    assert 40 == len(claims)
    assert all(dictionary_of(claim.primary) for claim in claims)
    assert {_body(7)} == {bench.body(claim, Side.CANDIDATE) for claim in claims}
    assert all(await bench.commit(claims))
    assert (await bench.ledger())["balanced"]


async def test_whoever_claims_gets_to_know_the_dictionary(store: Store, bench: Bench) -> None:
    """A process that began after another had learned it."""
    await _teach(store, bench.codec)
    await bench.park(observed(body=_body(1)), observed(Side.CANDIDATE, body=_body(2)))
    reader = _newcomer(bench)
    (claim,) = await reader.claims()
    assert _body(1) == reader.body(claim, Side.PRIMARY)


async def test_whoever_takes_a_dead_workers_claim_gets_to_know_it(store: Store, bench: Bench) -> None:
    """As it would for a new one."""
    await _teach(store, bench.codec)
    await bench.park(observed(body=_body(1)), observed(Side.CANDIDATE, body=_body(2)))
    (left,) = await bench.claims("dead")
    reader = _newcomer(bench)
    (claim,) = await reader.claimer("alive", left.shard).reclaim(10, 0.0)
    assert _body(1) == reader.body(claim, Side.PRIMARY)


async def test_whoever_sweeps_gets_to_know_the_dictionary(store: Store, brief: Bench) -> None:
    """Orphans are examples for the doctor."""
    await _teach(store, brief.codec)
    await brief.park(observed(body=_body(1)))
    reader = _newcomer(brief)
    await reader.sweep_until(lambda books: 1 == books["observations"]["primary"]["orphaned"])
    assert [_body(1)] == [orphan.observation.body for orphan in reader.orphans]


async def test_nothing_is_parked_under_a_dictionary_that_the_store_has_lost(store: Store, bench: Bench) -> None:
    """It is brought back first: whoever reads the observation later finds it."""
    await _teach(store, bench.codec)
    await bench.park(observed(body=_body(1)))
    await on_every_server(store, "FLUSHALL")
    await bench.park(observed(body=_body(1)), observed(Side.CANDIDATE, body=_body(2)))
    reader = _newcomer(bench)
    (claim,) = await reader.claims()
    assert _body(2) == reader.body(claim, Side.CANDIDATE)


async def test_where_only_the_name_is_left_another_is_learned(store: Store) -> None:
    """A store that threw the content away does not keep all processes from any."""
    learned = await _teach(store, Codec(KEY))
    await store.command("DEL", store.keys.name(0, names.dictionary(learned.id)))
    late = Codec(KEY)
    await Dictionaries(store, late).look()
    assert late.current is None
    assert learned.id == (await _teach(store, late)).id


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
async def test_what_needs_an_unreadable_dictionary_says_so(store: Store, damage: str) -> None:
    """It is no observation any more, and nothing is guessed."""
    codec = Codec(KEY)
    learned = await _teach(store, codec)
    stored = codec.encode(DIGEST, observed(body=_body(1)))
    key = store.keys.name(0, names.dictionary(learned.id))
    closed: bytes = await store.command("GET", key)
    await store.command("SET", key, {"cut": closed[:-1], "empty": b"", "foreign": bytes(99)}[damage])
    late = Codec(KEY)
    await Dictionaries(store, late).fetch(0, [stored, None])
    with pytest.raises(UndecodableError, match=f"its dictionary {learned.id.hex()} is not in the store"):
        late.decode(DIGEST, stored)
