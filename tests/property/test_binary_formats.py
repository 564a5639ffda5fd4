"""MessagePack and CBOR bodies match if and only if they have equal values, however the encoder writes them.

The values are drawn first; writers that share no code with shadowdiff then write them in a random spelling.
"""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.compare.formats import BrokenBodyError, format_of
from shadowdiff.rules.json_values import Repeated, Value
from tests.property.test_formats import match

if TYPE_CHECKING:
    from random import Random

MESSAGEPACK: Final = "application/vnd.msgpack"
CBOR: Final = "application/cbor"
Model = tuple[str, Any]
"""A kind and a value; a map is a list of pairs, in order and with duplicates."""

LONG: Final = b"x" * 300
"""No key, because a key that is not text must be short."""
FLOATS: Final = st.sampled_from([0.0, 1.0, 1.5, -2.0, 0.1, 1e300, float("inf"), float("nan"), 5e-324, 65504.0])
LEAVES: Final = st.one_of(
    st.sampled_from([("constant", None), ("constant", True), ("constant", False)]),
    st.tuples(st.just("integer"), st.sampled_from([0, 1, 23, 24, 127, 128, 255, 256, 65536, 2**32, 2**63, 2**64 - 1])),
    st.tuples(st.just("integer"), st.sampled_from([-1, -24, -25, -32, -33, -128, -129, -(2**31), -(2**63)])),
    st.tuples(st.just("float"), FLOATS),
    st.tuples(st.just("text"), st.sampled_from(["", "a", "#a", "##a", "ä", "x" * 40, "#bytes", "value", "1", "true"])),
    st.tuples(st.just("bytes"), st.sampled_from([b"", b"a", b"\xff", LONG])),
)
TAGS: Final = {
    MESSAGEPACK: st.tuples(
        st.sampled_from(["ext 1", "ext -1", "ext 5"]), st.sampled_from([b"", b"a", b"ab", b"1234", b"12345678"])
    ),
    CBOR: st.sampled_from([("simple", 0), ("simple", 23), ("simple", 255)]),
}


def models(media_type: str) -> st.SearchStrategy[Model]:
    """Draw a value."""
    short = LEAVES.filter(lambda leaf: leaf[1] != LONG)
    keys = st.one_of(short, st.tuples(st.just("array"), st.lists(short, max_size=2)))

    def nest(inner: st.SearchStrategy[Model]) -> st.SearchStrategy[Model]:
        lists = st.tuples(st.just("array"), st.lists(inner, max_size=3))
        maps = st.tuples(st.just("map"), st.lists(st.tuples(keys, inner), max_size=3))
        tagged = st.tuples(st.sampled_from(["tag 0", "tag 1", "tag 55799"]), inner)
        return st.one_of(lists, maps, tagged) if media_type == CBOR else st.one_of(lists, maps)

    return st.recursive(st.one_of(LEAVES, TAGS[media_type]), nest, max_leaves=6)


def meaning(model: Model) -> Any:
    """Return the parts of a model that must be equal: kinds, values, and the values of each key in order."""
    kind, value = model
    if kind == "array":
        return kind, tuple(map(meaning, value))
    if kind == "map":
        found: dict[str, list[Any]] = {}
        for key, inner in value:
            found.setdefault(repr(meaning(key)), []).append(meaning(inner))
        return kind, sorted(found.items())
    if kind.startswith("tag"):
        return kind, meaning(value)
    if kind == "ext -1" and len(value) in {4, 8}:
        number = int.from_bytes(value, "big")
        return ("time", number * 10**9) if len(value) == 4 else ("time", number % 2**34 * 10**9 + (number >> 34))
    return kind, repr(value)


def messagepack(model: Model, random: Random) -> bytes:  # noqa: C901, PLR0911 - a case for each type
    """Write a value as MessagePack in one of its spellings."""
    kind, value = model

    def sized(short: int | None, most: int, *longer: int) -> bytes:
        """Return a head: a short head that contains the length, or a head before a length of 1, 2 or 4 bytes."""
        count = len(value)
        sizes = {0xC4: (1, 2, 4), 0xD9: (1, 2, 4), 0xDC: (2, 4), 0xDE: (2, 4), 0xC7: (1, 2, 4)}[longer[0]]
        found = [bytes([short | count])] if short is not None and count <= most else []
        found += [
            bytes([longer[0] + at]) + count.to_bytes(size, "big")
            for at, size in enumerate(sizes)
            if count < 1 << 8 * size
        ]
        return random.choice(found)

    match kind:
        case "constant":
            return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
        case "integer":
            forms = [value.to_bytes(1, "big", signed=value < 0)] if -32 <= value < 128 else []
            for at, size in enumerate((1, 2, 4, 8)):
                if 0 <= value < 1 << 8 * size:
                    forms.append(bytes([0xCC + at]) + value.to_bytes(size, "big"))
                if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1:
                    forms.append(bytes([0xD0 + at]) + value.to_bytes(size, "big", signed=True))
            return random.choice(forms)
        case "float":
            return random.choice(floats({0xCA: ">f", 0xCB: ">d"}, value))
        case "text":
            value = value.encode()
            return sized(0xA0, 31, 0xD9) + value
        case "bytes":
            return sized(None, 0, 0xC4) + value
        case "array":
            return sized(0x90, 15, 0xDC) + b"".join(messagepack(each, random) for each in value)
        case "map":
            return sized(0x80, 15, 0xDE) + b"".join(messagepack(each, random) for both in value for each in both)
        case _:
            number = int(kind.partition(" ")[2]).to_bytes(1, "big", signed=True)
            heads = [sized(None, 0, 0xC7)]
            if len(value) in {1, 2, 4, 8}:
                heads.append(bytes([0xD3 + len(value).bit_length()]))
            return random.choice(heads) + number + value


def cbor(model: Model, random: Random) -> bytes:  # noqa: PLR0911 - a case for each type
    """Write a value as CBOR in one of its spellings."""
    kind, value = model

    def head(major: int, count: int) -> bytes:
        forms = [bytes([major << 5 | count])] if count < 24 else []
        forms += [
            bytes([major << 5 | 24 + at]) + count.to_bytes(size, "big")
            for at, size in enumerate((1, 2, 4, 8))
            if count < 1 << 8 * size
        ]
        return random.choice(forms)

    match kind:
        case "constant":
            return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
        case "integer":
            big = (value if value >= 0 else -1 - value).to_bytes(9, "big")
            tagged = (b"\xc2" if value >= 0 else b"\xc3") + head(2, 9) + big
            plain = head(0, value) if value >= 0 else head(1, -1 - value)
            return random.choice([plain, plain, tagged])
        case "float":
            return random.choice(floats({0xF9: ">e", 0xFA: ">f", 0xFB: ">d"}, value))
        case "text" | "bytes":
            major = 2 if kind == "bytes" else 3
            chunks = [each.encode() for each in value] if kind == "text" else [value[:1], value[1:]]
            whole = head(major, len(b"".join(chunks))) + b"".join(chunks)
            parts = bytes([major << 5 | 31]) + b"".join(head(major, len(each)) + each for each in chunks) + b"\xff"
            return random.choice([whole, parts])
        case "array" | "map":
            major = 4 if kind == "array" else 5
            items = value if kind == "array" else [each for both in value for each in both]
            inside = b"".join(cbor(each, random) for each in items)
            return random.choice([head(major, len(value)) + inside, bytes([major << 5 | 31]) + inside + b"\xff"])
        case "simple":
            return bytes([0xE0 | value]) if value < 24 else bytes([0xF8, value])
        case _:
            return head(6, int(kind.partition(" ")[2])) + cbor(value, random)


def floats(forms: dict[int, str], value: float) -> list[bytes]:
    """Return the forms of a double that lose no digit."""
    found: list[bytes] = []
    for code, form in forms.items():
        try:
            written = struct.pack(form, value)
        except OverflowError:
            continue
        if repr(struct.unpack(form, written)[0]) == repr(value):
            found.append(bytes([code]) + written)
    return found


WRITERS: Final = {MESSAGEPACK: messagepack, CBOR: cbor}
DRAWN: Final = [pytest.param(media_type, models(media_type), id=media_type) for media_type in WRITERS]


@pytest.mark.parametrize(("media_type", "drawn"), DRAWN)
@given(st.data(), st.randoms(use_true_random=False))
def test_bodies_match_if_their_values_are_equal(media_type: str, drawn: Any, data: st.DataObject, random: Any) -> None:
    """Two spellings of a value match. Two values match only if kinds, digits, duplicates and tags are equal."""
    one, other = data.draw(drawn), data.draw(drawn)
    write = WRITERS[media_type]
    body = write(one, random)
    assert match(body, write(one, random), media_type)
    assert match(body, write(other, random), media_type) == (meaning(one) == meaning(other))


@pytest.mark.parametrize(("media_type", "drawn"), DRAWN)
@given(st.data(), st.randoms(use_true_random=False))
def test_a_cut_or_longer_body_is_broken(media_type: str, drawn: Any, data: st.DataObject, random: Any) -> None:
    """No body is equal to its start."""
    body = WRITERS[media_type](data.draw(drawn), random)
    format_, media = format_of(media_type.encode())
    for other in (body[: random.randrange(len(body))], body + b"\x00"):
        assert isinstance(format_.try_value(other, media), BrokenBodyError)


@pytest.mark.parametrize("media_type", [*WRITERS, "application/cbor-seq"])
@given(st.binary(max_size=60))
def test_any_bytes_have_a_value_or_are_broken(media_type: str, body: bytes) -> None:
    """No bytes raise another error."""
    format_, media = format_of(media_type.encode())
    format_.try_value(body, media)


def last(value: Value) -> Value:
    """Return a value with only the last of duplicate members, as most parsers read it."""
    if isinstance(value, Repeated):
        return last(value[-1])
    if isinstance(value, dict):
        return {name: last(inner) for name, inner in value.items()}
    return [last(inner) for inner in value] if isinstance(value, list) else value


def is_json(value: object) -> bool:
    """Whether JSON can express a value, and no name is marked."""
    if isinstance(value, dict):
        members = cast("dict[object, object]", value)
        return all(isinstance(key, str) and key[:1] != "#" and is_json(inner) for key, inner in members.items())
    if isinstance(value, list):
        return all(map(is_json, cast("list[object]", value)))
    return type(value) in {str, int, bool, type(None)}


@given(models(MESSAGEPACK), st.randoms(use_true_random=False))
def test_msgspec_reads_the_same_value(model: Model, random: Any) -> None:
    """For values that JSON can express, msgspec is an independent parser, but it keeps only the last duplicate."""
    body = messagepack(model, random)
    try:
        expected = msgspec.msgpack.decode(body)
    except (msgspec.MsgspecError, TypeError):  # keys that Python cannot hash
        return
    format_, media = format_of(MESSAGEPACK.encode())
    if is_json(expected):
        found = format_.try_value(body, media)
        assert not isinstance(found, BrokenBodyError)
        assert repr(expected) == repr(last(found))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("1bffffffffffffffff", 2**64 - 1),
        ("c249010000000000000000", 2**64),
        ("3bffffffffffffffff", -(2**64)),
        ("c349010000000000000000", -(2**64) - 1),
        ("f90001", 5.960464477539063e-8),
        ("f97bff", 65504.0),
        ("fa7f7fffff", 3.4028234663852886e38),
        ("fb7e37e43c8800759c", 1e300),
        ("f7", {"#simple": 23}),
        ("f0", {"#simple": 16}),
        ("f8ff", {"#simple": 255}),
        ("c11a514b67b0", {"#tag": 1, "value": 1363896240}),
        ("d74401020304", {"#tag": 23, "value": {"#bytes": base64.b64encode(b"\1\2\3\4").decode()}}),
        ("a201020304", {"#1": 2, "#3": 4}),
        ("a10102", {"#1": 2}),
        ("826161bf61626163ff", ["a", {"b": "c"}]),
        ("5f42010243030405ff", {"#bytes": base64.b64encode(b"\1\2\3\4\5").decode()}),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9fff", []),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
    ],
)
def test_the_examples_of_the_cbor_standard(body: str, expected: Any) -> None:
    """Appendix A of RFC 8949; numbers that are no JSON numbers are covered above."""
    format_, media = format_of(CBOR.encode())
    found = format_.try_value(bytes.fromhex(body), media)
    assert repr(expected) == repr(found)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (MESSAGEPACK, b"\xc1"),
        (MESSAGEPACK, b"\xdd\xff\xff\xff\xff" * 1000),
        (MESSAGEPACK, b"\xdf\xff\xff\xff\xff" + b"\x80" * 9),
        (MESSAGEPACK, b"\x91" * 255 + b"\x01"),
        (MESSAGEPACK, b"\x91" * 100_000),
        (MESSAGEPACK, b"\x81\x81" * 5 + b"\x81" + b"\xd9\xff" + b'"' * 255 + b"\x01" * 12),
        (MESSAGEPACK, b"\xa1\xff"),
        (CBOR, b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
        (CBOR, b"\x81" * 255 + b"\x01"),
        (CBOR, b"\x9f" * 100_000),
        (CBOR, b"\xc0" * 100_000),
        (CBOR, b"\x5f\x61\x61\xff"),
        (CBOR, b"\x5f\x5f\xff\xff"),
        (CBOR, b"\x7f\x61\xc3\x61\xa4\xff"),
        (CBOR, b"\xa1\x01\xff"),
        (CBOR, b"\xbf\x01\xff"),
        (CBOR, b"\xff"),
        (CBOR, b"\xfc"),
        (CBOR, b"\x1f"),
        (CBOR, b"\xf8\x18"),
        (CBOR, b"\x61\xff"),
        (CBOR, b"\xa1" * 200 + b"\x78\xff" + b'"' * 255 + b"\x01" * 200),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:8].hex(),
)
def test_a_hostile_body_is_broken(media_type: str, body: bytes) -> None:
    """A body cannot reserve memory, nest without limit, or grow by quoting keys in keys."""
    format_, media = format_of(media_type.encode())
    assert isinstance(format_.try_value(body, media), BrokenBodyError)


def test_a_byte_order_mark_is_not_removed_from_binary_bodies() -> None:
    """These bytes have another meaning: the mark begins a simple value and a map."""
    one, other = (b"\xef\xbb\xbf" + rest for rest in (b"\x01", b"\x18\x01"))
    assert match(b"\x01", b"\x18\x01", "application/cbor-seq")
    assert not match(one, other, "application/cbor-seq")


def test_a_big_integer_has_a_limit() -> None:
    """A longer integer stays bytes with a tag."""
    format_, media = format_of(CBOR.encode())
    long, longer = (b"\xc2\x59" + size.to_bytes(2, "big") + b"\xff" * size for size in (1600, 1601))
    assert isinstance(format_.try_value(long, media), int)
    assert isinstance(format_.try_value(longer, media), dict)
    assert not match(longer, longer[:-1] + b"\xfe", CBOR)
    assert not match(long, long[:-1] + b"\xfe", CBOR)
