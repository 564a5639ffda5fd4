"""Samples show binary formats as JSON, so that redaction finds secrets by their names."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from shadowdiff.compare import Limits, compare
from shadowdiff.compare.protobuf import Descriptors
from shadowdiff.model import Observation, Pair, Side
from shadowdiff.report import Redactor
from shadowdiff.report.samples import Sample, SampleSource, encode_sample
from shadowdiff.rule_changes.rejudge import rejudge
from shadowdiff.rules import compile_rules
from shadowdiff.worker.decode_protobuf import DecodedSamples, decoded, encoder_of
from tests.fakes.shop_proto import SERVICE, Ask, Product, descriptor_set, framed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRPC = (b"content-type", b"application/grpc")
MESSAGES = Descriptors(descriptor_set())
RESPONSE = framed(Product(sku="A1", unit_price=2**60).SerializeToString())
BOMB = gzip.compress(bytes(1 << 20))
REQUEST = framed(Ask(sku="A1").SerializeToString())


def side(which: Side, **changes: Any) -> Observation:
    """Return one side of a call."""
    fields: dict[str, Any] = {
        "side": which, "target": "shop", "id": "1", "id_source": "x-diff-id", "method": "POST",
        "path": f"{SERVICE}/Get", "host": "shop", "status": 200, "headers": (GRPC,), "body": RESPONSE,
        "body_bytes": len(RESPONSE), "trailers": ((b"grpc-status", b"0"),),
    }  # fmt: skip
    return Observation(**(fields | changes))


def decoded_pair(messages: Descriptors | None, **changes: Any) -> Pair:
    """Return the pair as a sample shows it."""
    return decoded(pair_of(**changes), messages, Limits())


def pair_of(**changes: Any) -> Pair:
    """Return a pair of calls."""
    request = {"request_headers": (GRPC,), "request_body": REQUEST}
    candidate = side(Side.CANDIDATE, **request, **changes)
    return Pair(key=b"", target="shop", route="r", primary=side(Side.PRIMARY), candidate=candidate)


def test_messages_become_json() -> None:
    """Both responses and the request are decoded, and the trailers follow the headers."""
    pair = decoded_pair(MESSAGES)
    for response in (pair.primary, pair.candidate):
        assert {"sku": "A1", "unitPrice": 2**60} == json.loads(response.body)
        assert not response.truncated
        assert (b"grpc-status", b"0") in response.headers
        assert (b"content-type", b'application/json; from="application/grpc"') in response.headers
    assert {"sku": "A1"} == json.loads(pair.candidate.request_body)


@pytest.mark.parametrize(("messages", "body"), [(None, RESPONSE), (MESSAGES, b"\x00\x00\x00\x00\x02\x0a\xff")])
def test_an_undecodable_body_is_not_stored(messages: Descriptors | None, body: bytes) -> None:
    """The body counts as truncated, so readers know that the sample is incomplete."""
    response = decoded_pair(messages, body=body, body_bytes=len(body)).candidate
    assert (b"", True) == (response.body, response.truncated)


def test_only_samples_with_messages_are_encoded_with_a_decoder() -> None:
    """Decoding large messages takes long, so it is part of what goes to a process."""
    assert DecodedSamples(MESSAGES, Limits()) == encoder_of(pair_of(), lambda _target: MESSAGES, Limits())
    plain = (b"content-type", b"text/plain")
    bare = pair_of(headers=(plain,), body=b"x", body_bytes=1)
    bare = msgspec.structs.replace(
        bare,
        primary=side(Side.PRIMARY, headers=(plain,)),
        candidate=msgspec.structs.replace(bare.candidate, request_headers=()),
    )
    assert encode_sample is encoder_of(bare, lambda _target: MESSAGES, Limits())


def test_messages_under_a_configured_type_become_json() -> None:
    """`body_types` names the type of messages that another Content-Type hides, so no sample stores their bytes."""
    headers = ((b"content-type", b"application/octet-stream"),)
    body = Product(sku="A1").SerializeToString()
    changes: dict[str, Any] = {"headers": headers, "body": body, "body_bytes": len(body)}
    pair = Pair(
        key=b"", target="shop", route="r", primary=side(Side.PRIMARY, **changes),
        candidate=side(Side.CANDIDATE, **changes),
    )  # fmt: skip
    limits = Limits(body_types=(("*", "application/protobuf"),))
    encoder = encoder_of(pair, lambda _target: MESSAGES, limits)
    assert isinstance(encoder, DecodedSamples)
    assert {"sku": "A1"} == json.loads(decoded(pair, MESSAGES, limits).primary.body)


def test_a_compression_bomb_is_not_decoded() -> None:
    """Decoding for a sample has a work budget, too."""
    bomb = b"\x01" + len(BOMB).to_bytes(4, "big") + BOMB
    headers = (GRPC, (b"grpc-encoding", b"gzip"))
    found = decoded(pair_of(body=bomb, body_bytes=len(bomb), headers=headers), MESSAGES, Limits(work=1000)).candidate
    assert (b"", True) == (found.body, found.truncated)


@pytest.mark.parametrize(
    ("media_type", "body", "expected"),
    [
        ("application/vnd.msgpack", msgspec.msgpack.encode({"id": 2**64 - 1}), {"id": 2**64 - 1}),
        (
            "application/cbor",
            b"\xa2\x62id\xc2\x49\x01" + bytes(8) + b"\x61k\x41\x01",
            {"id": 2**64, "k": {"#bytes": "AQ=="}},
        ),
        ("application/vnd.msgpack", b"\x81\xa2at\xd6\xff\x00\x00\x00\x01", {"at": {"#timestamp": 1.0}}),
    ],
)
def test_other_binary_formats_become_json(media_type: str, body: bytes, expected: Any) -> None:
    """They need no descriptors. Numbers keep all digits."""
    headers = ((b"content-type", media_type.encode()),)
    response = decoded_pair(None, body=body, body_bytes=len(body), headers=headers).candidate
    assert expected == json.loads(response.body)
    assert (b"content-type", b'application/json; from="%s"' % media_type.encode()) in response.headers


@pytest.mark.parametrize("media_type", ["application/vnd.msgpack", "application/cbor"])
def test_secrets_in_binary_formats_are_redacted(media_type: str) -> None:
    """Redaction finds text and bytes by the names of their members, in the body and in the differences."""
    head = b"\x82" if media_type.endswith("msgpack") else b"\xa2"
    text, raw = (b"\xaa", b"\xc4\x0a") if head == b"\x82" else (b"\x6a", b"\x4a")
    name, token = (b"\xa8password", b"\xa5token") if head == b"\x82" else (b"\x68password", b"\x65token")
    one, other = (head + name + text + b"hunter-%d--" % at + token + raw + b"secret-%d--" % at for at in (1, 2))
    headers = ((b"content-type", media_type.encode()),)
    sides = {
        str(which): side(which, headers=headers, body=body, body_bytes=len(body), trailers=())
        for which, body in ((Side.PRIMARY, one), (Side.CANDIDATE, other), (Side.CONTROL, other))
    }
    pair = Pair(key=b"", target="shop", route="r", **sides)
    comparison = compare(pair, compile_rules((), NOW), Limits())
    assert ["$['password']", "$['token']['#bytes']"] == [found.path for found in comparison.differences]
    stored = b"".join(DecodedSamples(None, Limits())(SampleSource(pair, comparison, Redactor(bytes(32)), 1 << 20, 1)))
    assert b"password" in stored
    for secret in (b"hunter", b"secret-", base64.b64encode(b"secret-1--")[:8], b"hunter".hex().encode()):
        assert secret not in stored


def test_only_a_binary_control_is_also_decoded() -> None:
    """No sample stores the bytes of a control, whose secrets redaction cannot find."""
    plain = side(Side.PRIMARY, headers=(), body=b"", body_bytes=0)
    control = side(Side.CONTROL, headers=((b"content-type", b"application/cbor"),), body=b"\xa0", body_bytes=1)
    pair = Pair(key=b"", target="shop", route="r", primary=plain, candidate=plain, control=control)
    encoder = encoder_of(pair, lambda _target: None, Limits())
    assert isinstance(encoder, DecodedSamples)
    found = decoded(pair, None, Limits()).control
    assert found is not None
    assert b"{}" == found.body


@pytest.mark.parametrize(
    ("named", "body"),
    [
        ("text/csv", "name,password\nbob,hunter-%d--\n"),
        ("text/csv; header=present", "name,password\nbob,hunter-%d--\n"),
        ("text/tab-separated-values", "name\tpassword\nbob\thunter-%d--\n"),
        ("application/json; charset=utf-16", '{"password": "hunter-%d--"}'),
        ("application/yaml", "login:\n  password: hunter-%d--\n"),
        ("application/x-www-form-urlencoded", "user=bob&password=hunter-%d--"),
    ],
)
def test_bodies_are_redacted_by_their_configured_type(named: str, body: str) -> None:
    """`body_types` also decides how redaction reads a body and its differences, whatever its Content-Type."""
    encoding = "utf-16" if "utf-16" in named else "utf-8"
    changes = {"headers": ((b"content-type", b"application/octet-stream"),), "trailers": ()}
    sides = {
        str(one): side(one, body=(body % at).encode(encoding), body_bytes=1, **changes)
        for at, one in enumerate((Side.PRIMARY, Side.CANDIDATE, Side.CONTROL))
    }
    pair, limits = Pair(key=b"", target="shop", route="GET /a", **sides), Limits(body_types=(("/a", named),))
    comparison = compare(pair, compile_rules((), NOW), limits)
    assert comparison.differences
    source = SampleSource(pair, comparison, Redactor(bytes(32)), 1 << 20, 1)
    line, content = encoder_of(pair, lambda _target: None, limits)(source)
    stored = line + content
    for secret in ("hunter", *(base64.b64encode(one.body).decode()[8:-4] for one in sides.values())):
        assert secret.encode() not in stored
    assert b"application/octet-stream" in stored
    again = rejudge(msgspec.msgpack.decode(content, type=Sample), compile_rules((), NOW), limits)
    assert (encoding == "utf-16") == ("not stored as UTF-8 text" in again.undecided)
