"""Take secrets out of headers, request targets, bodies and differences before they are stored.

In: text as a side wrote it.  Out: the same text with each secret as `‹redacted:…›`.
Holds: equal secrets become equal placeholders and different ones different (a keyed hash, so that a short
secret cannot be found by trying); everything else keeps every character; redacting twice is redacting once.
Nothing is parsed, so that truncated or malformed text is redacted as well: `shapes` says what is looked for, `marks`
how a difference of two texts, with its marks and cut at its ends, is redacted as the body is that it was taken from.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

import msgspec

from shadowdiff.report.hidden_paths import HiddenPaths
from shadowdiff.report.marks import NO_SIDES, Sides, SideText, redact_marked
from shadowdiff.report.patterns import Patterns
from shadowdiff.report.shapes import Stretch, find_secrets, merged, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shadowdiff.model import Difference

HeaderTexts = tuple[tuple[str, str], ...]

FORM: Final = "application/x-www-form-urlencoded"
_HASH_BYTES: Final = 6
_PLACEHOLDER: Final = re.compile(r"‹redacted(?::[0-9a-f]{12})?›")
SOME: Final = "‹redacted›"
"""Stands for any secret in a name of a path, so that the same fault of many users is one."""
_PLACES: Final = 8192
_TELLS_OF_NONE: Final = re.compile(r"(?:\$|\['[A-Za-z_]{0,24}'\]|\[\*\]|status|header\.[a-z-]{1,40}|text|bytes)*+")
"""Most places: made of short plain names, which hold no secret."""

_SECRET_WORDS: Final = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey", "secretkey",
    "signature", "credential", "credentials", "authorization", "sessionid", "jwt", "assertion", "cookie",
)  # fmt: skip
"""A name is a secret's when, in lower case without punctuation, it ends in one of these."""
_SECRET_NAMES: Final = frozenset({"pwd", "pin", "otp", "cvv", "cvc", "auth", "sid", "sig", "session", "csrf", "xsrf"})
_QUERY_NAMES: Final = frozenset({"key", "code", "pass"})
"""Secrets in a query or a form, but everyday words inside JSON, where an error's `code` is what one looks for."""
_COOKIES: Final = frozenset({"cookie", "set-cookie"})
_SCHEMES: Final = frozenset({"basic", "bearer", "digest", "negotiate", "dpop", "hmac", "apikey", "aws4-hmac-sha256"})

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")
_PARAMETER: Final = re.compile(
    r"([?&;])([^=&;?#\s\"'<>]{1,64})=((?!‹redacted:[0-9a-f]{12}›)[^&;#\s\"'<>`][^&;#\s\"'<>]*+)"
)
_FORM_PARAMETER: Final = re.compile(
    r"(^|[?&;\s])([^=&;?#\s\"'<>]{1,64})=((?!‹redacted:[0-9a-f]{12}›)[^&;#\s\"'<>`][^&;#\s\"'<>]*+)"
)
_SCHEME: Final = re.compile(r"(?i:bearer|basic|dpop) +")
_USER_INFO: Final = re.compile(r"""(?<=://)[^\s/@:"'<>‹]{0,64}:([^\s/@"'<>]{1,256})(?=@)""")
_PATH_NAME: Final = re.compile(r"\['((?:[^'\\]|\\.)*)'\]")
_PUNCTUATION: Final = bytes(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz0123456789"))


@lru_cache(maxsize=4096)
def is_secret_name(name: str, extra: frozenset[str] = frozenset()) -> bool:
    """Return whether what stands under a name is taken for a secret."""
    plain = _NOT_IN_NAMES.sub("", name.lower())
    return plain.endswith(_SECRET_WORDS) or plain in _SECRET_NAMES or plain in extra


_BUILTIN: Final = Patterns()


class Redactor:
    """Redacts with one key.

    names: further names of secrets, for every place.  paths: under which everything is a secret (`hidden_paths`).
    headers: further headers whose values are secrets.  patterns: what else looks like a secret.
    """

    def __init__(
        self,
        key: bytes,
        names: Iterable[str] = (),
        headers: Iterable[str] = (),
        patterns: Patterns | None = None,
        paths: Iterable[str] = (),
    ) -> None:
        self._key = key
        self._paths = HiddenPaths(paths)
        self._names = _plain([*names, *self._paths.bare])
        self._names_of_paths = self._names | _plain(self._paths.names)
        self._headers = frozenset(name.lower() for name in headers)
        self._patterns = _BUILTIN if patterns is None else patterns
        self._places: dict[str, str] = {}
        names_of_secrets = {*_SECRET_WORDS, *_SECRET_NAMES, *self._names_of_paths}
        self._traces = tuple(
            name.encode()
            for name in sorted(names_of_secrets)
            if not any(other in name for other in names_of_secrets - {name})
        )

    def rekey(self, key: bytes) -> None:
        """Take another key from now on: the one that all processes share, once it is known."""
        self._key = key

    def secret(self, text: str) -> str:
        """Return the placeholder of a secret; an empty text and a placeholder stay as they are."""
        if not text or _PLACEHOLDER.fullmatch(text):
            return text
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=_HASH_BYTES)
        return f"‹redacted:{digest.hexdigest()}›"

    def headers(self, headers: HeaderTexts) -> HeaderTexts:
        """Return header fields with credentials and cookie values redacted, names and attributes kept."""
        return tuple((name, self.header(name, value)) for name, value in headers)

    def header(self, name: str, value: str) -> str:
        """Return the value of one header field, redacted where its name or its text says so."""
        if name in _COOKIES:
            return self._cookie(name, value)
        if name in self._headers or self._is_secret(name):
            scheme, space, rest = value.partition(" ")
            return scheme + space + self.secret(rest) if scheme.lower() in _SCHEMES else self.secret(value)
        return self.text(value)

    def path(self, path: str) -> str:
        """Return a request target with the secrets of its query redacted, and those that their look gives away."""
        return self.replaced(path, merged(path, [*self._in_urls(path, form=False), *self._by_look(path)]))

    def body(self, text: str, media_type: str) -> str:
        """Return a body's text with secrets redacted by the names that they stand under."""
        return self.replaced(text, self.secrets(text, media_type))

    def text(self, text: str) -> str:
        """Return text of no known kind with its secrets redacted."""
        return self.body(text, "")

    def secrets(self, text: str, media_type: str) -> list[Stretch]:
        """Return where in a body secrets stand."""
        return self._secrets(text, media_type, "$")

    def _secrets(self, text: str, media_type: str, path: str) -> list[Stretch]:
        """Return the secrets of a text that stands at a path of a body."""
        found = [*self._in_urls(text, form=media_type == FORM), *self._by_look(text)]
        at_paths = self._paths.find(text, path) if self._paths else []
        if self._may_name_secrets(text):
            is_secret = self._is_secret if at_paths is not None else self._may_be_at_path
            found += find_secrets(text, is_secret, yaml=media_type.endswith("yaml"))
        return merged(text, [*found, *(at_paths or ())])

    def replaced(self, text: str, secrets: Iterable[Stretch]) -> str:
        """Return text with placeholders for secrets."""
        parts: list[str] = []
        kept = 0
        for one in secrets:
            parts += text[kept : one.start], self.placeholder(one)
            kept = one.end
        return "".join([*parts, text[kept:]])

    def placeholder(self, one: Stretch) -> str:
        """Return what stands for a secret, in its quotation marks."""
        return f"{one.quote}{self.secret(one.says)}{one.quote}"

    def _in_urls(self, text: str, *, form: bool) -> Iterator[Stretch]:
        """Yield the secrets in the queries of URLs."""
        if "=" in text:
            for found in (_FORM_PARAMETER if form else _PARAMETER).finditer(text):
                plain = unquote_plus(found[2])
                if self._is_secret(plain) or _NOT_IN_NAMES.sub("", plain.lower()) in _QUERY_NAMES:
                    yield Stretch(*found.span(3), found[3])
        if "://" in text and "@" in text:
            yield from (Stretch(*found.span(1), found[1]) for found in _USER_INFO.finditer(text))

    def _by_look(self, text: str) -> Iterator[Stretch]:
        """Yield what looks like a secret; of `Bearer …` and the like the scheme stays."""
        for one in self._patterns.find(text):
            scheme = _SCHEME.match(one.says)
            skipped = scheme.end() if scheme else 0
            yield Stretch(one.start + skipped, one.end, one.says[skipped:], one.quote)

    def place(self, path: str) -> str:
        """Return a path pattern without secrets in its names, so that one place is one wherever it is counted."""
        known = self._places.get(path)
        if known is None:
            if len(self._places) >= _PLACES:
                self._places.clear()
            found = self.secrets(path, "") if _TELLS_OF_NONE.fullmatch(path) is None else []
            known = self._places[path] = self._collapsed(path, found)
        return known

    def _collapsed(self, path: str, found: Iterable[Stretch]) -> str:
        parts: list[str] = []
        kept = 0
        for one in found:
            parts += path[kept : one.start], SOME
            kept = one.end
        return "".join([*parts, path[kept:]])

    def difference(self, difference: Difference, sides: Sides = NO_SIDES) -> Difference:
        """Return a difference whose values are redacted, by the names on its path, in its values and in both bodies."""
        primary = self._value(difference, difference.primary, sides[0], sides)
        candidate = self._value(difference, difference.candidate, sides[1], sides)
        path, pattern = self._place(difference.path), self._place(difference.pattern)
        return msgspec.structs.replace(difference, path=path, pattern=pattern, primary=primary, candidate=candidate)

    def _place(self, path: str) -> str:
        """Return a path whose names hold no secrets, as they do where text was read as a form."""
        return self.text(path) if path.startswith("$") and _TELLS_OF_NONE.fullmatch(path) is None else path

    def _value(self, difference: Difference, value: str | None, side: SideText | None, sides: Sides) -> str | None:
        path = difference.path
        if value is None:
            return None
        if path.startswith("header."):
            return self.header(path.removeprefix("header."), value)
        if path.startswith("text"):
            return redact_marked(value, side, self)
        if path.startswith("bytes["):
            return self._bytes(value, sides)
        if self._hides_all(path, sides):
            return self._json_secret(value)
        kind = FORM if path == "$" and _are_forms(sides) else ""
        return self.replaced(value, self._secrets(value, kind, path))

    def _hides_all(self, path: str, sides: Sides) -> bool:
        """Whether all that stands at a path is secret, by a name on it or, in multipart, beside it."""
        if self._paths.hide(path) or any(self._is_secret_at(name[1], sides) for name in _PATH_NAME.finditer(path)):
            return True
        return any(one is not None and one.media_type.startswith("multipart/") and one.secrets for one in sides)

    def _is_secret_at(self, name: str, sides: Sides) -> bool:
        return self._is_secret(name) or (
            _are_forms(sides) and _NOT_IN_NAMES.sub("", name.rpartition("?")[2].lower()) in _QUERY_NAMES
        )

    def _bytes(self, value: str, sides: Sides) -> str:
        """Return how many bytes differ, and which, but where a body names secrets: they may be a part of one."""
        count, colon, shown = value.partition(": ")
        if not colon or not any(one and one.secrets for one in sides):
            return value
        return f"{count}: {self.secret(shown)}"

    def _may_name_secrets(self, text: str) -> bool:
        """Return whether any secret's name can occur: a quick look that spares most bodies the slow one."""
        if "\\u" in text:
            return True
        plain = text.lower().encode("utf-8", "surrogatepass").translate(None, _PUNCTUATION)
        for name in self._traces:  # noqa: SIM110 - a third faster than `any` over a generator, on every sampled body
            if name in plain:
                return True
        return False

    def _is_secret(self, name: str) -> bool:
        return is_secret_name(name, self._names)

    def _may_be_at_path(self, name: str) -> bool:
        return is_secret_name(name, self._names_of_paths)

    def _json_secret(self, value: str) -> str:
        if value in ("", "null", "true", "false", '""'):
            return value
        return f'"{self.secret(unquoted(value))}"'

    def _cookie(self, name: str, value: str) -> str:
        """Return cookies by name with their values redacted; of `set-cookie` the attributes stay."""
        cookies = value.split(";")
        redacted = cookies if name == "cookie" else cookies[:1]
        return ";".join([*map(self._one_cookie, redacted), *cookies[len(redacted) :]])

    def _one_cookie(self, cookie: str) -> str:
        name, equals, value = cookie.partition("=")
        return name + equals + self.secret(value) if equals else self.secret(cookie)


def _plain(names: Iterable[str]) -> frozenset[str]:
    return frozenset(_NOT_IN_NAMES.sub("", name.lower()) for name in names) - {""}


def _are_forms(sides: Sides) -> bool:
    return all(one is not None and one.media_type == FORM for one in sides)
