"""A dictionary is learned from parts that many payloads share, and decompresses what it compressed."""

from __future__ import annotations

import json
import random
import uuid

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.store import Dictionary, ValueCodec, ValueCodecError, dictionary_id_of, learn
from shadowdiff.store.dictionary import CONTENT_BYTES, masked

DRAW = random.Random(7)


def order(number: int) -> bytes:
    """Return one of many similar payloads, with some unique content."""
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


def test_shared_parts_of_payloads_are_left_out() -> None:
    """Small payloads shrink to less than half, because names are not stored with each."""
    plain = zstandard.ZstdCompressor(level=1)
    more = [order(number) for number in range(1_000, 1_100)]
    assert sum(len(LEARNED.compress(one)) for one in more) < 0.5 * sum(len(plain.compress(one)) for one in more)
    assert len(LEARNED.content) <= CONTENT_BYTES


@given(st.binary(max_size=3000) | st.sampled_from(EXAMPLES))
def test_a_compressed_value_is_decompressed_to_the_same_value(payload: bytes) -> None:
    """Any payload is unchanged after compression and decompression."""
    assert payload == LEARNED.decompress(LEARNED.compress(payload), 1 << 20)


@given(st.binary(max_size=200))
def test_any_bytes_expand_or_say_why_not(damaged: bytes) -> None:
    """Data in the store is never trusted."""
    try:
        assert isinstance(LEARNED.decompress(damaged, 1 << 20), bytes)
    except zstandard.ZstdError:
        return


def test_it_is_known_by_its_content() -> None:
    """A copy from the store is the same dictionary, and any other content is another one."""
    assert LEARNED.id == Dictionary(LEARNED.content).id
    assert LEARNED.id != Dictionary(learn(EXAMPLES[:200]) or b"").id


def test_rare_words_are_not_learned() -> None:
    """Dictionaries outlive their examples, so they must not contain names of persons, sessions or numbers."""
    said = b" ".join(masked(EXAMPLES))
    for example in EXAMPLES:
        customer = json.loads(example)["customer"]
        assert customer["displayName"].encode() not in said
        assert customer["session"].rpartition("-")[2].encode() not in LEARNED.content
    assert b"orderNumber" in LEARNED.content


def test_a_long_word_is_not_learned_even_if_it_is_frequent() -> None:
    """A long word is a key or a token that one client uses for all its requests."""
    assert all(b"51HxQeT2eZvKYlo2C0ffee7777" in example for example in EXAMPLES)
    assert b"C0ffee7777" not in b" ".join(masked(EXAMPLES))
    assert b"C0ffee7777" not in LEARNED.content


def test_a_masked_example_keeps_its_length() -> None:
    """Bytes outside words stay, so the surrounding text is learned."""
    assert [len(one) for one in EXAMPLES] == [len(one) for one in masked(EXAMPLES)]
    assert [b'{"a": 1, "b": 1}'] * 2 == masked([b'{"a": 1, "b": 1}'] * 2)


def test_a_codec_that_learns_does_not_block_the_event_loop() -> None:
    """The thread yields after each example, because a busy thread blocks the event loop."""
    pauses: list[None] = []
    assert learn(EXAMPLES, lambda: pauses.append(None)) == learn(EXAMPLES)
    assert len(pauses) >= len(EXAMPLES)


@pytest.mark.parametrize("examples", [[], [b""], [b"one"], [b"x" * 10] * 3])
def test_too_little_teaches_nothing(examples: list[bytes]) -> None:
    """Payloads are then stored without a dictionary."""
    assert learn(examples) is None


@pytest.mark.parametrize("key", [None, bytes(range(32))], ids=["in clear", "sealed"])
def test_a_codec_names_the_dictionary_that_a_value_needs(key: bytes | None) -> None:
    """A reader can fetch the missing dictionary, and reports it if it does not exist."""
    stored = ValueCodec(key).encode(EXAMPLES[0], b"name", LEARNED)
    assert LEARNED.id == dictionary_id_of(stored)
    assert EXAMPLES[0] == ValueCodec(key, {LEARNED.id: LEARNED}.get).decode(stored, b"name")
    with pytest.raises(ValueCodecError, match=f"compression dictionary {LEARNED.id.hex()} is not in the store"):
        ValueCodec(key).decode(stored, b"name")
    assert dictionary_id_of(ValueCodec(key).encode(EXAMPLES[0], b"name")) is None


@pytest.mark.parametrize("learned", [False, True], ids=["by itself", "by a dictionary"])
def test_a_frame_that_is_too_long_is_refused_unread(*, learned: bool) -> None:
    """The frame's real or claimed size is too large, so no memory is allocated."""
    value_codec = ValueCodec(None, {LEARNED.id: LEARNED}.get, most_bytes=1000)
    dictionary = LEARNED if learned else None
    assert bytes(1000) == value_codec.decode(value_codec.encode(bytes(1000), b"name", dictionary), b"name")
    stored = value_codec.encode(bytes(1001), b"name", dictionary)
    says = stored[: 5 if learned else 1] + bytes.fromhex("28b52ffde0") + (1 << 40).to_bytes(8, "little") + b"\1\0\0"
    for one in (stored, says):
        with pytest.raises(ValueCodecError, match="more than 1000 bytes"):
            value_codec.decode(one, b"name")


@pytest.mark.parametrize("key", [None, bytes(range(32))], ids=["in clear", "sealed"])
def test_a_separate_part_is_decoded_with_the_value(key: bytes | None) -> None:
    """The part is compressed without the dictionary, which the rest needs. A damaged part gives an error."""
    value_codec = ValueCodec(key, {LEARNED.id: LEARNED}.get)
    apart = b"a body that is long " * 1000
    stored = value_codec.encode(EXAMPLES[0], b"name", LEARNED, apart)
    assert LEARNED.id == dictionary_id_of(stored)
    assert len(stored) < 500
    assert (EXAMPLES[0], apart) == value_codec.decode_parts(stored, b"name")
    assert EXAMPLES[0] == value_codec.decode(stored, b"name")
    assert (EXAMPLES[0], b"") == value_codec.decode_parts(value_codec.encode(EXAMPLES[0], b"name", LEARNED), b"name")
    with pytest.raises(ValueCodecError, match="damaged"):
        value_codec.decode(stored[:-1], b"name")
    with pytest.raises(ValueCodecError, match="damaged"):
        value_codec.decode(stored[:6], b"name")
    assert dictionary_id_of(b"") is None
