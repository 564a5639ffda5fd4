"""Test dictionaries with several processes and a real Redis: learned once, found by every process, never missing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shadowdiff.model import Side
from shadowdiff.pairing import names
from shadowdiff.pairing.codec import EXAMPLES, Codec, Dictionaries, UndecodableError
from shadowdiff.store import dictionary_id_of
from tests.integration.pairing.conftest import KEY, Bench, observed, on_every_server

if TYPE_CHECKING:
    from shadowdiff.store import Dictionary, Store

DIGEST = b"k" * 16


def _body(number: int) -> bytes:
    articles = [{"article": n * number, "price": n} for n in range(20)]
    return json.dumps({"number": number, "articles": articles}).encode()


async def _teach(store: Store, codec: Codec) -> Dictionary:
    """Give a codec enough data to learn a dictionary, and make it learn."""
    dictionaries = Dictionaries(store, codec)
    await dictionaries.refresh()
    for number in range(EXAMPLES):
        codec.encode(DIGEST, observed(body=_body(number)))
    await dictionaries.refresh()
    assert codec.current is not None
    return codec.current


def _new_process(bench: Bench) -> Bench:
    """Return another process on the same store that has learned nothing."""
    return replace(bench, codec=Codec(KEY), settled=[], orphans=[], depths=[])


async def test_other_processes_load_a_learned_dictionary(store: Store) -> None:
    """A process without traffic loads the dictionary too."""
    codec, other = Codec(KEY), Codec(KEY)
    learned = await _teach(store, codec)
    await Dictionaries(store, other).refresh()
    assert other.current is not None
    assert learned.content == other.current.content
    observation = observed(body=_body(7))
    assert observation == other.decode(DIGEST, codec.encode(DIGEST, observation))


async def test_two_processes_that_learn_at_once_use_one_dictionary(store: Store) -> None:
    """Both use the dictionary that was stored first."""
    codecs = [Codec(KEY), Codec(KEY)]
    learned = await asyncio.gather(*(_teach(store, codec) for codec in codecs))
    for codec in codecs:
        await Dictionaries(store, codec).refresh()
    current = {codec.current.id for codec in codecs if codec.current is not None}
    assert 1 == len(current)
    assert current <= {one.id for one in learned}


async def test_pairs_are_the_same_with_a_dictionary(store: Store, bench: Bench) -> None:
    """Each shard gets the dictionary before the first observation that needs it."""
    await _teach(store, bench.codec)
    for side in (Side.PRIMARY, Side.CANDIDATE):
        await bench.park(*[observed(side, f"id-{number}", body=_body(7)) for number in range(40)])
    claims = await bench.claims()
    assert 40 == len(claims)
    assert all(dictionary_id_of(claim.primary) for claim in claims)
    assert {_body(7)} == {bench.body(claim, Side.CANDIDATE) for claim in claims}
    assert all(await bench.commit(claims))
    assert (await bench.ledger())["balanced"]


async def test_a_claim_loads_the_dictionary(store: Store, bench: Bench) -> None:
    """The process started after another one had learned the dictionary."""
    await _teach(store, bench.codec)
    await bench.park(observed(body=_body(1)), observed(Side.CANDIDATE, body=_body(2)))
    reader = _new_process(bench)
    (claim,) = await reader.claims()
    assert _body(1) == reader.body(claim, Side.PRIMARY)


async def test_taking_over_a_claim_loads_the_dictionary(store: Store, bench: Bench) -> None:
    """Taking over works like a new claim."""
    await _teach(store, bench.codec)
    await bench.park(observed(body=_body(1)), observed(Side.CANDIDATE, body=_body(2)))
    (left,) = await bench.claims("dead")
    reader = _new_process(bench)
    (claim,) = await reader.claimer("alive", left.shard).reclaim(10, 0.0)
    assert _body(1) == reader.body(claim, Side.PRIMARY)


async def test_a_sweep_loads_the_dictionary(store: Store, brief: Bench) -> None:
    """The doctor reads orphans as examples."""
    await _teach(store, brief.codec)
    await brief.park(observed(body=_body(1)))
    reader = _new_process(brief)
    await reader.sweep_until(lambda books: 1 == books["observations"]["primary"]["orphaned"])
    assert [_body(1)] == [orphan.observation.body for orphan in reader.orphans]


async def test_a_lost_dictionary_is_restored_before_parking(store: Store, bench: Bench) -> None:
    """A later reader of the observation then finds it."""
    await _teach(store, bench.codec)
    await bench.park(observed(body=_body(1)))
    await on_every_server(store, "FLUSHALL")
    await bench.park(observed(body=_body(1)), observed(Side.CANDIDATE, body=_body(2)))
    reader = _new_process(bench)
    (claim,) = await reader.claims()
    assert _body(2) == reader.body(claim, Side.CANDIDATE)


async def test_another_dictionary_is_learned_if_only_the_name_is_left(store: Store) -> None:
    """If the store evicted the content of a dictionary, the codec can still learn another one."""
    learned = await _teach(store, Codec(KEY))
    await store.command("DEL", store.keys.name(0, names.dictionary(learned.id)))
    late = Codec(KEY)
    await Dictionaries(store, late).refresh()
    assert late.current is None
    assert learned.id == (await _teach(store, late)).id


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
async def test_an_observation_with_an_unreadable_dictionary_is_an_error(store: Store, damage: str) -> None:
    """The observation is not decoded, and no value is guessed."""
    codec = Codec(KEY)
    learned = await _teach(store, codec)
    stored = codec.encode(DIGEST, observed(body=_body(1)))
    key = store.keys.name(0, names.dictionary(learned.id))
    closed: bytes = await store.command("GET", key)
    await store.command("SET", key, {"cut": closed[:-1], "empty": b"", "foreign": bytes(99)}[damage])
    late = Codec(KEY)
    await Dictionaries(store, late).fetch(0, [stored, None])
    with pytest.raises(UndecodableError, match=f"compression dictionary {learned.id.hex()} is not in the store"):
        late.decode(DIGEST, stored)
