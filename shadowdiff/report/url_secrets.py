"""Find secrets in URLs, request targets and forms: in parameters, before the host and in path segments.

The time is linear in the text. Nothing is parsed, so malformed and truncated URLs are also searched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from shadowdiff.report.secret_names import Secrecy
from shadowdiff.report.secret_scanner import NameSecrecy, is_shown
from shadowdiff.report.secret_span import SecretSpan, Spend

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME: Final = re.compile(r"[?&;#]([^=&;?#\s\"'<>]++)=")
_FORM_NAME: Final = re.compile(r"(?:\A|[?&;#\s])([^=&;?#\s\"'<>]++)=")
_VALUE: Final = re.compile(r"(?!‹redacted:[0-9a-f]{12}›)[^&;#\s\"'<>`\\](?:[^&;#\s\"'<>\\]|\\++(?![\"']))*+")
_AUTHORITY: Final = re.compile(r"[^\s/?#\"'<>`\\]*+")
_GO_DSN: Final = re.compile(r"(?<![\w.:@/-])[\w.-]{1,64}:([^\s\"'<>()]{1,256})(?=@(?:tcp|unix)\()")
_PORT: Final = re.compile(r"\d{0,5}")
_WORD: Final = re.compile(r"[^\s\"'<>`\\?]{0,300}+")
_SEGMENT: Final = re.compile(r"/([^/?#&;\s\"'<>\\]++)")
_SEGMENTS: Final = 3
"""How many segments after a secret's name may be the secret: `/password/reset/…`."""
_GROUPS: Final = frozenset({"auth", "pass"})
"""Segments that group operations and have no secret after them."""
LINKS: Final = frozenset({
    "activate", "activation", "apikey", "api-key", "confirm", "confirmation", "invitation", "invitations", "invite",
    "invites", "login", "magic", "magic-link", "magiclink", "recover", "recovery", "session", "sessions", "signup",
    "unsubscribe", "verification", "verify",
})  # fmt: skip
"""Segments of personal links: a random segment directly after one gives access."""
_RANDOM: Final = re.compile(r"(?=[^0-9]*+[0-9])(?=[^A-Za-z]*+[A-Za-z])[\w.~=%!$+-]{10,}+")
"""A text that is not a word: at least ten characters, with letters and digits."""


def in_parameters(text: str, parameter_secrecy: NameSecrecy, spend: Spend, *, form: bool) -> Iterator[SecretSpan]:
    """Yield the secrets in parameters; the first parameter of a form has no separator before it."""
    names, at = _FORM_NAME if form else _NAME, 0
    path_end = text.find("?") % (len(text) + 1) if text.startswith("/") else 0
    while parameter := names.search(text, at):
        spend(2)
        at = parameter.end()
        kind = parameter_secrecy(unquote_plus(parameter[1]))
        value = _VALUE.match(text, at) if kind else None
        if value is not None:
            start, at = value.span()
            if start < path_end and text.find("/", start, at) >= 0:  # a path parameter ends with its segment
                at = text.find("/", start, at)
            if not is_shown(text[start:at], kind):
                yield SecretSpan(start, at, text[start:at])


def in_authorities(text: str, spend: Spend) -> Iterator[SecretSpan]:
    """Yield passwords before a host, up to the last `@`, and user names that look like a token."""
    if "@tcp(" in text or "@unix(" in text:
        yield from (SecretSpan(*found.span(1), found[1]) for found in _GO_DSN.finditer(text))
    at = text.find("//")
    while at >= 0:
        spend(3)
        start = at + 2
        authority = _AUTHORITY.match(text, start)
        stop = authority.end() if authority else start
        yield from _of_authority(text, start, stop)
        at = text.find("//", stop)


def _of_authority(text: str, start: int, stop: int) -> Iterator[SecretSpan]:
    end = text.rfind("@", start, stop)
    colon = text.find(":", start, stop if end < 0 else end)
    if text.startswith(("‹", "["), start):
        return
    if end < 0 and colon >= 0 and text.startswith(("/", "?", "#"), stop) and not _has_port(text, start, colon, stop):
        word = _WORD.match(text, stop + 1)  # a password may also contain URL separators
        end = text.rfind("@", stop, word.end()) if word else -1
    if end < 0 or (colon >= 0 and text.find("‹", start, colon) >= 0):  # otherwise the colon is part of a placeholder
        return
    if colon < 0 and _RANDOM.fullmatch(text, start, end):
        yield SecretSpan(start, end, text[start:end])
    elif 0 <= colon < end - 1:
        yield SecretSpan(colon + 1, end, text[colon + 1 : end])


def _has_port(text: str, start: int, colon: int, stop: int) -> bool:
    """Return whether digits before a slash are a port; in a database URL they may start a password."""
    is_database = text.startswith("/", stop) and not text.endswith(("http://", "https://", "ws://", "wss://"), 0, start)
    return _PORT.fullmatch(text, colon + 1, stop) is not None and not (is_database and colon + 1 < stop)


def in_segments(
    text: str, parameter_secrecy: NameSecrecy, name_secrecy: NameSecrecy, spend: Spend
) -> Iterator[SecretSpan]:
    """Yield path segments that look random and follow a secret's name, and values in `name=value`."""
    left, at = 0, 0
    for segment in _SEGMENT.finditer(text):
        spend(2)
        left = left if segment.start() == at else 0
        at = segment.end()
        name, equals, value = segment[1].partition("=")
        kind = parameter_secrecy(unquote_plus(name)) if equals else Secrecy.NONE
        if kind and not is_shown(value, kind):
            yield SecretSpan(at - len(value), at, value)
        elif left and _RANDOM.fullmatch(segment[1]):
            yield SecretSpan(*segment.span(1), segment[1])
        elif segment[1] not in _GROUPS and name_secrecy(segment[1]):
            left = _SEGMENTS
        elif segment[1].lower() in LINKS:
            left = max(1, left - 1)
        else:
            left = max(0, left - 1)
