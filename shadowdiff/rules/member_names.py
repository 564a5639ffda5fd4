"""Classify member names that are values: ids, dates, hashes, e-mail addresses and tokens.

The classes depend on the name alone, so all processes agree. They are stricter than the classes of path segments
(`path_segments`), because ordinary names such as `sha256` and `address2` are more frequent here.
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME_CHARS: Final = 512
"""A longer member name is not classified."""

_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_DIGIT: Final = re.compile(r"[0-9]")
_ORDINARY: Final = re.compile(r"[A-Za-z_$]{0,19}")
_NAME_DATE: Final = re.compile(
    r"(?:19|2[01])[0-9]{2}([-/])(?:0[1-9]|1[0-2])(?:\1(?:[0-2][0-9]|3[01])(?:[T ][0-9:.]+(?:Z|[+-][0-9:]+)?)?)?"
)
_NAME_NUMBER: Final = re.compile(r"[-+]?[0-9]+(?:[.,:][0-9]+)*")
_NAME_EMAIL: Final = re.compile(r"[^@\s/:]{1,64}@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}")
_NAME_HEX: Final = re.compile(r"[0-9a-f]{8,}|[0-9A-F]{8,}")
_ADDRESS: Final = re.compile(r"0x[0-9A-Fa-f]{6,}")
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
"""Source: the ULID specification, Crockford's base 32."""
_POD: Final = re.compile(r"[a-z][a-z0-9-]{0,62}-[bcdfghjklmnpqrstvwxz2456789]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5}")
"""Source: the alphabet of generated names in Kubernetes, which has no vowels."""
_NAME_FORMS: Final = (
    (_NAME_NUMBER, "{id}"), (_UUID, "{uuid}"), (_NAME_DATE, "{date}"), (_NAME_EMAIL, "{email}"), (_POD, "{pod}"),
)  # fmt: skip
_RANDOM: Final = re.compile(r"[0-9A-Za-z_=-]{16,}")
_HUMP: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
"""A word, an abbreviation or a number in a name such as `ipv4AddressID`."""
_CHUNK: Final = re.compile(r"[0-9A-Za-z]+")
_DIGITS: Final = re.compile(r"[0-9]+")
_PREFIXED: Final = re.compile(
    r"([A-Za-z_.:/#=-]{0,23}?[:_.#/=-]|(?:sha|md|blake)[0-9][0-9a-z]{0,4}[:-])(.+)", re.DOTALL
)
"""A name with a prefix, such as `user:` or `sha256:`, before a value."""
_COUNTED: Final = re.compile(r"[0-9]{2,}")
_MIN_HEX_RUNS: Final = 3
"""Hex digits alternate between letters and digits; a name such as `decade2020` does not."""
_MIN_RANDOM_CHUNK: Final = 10
_MAX_RANDOM_HUMP: Final = 2.5
"""The mean length of a word in a random text of mixed case is 1.6; in a name it is above 3."""
_MAX_LETTERS_HUMP: Final = 1.9
_MIN_LETTERS: Final = 20
_MIN_DIGIT_RUNS: Final = 4
_MIN_ULID_DIGITS: Final = 3


def name_class(name: str) -> str:
    """Return what a place shows for a member name that is a value, such as `{uuid}` or `user:{id}`; empty for a name.

    A prefix stays visible if it has at most 24 characters. Numbers are `{id}`, because most of them are.
    """
    if _ORDINARY.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        return ""
    if found := _class_of(name):
        return found
    prefixed = _PREFIXED.fullmatch(name)
    if prefixed is None:
        return ""
    prefix, value = prefixed.groups()
    if prefix[-1] == ":" and _COUNTED.fullmatch(value):
        return f"{prefix}{{id}}"
    found = _class_of(value) if len(value) >= 16 and not _NAME_NUMBER.fullmatch(value) else ""  # noqa: PLR2004
    return f"{prefix}{found}" if found else ""


def _class_of(name: str) -> str:
    for pattern, form in _NAME_FORMS:
        if pattern.fullmatch(name):
            return form
    if _ADDRESS.fullmatch(name) or (_NAME_HEX.fullmatch(name) and _runs(name) >= _MIN_HEX_RUNS):
        return "{hex}"
    return "{token}" if _is_token(name) else ""


def _runs(text: str) -> int:
    """Count the runs of digits and of letters."""
    digits = len(_DIGITS.findall(text))
    return 2 * digits - 1 + (not text[0].isdigit()) + (not text[-1].isdigit())


def _is_token(name: str) -> bool:
    """Return whether a name is random text: its words are too short, or its digits too scattered."""
    if not _RANDOM.fullmatch(name):
        return False
    if _ULID.fullmatch(name):
        return len(_DIGIT.findall(name)) >= _MIN_ULID_DIGITS
    chunks = _CHUNK.findall(name)
    if not chunks or max(map(len, chunks)) < _MIN_RANDOM_CHUNK:
        return False
    digit_runs = len(_DIGITS.findall(name))
    if name.islower() or name.isupper():
        return len(chunks) == 1 and len(name) >= _MIN_LETTERS and digit_runs >= _MIN_DIGIT_RUNS
    chars = sum(map(len, chunks))
    hump = chars / len(_HUMP.findall(name))
    return hump <= _MAX_RANDOM_HUMP if digit_runs else chars >= _MIN_LETTERS and hump <= _MAX_LETTERS_HUMP
