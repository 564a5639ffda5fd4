"""A dictionary is learned from what many payloads say, and gives back what it compressed."""

from __future__ import annotations

import json
import random
import uuid

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.store import Dictionary, UnopenableError, Vault, dictionary_of, learn
from shadowdiff.store.dictionary import CONTENT_BYTES, masked

DRAW = random.Random(7)


def order(number: int) -> bytes:
    """Return one of many like payloads, with what only it says."""
    person, session = f"person{DRAW.getrandbits(64):x}", str(uuid.UUID(int=DRAW.getrandbits(128)))
    items = [{"sku": f"{DRAW.randrange(10_000):05d}", "priceInCents": DRAW.randrange(9_999)} for _ in range(6)]
    said = {
        "orderNumber": number,
        "customer": {"displayName": person, "session": session},
        "items": items,
        "token": "sk_live_51HxQeT2eZvKYlo2C0ffee7777",
        "deliveredFrom": "warehouse-east",
    }
    return json.dumps(said).encode()


EXAMPLES = [order(number) for number in range(300)]
LEARNED = Dictionary(learn(EXAMPLES) or b"")


def test_it_leaves_out_what_the_payloads_share() -> None:
    """Less than half of what is left without it, so small payloads pay for no names."""
    plain = zstandard.ZstdCompressor(level=1)
    more = [order(number) for number in range(1_000, 1_100)]
    assert sum(len(LEARNED.compress(one)) for one in more) < 0.5 * sum(len(plain.compress(one)) for one in more)
    assert len(LEARNED.content) <= CONTENT_BYTES


@given(st.binary(max_size=3000) | st.sampled_from(EXAMPLES))
def test_what_was_compressed_comes_back(payload: bytes) -> None:
    """Whatever it is."""
    assert payload == LEARNED.expand(LEARNED.compress(payload), 1 << 20)


@given(st.binary(max_size=200))
def test_any_bytes_expand_or_say_why_not(damaged: bytes) -> None:
    """What lies in the store is never trusted."""
    try:
        assert isinstance(LEARNED.expand(damaged, 1 << 20), bytes)
    except zstandard.ZstdError:
        return


def test_it_is_known_by_its_content() -> None:
    """So that a copy from the store is the same, and another one is not."""
    assert LEARNED.id == Dictionary(LEARNED.content).id
    assert LEARNED.id != Dictionary(learn(EXAMPLES[:200]) or b"").id


def test_nothing_that_few_say_is_learned() -> None:
    """A dictionary outlives what it was learned from: names of persons, sessions and numbers do not stay."""
    said = b" ".join(masked(EXAMPLES))
    for example in EXAMPLES:
        customer = json.loads(example)["customer"]
        assert customer["displayName"].encode() not in said
        assert customer["session"].rpartition("-")[2].encode() not in LEARNED.content
    assert b"orderNumber" in LEARNED.content


def test_a_long_word_is_not_learned_however_many_say_it() -> None:
    """It is a key or a token that one caller uses for all its requests."""
    assert all(b"51HxQeT2eZvKYlo2C0ffee7777" in example for example in EXAMPLES)
    assert b"C0ffee7777" not in b" ".join(masked(EXAMPLES))
    assert b"C0ffee7777" not in LEARNED.content


def test_a_masked_example_is_as_long_as_it_was() -> None:
    """And bytes that are no words stay, so that what surrounds them is learned."""
    assert [len(one) for one in EXAMPLES] == [len(one) for one in masked(EXAMPLES)]
    assert [b'{"a": 1, "b": 1}'] * 2 == masked([b'{"a": 1, "b": 1}'] * 2)


def test_who_learns_lets_others_go_on() -> None:
    """After each example, since a thread that computes without a break keeps the loop from its turns."""
    pauses: list[None] = []
    assert learn(EXAMPLES, lambda: pauses.append(None)) == learn(EXAMPLES)
    assert len(pauses) >= len(EXAMPLES)


@pytest.mark.parametrize("examples", [[], [b""], [b"one"], [b"x" * 10] * 3])
def test_too_little_teaches_nothing(examples: list[bytes]) -> None:
    """Then payloads are stored as they are."""
    assert learn(examples) is None


@pytest.mark.parametrize("key", [None, bytes(range(32))], ids=["in clear", "sealed"])
def test_a_vault_says_which_dictionary_a_value_needs(key: bytes | None) -> None:
    """Whoever reads it can look for it, and without it says so."""
    stored = Vault(key).close(EXAMPLES[0], b"name", LEARNED)
    assert LEARNED.id == dictionary_of(stored)
    assert EXAMPLES[0] == Vault(key, {LEARNED.id: LEARNED}.get).open(stored, b"name")
    with pytest.raises(UnopenableError, match=f"its dictionary {LEARNED.id.hex()} is not in the store"):
        Vault(key).open(stored, b"name")
    assert dictionary_of(Vault(key).close(EXAMPLES[0], b"name")) is None


@pytest.mark.parametrize("learned", [False, True], ids=["by itself", "by a dictionary"])
def test_a_frame_that_is_too_long_is_refused_unread(*, learned: bool) -> None:
    """Whether it is so, or only says so: no room is made for it."""
    vault = Vault(None, {LEARNED.id: LEARNED}.get, most_bytes=1000)
    dictionary = LEARNED if learned else None
    assert bytes(1000) == vault.open(vault.close(bytes(1000), b"name", dictionary), b"name")
    stored = vault.close(bytes(1001), b"name", dictionary)
    says = stored[: 5 if learned else 1] + bytes.fromhex("28b52ffde0") + (1 << 40).to_bytes(8, "little") + b"\1\0\0"
    for one in (stored, says):
        with pytest.raises(UnopenableError, match="longer than 1000 bytes"):
            vault.open(one, b"name")


@pytest.mark.parametrize("key", [None, bytes(range(32))], ids=["in clear", "sealed"])
def test_what_is_kept_apart_comes_back_beside_it(key: bytes | None) -> None:
    """It is compressed without the dictionary, which the rest still needs; a damaged one says so."""
    vault = Vault(key, {LEARNED.id: LEARNED}.get)
    apart = b"a body that is long " * 1000
    stored = vault.close(EXAMPLES[0], b"name", LEARNED, apart)
    assert LEARNED.id == dictionary_of(stored)
    assert len(stored) < 500
    assert (EXAMPLES[0], apart) == vault.open_both(stored, b"name")
    assert EXAMPLES[0] == vault.open(stored, b"name")
    assert (EXAMPLES[0], b"") == vault.open_both(vault.close(EXAMPLES[0], b"name", LEARNED), b"name")
    with pytest.raises(UnopenableError, match="damaged"):
        vault.open(stored[:-1], b"name")
    with pytest.raises(UnopenableError, match="damaged"):
        vault.open(stored[:6], b"name")
    assert dictionary_of(b"") is None
