"""Only charsets of an allow-list are decoded."""

from __future__ import annotations

import encodings
from typing import Any

import pytest

from shadowdiff.compare.content_type import codec_of, decode, media_of
from shadowdiff.compare.formats import BrokenBodyError
from shadowdiff.compare.formats.xml import Xml
from tests.property.test_compare import judged

REMEMBERED: dict[str, Any] = vars(encodings)["_cache"]


@pytest.mark.parametrize(
    "charset",
    [
        "punycode",
        "idna",
        "utf-7",
        "hz",
        "unicode_escape",
        "raw_unicode_escape",
        "rot13",
        "zlib",
        "base64",
        "x" * 10_000,
    ],
)
def test_an_unsupported_charset_is_compared_as_bytes(charset: str) -> None:
    """Punycode takes quadratic time, and some other codecs are not text at all."""
    assert codec_of(charset) is None
    found = judged(b"a-b", b"a-c", headers=((b"content-type", b"text/plain; charset=" + charset.encode()),))
    assert [one.path for one in found.differences] == ["bytes[2]"]


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("", "utf_8"), ("UTF-8", "utf_8"), ("utf8", "utf_8"), ("ISO-8859-1", "latin_1"), ("latin1", "latin_1"),
        ("windows-1252", "cp1252"), ("Shift_JIS", "shift_jis"), ("x-sjis", "shift_jis"), ("EUC-KR", "euc_kr"),
        ("gb2312", "gb2312"), ("KOI8-R", "koi8_r"), ("us-ascii", "ascii"), ("utf-16", "utf_16"),
    ],
)  # fmt: skip
def test_charsets_of_the_web_are_supported(charset: str, codec: str) -> None:
    """Charset names match in any case and with any separators."""
    assert codec_of(charset) == codec


def test_the_byte_order_mark_of_utf_16_decides_and_stays() -> None:
    """Without a mark it is little-endian, as in browsers."""
    texts = [decode(body, "utf-16") for body in (b"\xff\xfea\x00", b"\xfe\xff\x00a", b"a\x00")]
    assert texts == ["\ufeffa", "\ufeffa", "a"]


def test_unknown_charset_names_are_not_cached() -> None:
    """Python caches every codec name that it looks up, even if the codec does not exist."""
    before = set(REMEMBERED)
    for index in range(100):
        kind = b"text/plain; charset=made-up-%d" % index
        judged(b"a", b"b", headers=((b"content-type", kind),))
        judged(b'{"a":1}', b'{"a":2}', headers=((b"content-type", kind.replace(b"text/plain", b"application/json")),))
        with pytest.raises(BrokenBodyError):
            Xml().value(b'<?xml version="1.0" encoding="made-up-%d"?><a/>' % index, media_of(b"text/xml"))
    assert [name for name in set(REMEMBERED) - before if "made" in name] == []


def test_xml_may_declare_a_known_charset() -> None:
    """Older services declare Latin-1."""
    body = b'<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>'
    assert {"a": {"#text": "é"}} == Xml().value(body, media_of(b"text/xml"))
