"""Replace the secrets in headers, request targets, bodies and differences with `‹redacted:…›` before they are stored.

Equal secrets have equal placeholders, from a keyed hash, so that a short secret cannot be guessed. All other text stays
unchanged, and a second redaction changes nothing. Nothing is parsed, so malformed text is also redacted.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import os
import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shadowdiff.model import Difference, Kind, Severity
from shadowdiff.report.encoded_text import encoded_parts
from shadowdiff.report.hidden_paths import HiddenPaths
from shadowdiff.report.named_values import find_named_values
from shadowdiff.report.parameters import safe_parameters
from shadowdiff.report.patterns import Patterns
from shadowdiff.report.redact_diff import NO_SIDES, Sides, SideText, redact_diff_text, redact_html_text
from shadowdiff.report.secret_names import QUERY_NAMES, NameFilter, Secrecy, header_secrecy, plain, plain_names, secrecy
from shadowdiff.report.secret_scanner import NameSecrecy, find_secrets, is_shown, unquoted
from shadowdiff.report.secret_span import CHARS_PER_UNIT, INLINE_WORK, SecretSpan, TooMuchWorkError, merge_spans
from shadowdiff.report.url_secrets import in_authorities, in_parameters, in_segments
from shadowdiff.rules.place import COARSE, LINE, STEP, has_words, is_html
from shadowdiff.store import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowdiff.store import Store

HeaderTexts = tuple[tuple[str, str], ...]

_TABLES: Final = frozenset({"text/csv", "text/tab-separated-values"})
_KEY_BYTES: Final = 32
_KEY_NAME: Final = "redaction:key"
FORM: Final = "application/x-www-form-urlencoded"
_PLACEHOLDER: Final = re.compile(r"‹redacted(?::[0-9a-f]{12})?›")
HASHED: Final = "‹redacted:"
"""The prefix of the placeholder of a hashed secret."""
SOME: Final = "‹redacted›"
"""Replaces a secret in a path, so that the same fault of many users has one fingerprint."""
_PLAIN_PATH: Final = re.compile(
    rf"(?:\$|\['[A-Za-z_]{{0,24}}'\]|\[\*\]|{STEP}|status|graphql\.errors|header\.[a-z-]{{1,40}}|text|bytes)*+"
)
"""Most paths: short plain names without secrets."""
_CUT_LINE: Final = re.compile(r"…([0-9a-f]{8})\]\Z")
"""The end of the place of a line that is cut, with the digest of the whole line."""

_COOKIES: Final = frozenset({"cookie", "set-cookie"})
_COOKIE_ATTRIBUTES: Final = frozenset({"domain", "path", "expires", "max-age", "samesite", "priority", "version"})
_SCHEMES: Final = frozenset({"basic", "bearer", "digest", "negotiate", "dpop", "hmac", "apikey", "aws4-hmac-sha256"})

_SCHEME: Final = re.compile(r"(?i:bearer|basic|dpop) +")
_PATH_NAME: Final = re.compile(r"\['((?:[^'\\]|\\.)*)'\]")
_URL_HEADERS: Final = frozenset({
    "location", "content-location", "referer", "refresh", "link", "x-original-url", "x-original-uri", "x-rewrite-url",
    "x-forwarded-uri", "x-envoy-original-path",
})  # fmt: skip
_URL: Final = re.compile(r"[a-z]{0,12}:?//?")
_FORM_TEXT: Final = re.compile(r"[\w.%+\[\]-]{1,64}=[^\s\"'<>{}]*+\Z")

_UNITS_PER_SEARCH: Final = 16
"""The fixed cost of a search. A search for names costs it twice."""
DEEPEST: Final = 8
"""Nested encodings that are decoded; text that is encoded once more is hidden as a whole."""
_WORK_FACTOR: Final = 16
_WORK_CHARS: Final = 1 << 20
_FEWEST_CHARS: Final = 6
_ROUNDS: Final = 4
"""The maximum number of rounds for one text. Usually the second round finds nothing."""


_BUILTIN: Final = Patterns()


class Redactor:
    """Redacts with one key.

    names: more names of secrets. paths: paths of secrets (`hidden_paths`). headers: more headers with secrets.
    patterns: more forms of secrets. allow: names and headers that `secret_names` finds but that are not secrets.
    searched: characters searched so far; encoded text counts once for each decoding. work_left: units, see `limited`.
    """

    def __init__(
        self,
        key: bytes,
        names: Iterable[str] = (),
        *,
        headers: Iterable[str] = (),
        patterns: Patterns | None = None,
        paths: Iterable[str] = (),
        allow: Iterable[str] = (),
    ) -> None:
        names, headers, paths, allow = (tuple(each) for each in (names, headers, paths, allow))
        self._made_of = names, (("headers", headers), ("patterns", patterns), ("paths", paths), ("allow", allow))
        self._key = key
        self._paths = HiddenPaths(paths)
        self._names = plain_names([*names, *self._paths.bare])
        self._names_of_paths = self._names | plain_names(self._paths.names)
        self._allowed = plain_names(allow) - self._names
        self._query_names = QUERY_NAMES - self._allowed
        self._headers = frozenset(name.lower() for name in headers)
        self._patterns = self._given_patterns = _BUILTIN if patterns is None else patterns
        self._texts: frozenset[str] = frozenset()
        self._forget()
        self._name_filter = NameFilter(self._names_of_paths)
        self.work_left: float = math.inf
        self._found: dict[tuple[str, str, str, bool], list[SecretSpan]] | None = None
        self.searched = 0

    def __reduce__(self) -> tuple[Callable[..., Redactor], tuple[object, ...]]:
        """Pickle the arguments. Another process creates the redactor once and keeps its caches."""
        return _redactor, (self._key, *self._made_of)

    def limited(self, units: int) -> Redactor:
        """Return a copy of this redactor that raises TooMuchWorkError after it has used this number of work units."""
        other = object.__new__(Redactor)
        other.__dict__.update(self.__dict__)
        other.work_left = units
        other._found = {}
        return other

    def spend(self, units: int) -> None:
        """Charge work units before the work runs. Raises: TooMuchWorkError."""
        self.work_left -= units
        if self.work_left < 0:
            raise TooMuchWorkError

    def rekey(self, key: bytes) -> None:
        """From now on, use the common key of all processes."""
        self._key = key
        self._forget()

    def _forget(self) -> None:
        """Start with empty caches."""
        self._without_secrets = lru_cache(maxsize=16_384)(self._replace_secrets)
        self.short_header = lru_cache(maxsize=4096)(self._short_header)
        self.scalar = lru_cache(maxsize=8192)(self._scalar)

    def hide_texts(self, texts: Iterable[str]) -> None:
        """From now on, redact these texts everywhere, and also the texts of the call before, which v2 may still send.

        Texts with fewer than six characters are not redacted, because other text would often contain them.
        """
        before, self._texts = self._texts, frozenset(text for text in texts if len(text) >= _FEWEST_CHARS)
        forms = {form for text in before | self._texts for form in (text, json.dumps(text)[1:-1], html.escape(text))}
        self._patterns = self._given_patterns.with_texts(forms)
        names, (headers, _, *others) = self._made_of
        self._made_of = names, (headers, ("patterns", self._patterns), *others)
        self._forget()

    def secret(self, text: str) -> str:
        """Return the placeholder of a secret; an empty text and a placeholder stay unchanged."""
        if not text or _PLACEHOLDER.fullmatch(text):
            return text
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=6)
        return f"‹redacted:{digest.hexdigest()}›"

    def digest(self, data: bytes) -> bytes:
        """Return six bytes of a keyed hash."""
        return hashlib.blake2b(data, key=self._key, digest_size=6).digest()

    def header(self, name: str, value: str) -> str:
        """Redact the value of a header field, according to its name and text."""
        if name in _COOKIES:
            return self._cookie(name, value)
        if name in self._headers:
            return self._credentials(value)
        kind = self._secrecy(name) or (Secrecy.NONE if plain(name) in self._allowed else header_secrecy(name))
        if kind:
            return value if is_shown(value.strip(), kind) else self._credentials(value)
        return self.body(value, is_url=name in _URL_HEADERS)

    def _short_header(self, name: str, value: str) -> str:
        """Redact the value of a header field that has one of few values; use `short_header`, which is cached."""
        try:
            return self.limited(INLINE_WORK).header(name, value)
        except TooMuchWorkError:
            return self.secret(value)

    def _scalar(self, path: str, text: str) -> str:
        """Redact the JSON text of a short value at a path of a body; use `scalar`, which is cached.

        This does not find a secret that only another part of the body shows to be one.
        """
        found = Difference(
            path=path, pattern="", kind=Kind.VALUE, primary=text, candidate=None, severity=Severity.VALUE
        )
        try:
            return self.limited(INLINE_WORK).difference(found).primary or ""
        except TooMuchWorkError:
            return self.secret(text)

    def path(self, path: str) -> str:
        """Redact a request target, in any encoding."""
        return self.body(path, is_url=True)

    def route_path(self, path: str) -> str:
        """Return the path of a route with `{token}` for each secret."""
        return self._without_secrets(path, "{token}", is_url=True)

    def place(self, path: str) -> str:
        """Return a path pattern without secrets in its names, so that a place always counts under the same path.

        The digest of a cut line is replaced with a keyed hash, because the rest of the line may be a secret.
        """
        plain = self._without_secrets(path, SOME)
        return (
            _CUT_LINE.sub(self._keyed, plain) if "…" in plain and (plain.startswith(LINE) or is_html(plain)) else plain
        )

    def _keyed(self, digest: re.Match[str]) -> str:
        return f"…~{hashlib.blake2b(digest[1].encode(), key=self._key, digest_size=4).hexdigest()}]"

    def text(self, text: str) -> str:
        """Redact text of unknown type."""
        return self.body(text)

    def body(self, text: str, media_type: str = "", path: str = "$", *, is_url: bool = False) -> str:
        """Redact a text at a path until nothing changes, because a placeholder may make the text around it a secret."""
        for _ in range(_ROUNDS):
            before = text
            found = self.secrets(text, media_type, path, is_url=is_url)
            text = _spliced(text, ((one, self.placeholder(one)) for one in found))
            if text == before:
                break
        return text

    def secrets(self, text: str, media_type: str, path: str = "$", *, is_url: bool = False) -> list[SecretSpan]:
        """Return the secrets of a text at a path of a body. A limited redactor searches equal texts only once."""
        searched = (text, media_type, path, is_url)
        if self._found is not None and searched in self._found:
            return self._found[searched]
        at_paths = self._paths.find(text, path, self.spend) if self._paths else []
        names = self._secrecy if at_paths is not None else partial(self._secrecy, declared=self._names_of_paths)
        most = self.searched + _WORK_FACTOR * len(text) + _WORK_CHARS
        found = merge_spans(text, [*self._search(text, media_type, names, most, is_url=is_url), *(at_paths or ())])
        if self._found is not None:
            self._found[searched] = found
        return found

    def _search(
        self, text: str, media_type: str, names: NameSecrecy, most: int, depth: int = 0, *, is_url: bool
    ) -> list[SecretSpan]:
        """Return the secrets of a text and of its encoded parts; beyond `most` characters, parts are hidden."""
        self.searched += len(text)
        spend = self.spend
        spend(_UNITS_PER_SEARCH + len(text) // CHARS_PER_UNIT)

        def of_parameter(name: str) -> Secrecy:
            return Secrecy.SECRET if plain(name) in self._query_names else names(name)

        found = [*in_parameters(text, of_parameter, spend, form=media_type == FORM)] if "=" in text else []
        if "@" in text:
            found += in_authorities(text, spend)
        if is_url:
            found += in_segments(text, of_parameter, names, spend)
        for one in self._patterns.find(text, spend):
            scheme = _SCHEME.match(one.text)
            skipped = scheme.end() if scheme else 0
            found.append(SecretSpan(one.start + skipped, one.end, one.text[skipped:], one.quote))
        if self._name_filter.may_match(text):
            spend(_UNITS_PER_SEARCH)
            start, end = _named_part(text) if is_url else (0, len(text))
            named = find_secrets(text[start:end], names, spend, yaml=media_type.endswith("yaml"))
            found += [one._replace(start=one.start + start, end=one.end + start) for one in named]
            found += find_named_values(text, names, spend, csv=media_type in _TABLES)
        for piece in encoded_parts(text, spend):
            if depth >= DEEPEST or self.searched + len(piece.text) > most:
                found.append(piece.whole(text))
                continue
            kind = FORM if _FORM_TEXT.match(piece.text) else ""
            inner = self._search(piece.text, kind, names, most, depth + 1, is_url=is_url)
            found += [piece.outer(one, text) for one in merge_spans(piece.text, inner)]
        spend(len(found))
        return found

    def placeholder(self, one: SecretSpan) -> str:
        """Return the placeholder of a secret in its quotation marks."""
        self.spend(4)
        return f"{one.quote}{self.secret(one.text)}{one.quote}"

    def _replace_secrets(self, path: str, instead: str, *, is_url: bool = False) -> str:
        """Replace the secrets of a path; if the search takes too long for the event loop, replace the whole path."""
        if not is_url and _PLAIN_PATH.fullmatch(path):
            return path
        try:
            found = self.limited(INLINE_WORK).secrets(path, "", is_url=is_url)
        except TooMuchWorkError:
            return f"/{instead}" if is_url else instead
        return _spliced(path, ((one, instead) for one in found))

    def difference(self, difference: Difference, sides: Sides = NO_SIDES) -> Difference:
        """Redact the values of a difference, according to the names in its path and the secrets of both bodies."""
        primary = self._value(difference, difference.primary, sides[0], sides)
        candidate = self._value(difference, difference.candidate, sides[1], sides)
        path, pattern = self._place(difference.path), self._place(difference.pattern)
        is_hidden = (primary, candidate) != (difference.primary, difference.candidate)
        parameters = safe_parameters(self, difference, is_hidden=is_hidden)
        pattern = COARSE if has_words(pattern) and (is_hidden or _shows_secret(pattern, sides)) else pattern
        return msgspec.structs.replace(
            difference, path=path, pattern=pattern, primary=primary, candidate=candidate, parameters=parameters
        )

    def hides(self, difference: Difference, sides: Sides = NO_SIDES) -> bool:
        """Return whether a value of a difference is or has a secret."""
        values = zip((difference.primary, difference.candidate), sides, strict=True)
        return any(self._value(difference, value, side, sides) != value for value, side in values)

    def hides_words(self, difference: Difference, sides: Sides = NO_SIDES) -> bool:
        """Return whether the place of a difference has words of a text that is, has or is next to a secret."""
        pattern = difference.pattern
        return has_words(pattern) and (self.hides(difference, sides) or _shows_secret(pattern, sides))

    def _place(self, path: str) -> str:
        """Redact a path; if text was read as a form, its names may be secrets. The place of a line has its words."""
        if path.startswith(LINE) or is_html(path):
            return self.place(path)
        return self.text(path) if path.startswith("$") and _PLAIN_PATH.fullmatch(path) is None else path

    def _value(self, difference: Difference, value: str | None, side: SideText | None, sides: Sides) -> str | None:
        path = difference.path
        if value is None:
            return None
        if path.startswith("header."):
            return self.header(path.removeprefix("header."), value)
        if path.startswith("text") or is_html(path):
            return (redact_html_text if is_html(path) else redact_diff_text)(value, side, self)
        if path.startswith("bytes["):
            count, colon, shown = value.partition(": ")  # these bytes may be a part of a secret
            is_secret = colon and any(one and one.secrets for one in sides)
            return f"{count}{colon}{self.secret(shown)}" if is_secret else value
        kind = self._of_place(path, sides)
        if not kind and unquoted(value).startswith("…"):  # an excerpt does not show the form of its body
            kind = Secrecy.SECRET if side is None or side.overlapping_secrets(unquoted(value)) != [] else Secrecy.NONE
        if not kind and side is not None and side.hides(unquoted(value)):
            kind = Secrecy.SECRET
        if kind:
            return value if is_shown(value, kind) else f'"{self.secret(unquoted(value))}"'
        return self.body(value, side.media_type if path == "$" and side is not None else "", path)

    def _of_place(self, path: str, sides: Sides) -> Secrecy:
        """Return whether the value at a path is a secret, by the names in the path or, in multipart, by any name."""
        if self._paths.hide(path):
            return Secrecy.SECRET
        for name in _PATH_NAME.finditer(path):
            self.spend(1)
            is_parameter = _are_forms(sides) and plain(name[1].rpartition("?")[2]) in self._query_names
            kind = Secrecy.SECRET if is_parameter else self._secrecy(name[1])
            if kind:
                return kind if name.end() == len(path) else Secrecy.SECRET
        in_parts = any(one is not None and one.media_type.startswith("multipart/") and one.secrets for one in sides)
        return Secrecy.SECRET if in_parts else Secrecy.NONE

    def _secrecy(self, name: str, declared: frozenset[str] | None = None) -> Secrecy:
        """Return the secrecy of a name; `declared` has the configured names, in the form that `plain` returns."""
        declared = self._names if declared is None else declared
        if declared and plain(name) in declared:
            return Secrecy.SECRET
        self.spend(1 + (len(name) >> 5))
        found = secrecy(name)
        return Secrecy.NONE if found and self._allowed and plain(name) in self._allowed else found

    def _credentials(self, value: str) -> str:
        """Redact a secret header value, but keep its scheme."""
        scheme, space, rest = value.partition(" ")
        return scheme + space + self.secret(rest) if scheme.lower() in _SCHEMES else self.secret(value)

    def _cookie(self, name: str, value: str) -> str:
        """Redact the values of cookies; keep names and the attributes of `set-cookie`.

        An unknown attribute, or an attribute that is joined to another cookie, is also redacted.
        """
        redacted: list[str] = []
        for at, part in enumerate(value.split(";")):
            key, equals, text = part.partition("=")
            is_attribute = at > 0 and name == "set-cookie"
            if is_attribute and "=" not in text and key.strip().lower() in _COOKIE_ATTRIBUTES:
                redacted.append(part)
            elif equals:
                redacted.append(key + equals + self.secret(text))
            else:
                redacted.append(self.body(part) if is_attribute else self.secret(part))
        return ";".join(redacted)


@lru_cache(maxsize=4)
def _redactor(key: bytes, names: tuple[str, ...], more: tuple[tuple[str, Any], ...]) -> Redactor:
    return Redactor(key, names, **dict(more))


def _named_part(url: str) -> tuple[int, int]:
    """Return the range of a URL's query (`token:refresh` in a path is an operation), or of all other text."""
    if not _URL.match(url):
        return 0, len(url)
    target = url.partition("#")[0]
    return len(target.partition("?")[0]), len(target)


def _spliced(text: str, replacements: Iterable[tuple[SecretSpan, str]]) -> str:
    parts: list[str] = []
    kept = 0
    for one, instead in replacements:
        parts += text[kept : one.start], instead
        kept = one.end
    return "".join([*parts, text[kept:]])


def _shows_secret(place: str, sides: Sides) -> bool:
    return any(side is not None and side.shares_word(place) for side in sides)


def _are_forms(sides: Sides) -> bool:
    return all(one is not None and one.media_type == FORM for one in sides)


def redaction_key(secret: bytes) -> bytes:
    """Derive the key of the placeholders from a secret: the store's key, which is never stored, or a shared secret."""
    return hashlib.blake2b(b"redaction", key=secret, digest_size=_KEY_BYTES).digest()


async def shared_key(store: Store) -> bytes:
    """Return the key for a store without a key; it is the same in every process and after a restart.

    The first process stores a random secret. A program that can read such a store can also read its observations, so
    the secret reveals nothing more. Raises: redis.exceptions.RedisError.
    """
    secret = await store.once(_KEY_NAME, os.urandom(_KEY_BYTES))
    with reading(_KEY_NAME):
        if len(secret) != _KEY_BYTES:
            raise ValueError(f"the redaction key has {len(secret)} bytes instead of {_KEY_BYTES}")
    return redaction_key(secret)
