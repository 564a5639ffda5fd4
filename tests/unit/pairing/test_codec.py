"""The store returns observations unchanged, or an error with the reason."""

from __future__ import annotations

import contextlib
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.model import Failure, Observation, Side
from shadowdiff.pairing.codec import SEPARATE_BODY_BYTES, Codec, UndecodableError
from shadowdiff.store import MAX_VALUE_BYTES, Dictionary, dictionary_id_of, learn

KEY = b"k" * 16
LEARNED = Dictionary(learn([b'{"number": %d, "name": "article"}' % number * 4 for number in range(300)]) or b"")
FIELDS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=4).map(tuple)
OBSERVATIONS = st.builds(
    Observation,
    side=st.sampled_from(Side),
    target=st.text(),
    id=st.text(),
    id_source=st.text(),
    method=st.text(),
    path=st.text(),
    host=st.text(),
    status=st.integers(0, 599),
    failure=st.none() | st.sampled_from(Failure),
    headers=FIELDS,
    body=st.binary() | st.binary(min_size=600, max_size=2000),
    body_bytes=st.integers(0, 2**40),
    trailers=FIELDS,
    attempt=st.integers(0, 100),
    duration_ms=st.floats(allow_nan=False),
    at_ms=st.integers(0, 2**50),
    request_headers=FIELDS,
    request_body=st.binary(),
)


@given(OBSERVATIONS, st.none() | st.binary(min_size=32, max_size=32))
def test_an_observation_comes_back_as_it_went_in(observation: Observation, buffer_key: bytes | None) -> None:
    """The codec works with and without a buffer key, for small and compressed bodies."""
    codec = Codec(buffer_key)
    assert observation == codec.decode(KEY, codec.encode(KEY, observation))


@given(
    OBSERVATIONS,
    st.none() | st.binary(min_size=32, max_size=32),
    st.integers(SEPARATE_BODY_BYTES - 2, SEPARATE_BODY_BYTES + 2) | st.just(0),
)
def test_by_a_dictionary_it_comes_back_too(observation: Observation, buffer_key: bytes | None, long: int) -> None:
    """Short bodies and separately stored long ones are decoded with a dictionary."""
    codec = Codec(buffer_key)
    codec.add_dictionary(LEARNED)
    codec.current = LEARNED
    padded = msgspec.structs.replace(observation, body=observation.body.ljust(long, b"x"))
    stored = codec.encode(KEY, padded)
    assert LEARNED.id == dictionary_id_of(stored)
    assert padded == codec.decode(KEY, stored)


@given(st.binary())
def test_any_bytes_decode_or_say_why_not(stored: bytes) -> None:
    """Data in the store is never trusted to be an observation."""
    for codec in (Codec(None), Codec(b"b" * 32)):
        with contextlib.suppress(UndecodableError):
            assert isinstance(codec.decode(KEY, stored), Observation)


def test_a_too_deeply_nested_value_is_not_an_observation() -> None:
    """The value is an observation, except for deep nesting in a field of a later version."""
    fields: list[object] = msgspec.msgpack.decode(msgspec.msgpack.encode(_observation()))
    nested = b"\xdc" + (len(fields) + 1).to_bytes(2) + b"".join(map(msgspec.msgpack.encode, fields))
    codec = Codec()
    with pytest.raises(UndecodableError, match="damaged"):
        codec.decode(KEY, codec.value_codec.encode(nested + b"\x91" * 100_000 + b"\xc0", KEY))


def test_a_long_body_is_decoded_if_its_length_is_allowed() -> None:
    """The decompression limit follows the limit for bodies."""
    body = bytes(MAX_VALUE_BYTES + 1)
    stored = Codec(None, len(body)).encode(KEY, msgspec.structs.replace(_observation(), body=body))
    assert body == Codec(None, len(body)).decode(KEY, stored).body
    with pytest.raises(UndecodableError, match="more than"):
        Codec().decode(KEY, stored)


def _observation() -> Observation:
    return Observation(
        side=Side.PRIMARY, target="t", id="i", id_source="x-diff-id", method="GET", path="/", host="t", status=200,
        body=b"secret" * 200,
    )  # fmt: skip


def test_encrypted_values_contain_no_plain_text() -> None:
    """The encrypted form contains neither body nor target in plain text."""
    stored = Codec(os.urandom(32)).encode(KEY, _observation())
    assert b"secret" not in stored


@pytest.mark.parametrize(
    ("reader", "key", "reason"),
    [
        (Codec(b"c" * 32), KEY, "another buffer key"),
        (Codec(b"b" * 32), b"x" * 16, "another buffer key"),
        (Codec(None), KEY, "no buffer key"),
    ],
)
def test_a_value_opens_only_under_its_own_keys(reader: Codec, key: bytes, reason: str) -> None:
    """The error names a wrong buffer key, or a value under another pair's key."""
    stored = Codec(b"b" * 32).encode(KEY, _observation())
    with pytest.raises(UndecodableError, match=reason):
        reader.decode(key, stored)
