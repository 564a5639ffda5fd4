"""Test which texts carry an erased value."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import msgspec
import pytest

from shadowdiff.erasure.erasure import Eraser, ErasureRequest
from shadowdiff.erasure.matcher import Matcher
from shadowdiff.model import Side
from shadowdiff.queries.errors import RequestError
from shadowdiff.queries.visible import VISIBLE
from shadowdiff.report import Body, Redactor, Sample, SampleSettings, newest_samples, whole_samples
from tests.fakes.erasure import RecordedErasure
from tests.fakes.samples import sample_writes
from tests.fakes.shop import shop_target, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import mismatch, observation, pair

REDACTOR = Redactor(b"a key")


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("4711", "/customers/4711", True),
        ("4711", "/customers/4711?a=b", True),
        ("4711", "/x?customer=4711", True),
        ("4711", '{"customer": 4711}', True),
        ("4711", '{"customer": "4711"}', True),
        ("4711", "/x?to=%2Fcustomers%2F4711", True),
        ("4711", '{"text": "first\\n4711"}', True),
        ("4711", '{"text": "\\u00224711"}', True),
        ("4711", "customer_4711", True),
        ("4711", "/customers/47112", False),
        ("4711", "/customers/14711", False),
        ("4711", "a4711", False),
        ("Zoë Q", "/people/Zo%C3%AB%20Q", True),
        ("Zoë Q", "/people?name=Zo%C3%AB+Q", True),
        ("Zoë Q", '{"name": "Zo\\u00eb Q"}', True),
        ("Zoë Q", '{"name": "zoë q"}', True),
        ("a/b", '{"path": "a\\/b"}', True),
        ("a.b", "/axb", False),
        ("0B6F1F64-8F0E", "0b6f1f64-8f0e", True),
        ("jo@example.com", "mail " + REDACTOR.text("jo@example.com"), True),
        ("jo@example.com", "mail " + REDACTOR.text("al@example.com"), False),
    ],
)
def test_a_value_is_found_as_a_whole_word_in_the_usual_encodings(value: str, text: str, expected: bool) -> None:
    """A part of a longer word is another value; a secret is found by its placeholder."""
    matcher = Matcher(value, REDACTOR)
    assert expected == matcher.is_in(text)
    assert not matcher.is_in(matcher.hide(text))


async def _sample(**changes: Any) -> Sample:
    store = MemoryStore()
    one = pair(observation(Side.PRIMARY, b'{"a": 1}'), observation(Side.CANDIDATE, b'{"a": 2}', **changes))
    store.commit(sample_writes(one, mismatch(), SampleSettings(redactor=REDACTOR), 1))
    (line,) = await newest_samples(store, "shop", 1)
    (whole,) = await whole_samples(store, [line.id])
    return whole


async def test_a_sample_carries_what_is_in_any_of_its_texts() -> None:
    """The search includes the request id, path, headers, bodies and differences, and bodies that are not text."""
    sample = await _sample(path="/customers/4711", request_headers=((b"x-request-id", b"id-1"), (b"x-user", b"erin")))
    for value in ("4711", "id-1", "erin", "21.99"):
        assert Matcher(value, REDACTOR).is_in_sample(sample)
    assert not Matcher("4712", REDACTOR).is_in_sample(sample)
    binary = Body(text=base64.b64encode(b"\x00\x01erin-2\x00").decode(), base64=True)
    primary = msgspec.structs.replace(sample.primary, body=binary)
    assert Matcher("erin-2", REDACTOR).is_in_sample(msgspec.structs.replace(sample, primary=primary))


def test_a_waiting_observation_carries_what_is_in_its_compressed_body_and_its_secrets() -> None:
    """An observation is not redacted yet, so the search redacts it to compare the hash of a secret."""
    headers = ((b"content-type", b"application/json"), (b"content-encoding", b"gzip"), (b"set-cookie", b"sid=s3cr3t"))
    one = observation(Side.PRIMARY, gzip.compress(b'{"customer": 4711, "password": "hunter22"}'), headers=headers)
    assert Matcher("4711", REDACTOR).is_in_observation(one)
    for secret in ("hunter22", "s3cr3t"):
        digits = REDACTOR.secret(secret).removeprefix("‹redacted:").removesuffix("›")
        assert Matcher(digits, REDACTOR, is_secret_hash=True).is_in_observation(one)
    assert not Matcher("0" * 12, REDACTOR, is_secret_hash=True).is_in_observation(one)


async def test_an_erasure_reaches_only_the_targets_of_its_caller() -> None:
    """Without a target, it erases in every target that the caller may use."""
    targets = tuple(map(shop_target, ("shop", "vault")))
    stored = RecordedErasure()
    eraser = Eraser(web_parts(MemoryStore(), targets=targets).queries, stored, REDACTOR, list)  # pyright: ignore[reportArgumentType]
    request = ErasureRequest(path_value="4711", dry_run=True)
    matcher = eraser.matcher(request)
    assert 2 == (await eraser.run(request, matcher)).samples
    assert {"shop", "vault"} == {target for _, target, _ in stored.erased}
    stored.erased.clear()
    token = VISIBLE.set(frozenset({"shop"}))
    try:
        assert 1 == (await eraser.run(request, matcher)).samples
        with pytest.raises(RequestError, match="vault"):
            await eraser.run(msgspec.structs.replace(request, target="vault"), matcher)
    finally:
        VISIBLE.reset(token)
    kinds = {"waiting", "samples", "attributes", "fingerprints", "notes", "parameters", "doctor_examples"}
    assert {(kind, "shop", True) for kind in kinds} == set(stored.erased)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (ErasureRequest(), "no value given: give exactly one of `request_id`, `path_value`, `secret_hash`"),
        (ErasureRequest(path_value=" "), "no value given"),
        (ErasureRequest(request_id="a", path_value="b"), "request_id and path_value given: give exactly one of"),
        (ErasureRequest(secret_hash="hunter22"), "secret_hash is no placeholder: write the 12 digits"),
        (ErasureRequest(path_value="x" * 1001), "path_value has 1,001 characters; at most 1,000 are allowed"),
    ],
)
def test_an_error_names_the_field_and_never_the_value(request_: ErasureRequest, expected: str) -> None:
    """The value may be what somebody wants to be forgotten."""
    eraser = Eraser(web_parts(MemoryStore()).queries, RecordedErasure(), REDACTOR, list)  # pyright: ignore[reportArgumentType]
    with pytest.raises(RequestError) as found:
        eraser.matcher(request_)
    assert expected in found.value.message
    assert "hunter22" not in found.value.message
