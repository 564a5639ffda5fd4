"""Decide from a name whether its value is a secret.

A name is split into words at case changes, punctuation and digits. For example, `newPassword1`, `secret_key_base` and
`X-Auth-Key` are found, but `tokenizer`, `keyboard` and `secretary` are not. Pure; the time is linear in the length of
the name. `docs/reports.md` lists the words; a test compares it with this module.
"""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import re2

if TYPE_CHECKING:
    from collections.abc import Iterable


class Secrecy(IntEnum):
    """Whether the name makes a value a secret: never, unless the value is a short number, or always."""

    NONE = 0
    UNLESS_NUMBER = 1
    SECRET = 2


ANYWHERE: Final = (
    "password", "passwd", "passphrase", "passcode", "credential", "csrf", "xsrf", "passwort", "kennwort", "contrasena",
    "motdepasse", "wachtwoord", "secret", "token", "pwd", "cvv", "cvc", "cred", "otp", "pw", "senha", "totp",
)  # fmt: skip
"""A name is a secret's if one of its words is one of these, in the singular or the plural."""
_PARTS: Final = ANYWHERE[:12]
"""Words that are not a part of any ordinary word."""
_ENDINGS: Final = ANYWHERE[12:17]
"""Words that no ordinary word ends in."""
OPENS: Final = (
    "access", "account", "admin", "aes", "api", "app", "application", "auth", "cert", "client", "consumer",
    "decryption", "deploy", "enc", "encryption", "function", "functions", "hmac", "host", "license", "master",
    "private", "recovery", "root", "rsa", "sas", "secret", "security", "service", "session", "shared", "signing",
    "ssh", "subscription", "user", "webhook",
)  # fmt: skip
"""A name is a secret's if it has one of these before `key` or `keys`."""
LAST: Final = (
    "authorization", "signature", "assertion", "cookie", "jwt", "sessionid", "sessid", "sig", "pin", "bearer", "hmac",
    "mfa", "mnemonic",
)  # fmt: skip
"""A name is a secret's if it ends in one of these, or in one of these and then in `NEUTRAL` words."""
_SHORT: Final = frozenset(LAST[7:])
"""Words that count only as whole words, because `design` ends in `sig` and `spin` in `pin`."""
NEUTRAL: Final = frozenset({
    "again", "base", "code", "confirm", "confirmation", "current", "data", "digest", "encrypted", "hash", "header",
    "hex", "new", "old", "plain", "raw", "repeat", "sha", "string", "text", "v", "value", "values",
})  # fmt: skip
WHOLE: Final = frozenset({"auth", "session", "sid", "pass"})
"""A name is a secret's if it is one of these, with or without `x-` before it."""
OWNERS: Final = (
    "admin", "auth", "current", "database", "db", "email", "ftp", "ldap", "login", "mail", "my", "mysql", "new", "old",
    "postgres", "proxy", "redis", "root", "service", "smtp", "ssh", "user", "vpn", "wifi",
)  # fmt: skip
"""A name is a secret's if it ends in one of these and then `pass`."""
_ENDS: Final = frozenset({
    ("basic", "auth"), ("http", "auth"), ("proxy", "auth"), ("smtp", "auth"), ("connect", "sid"), ("session", "sid"),
    ("security", "code"), ("security", "answer"), ("backup", "codes"), ("recovery", "codes"), ("recovery", "phrase"),
    ("seed", "phrase"),
})  # fmt: skip
_KEYS_SHOWN: Final = frozenset({
    "websocket", "idempotency", "surrogate", "cache", "partition", "routing", "sort", "public", "dedup",
    "deduplication", "object", "message", "ordering", "primary", "correlation",
})  # fmt: skip
"""A header that ends in `key` is not a secret if it has one of these before it."""
QUERY_NAMES: Final = frozenset({"key", "code", "pass"})
"""Secrets in a query or a form; in JSON they are everyday words, such as the `code` of an error."""

DESCRIBES: Final = frozenset({
    "accepted", "address", "age", "alg", "algorithm", "allowed", "arn", "at", "attempts", "budget", "changed",
    "controller", "count", "counts", "created", "date", "decimals", "disabled", "domain", "enabled", "endpoint",
    "endpoints", "error", "errors", "exception", "expiration", "expired", "expires", "expiry", "factory", "field",
    "fields", "file", "filename", "filter", "format", "generator", "handler", "in", "issued", "label", "length",
    "limit", "limits", "manager", "message", "messages", "method", "methods", "middleware", "module", "name", "names",
    "on", "param", "parser", "path", "placeholder", "policies", "policy", "price", "provider", "remaining",
    "repository", "required", "retries", "rule", "rules", "scheme", "service", "size", "state", "status", "store",
    "strength", "supply", "supported", "symbol", "time", "total", "ttl", "type", "types", "usage", "used", "valid",
    "validator", "verified", "version",
})  # fmt: skip
"""A name that ends in one of these describes a secret but does not have it: `token_type`, `passwordUpdatedAt`."""
_ADDRESSES: Final = frozenset({f"{one}{kind}" for one in ("token", "authorization") for kind in ("url", "uri")})
"""Addresses of token servers, which contain no secret; `password_reset_url` does."""

_NAME_CHARS: Final = 256
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_MORE: Final = "again|base|confirm|confirmation|data|hash|id|new|old|repeat|string|text|value"
_SECRET_WORD: Final = re.compile(
    rf".*(?:{'|'.join(_PARTS)})(?P<rest>[a-z]*)|.*(?:{'|'.join(_ENDINGS)})(?P<plural>s|)(?:{_MORE})?"
    rf"|.*(?:{'|'.join(OPENS)})key(?P<keys>s|)(?:{_MORE})*|(?:{'|'.join(ANYWHERE[17:])})(?P<short>s|)"
)
"""For names without separators, such as `newpassword` and `tokenvalue`."""
_TAILS: Final = (
    *(one for one in (*ANYWHERE[:17], *LAST) if one not in _SHORT),
    *(f"{one}key" for one in OPENS), *(f"{one}pass" for one in OWNERS), "credentials",
)  # fmt: skip
_JOINED: Final = frozenset({
    *ANYWHERE[:17], *_TAILS, *(f"{one}key" for one in OPENS),
    *("".join(words) for words in _ENDS if words[-1] not in WHOLE),
})  # fmt: skip
"""Letters in the name of a secret, however it is divided; for other names see `_WORDS`."""


def finder(*expressions: str) -> re2.Set:
    """Return a matcher of several expressions in one pass; this is RE2's fastest call."""
    found = re2.Set.SearchSet()
    for expression in expressions:
        found.Add(expression)
    found.Compile()
    return found


_WORDS: Final = "|".join(sorted({*_SHORT, *WHOLE, *ANYWHERE[17:]}))
_CAPITALIZED: Final = "|".join(one.capitalize() for one in _WORDS.split("|"))
_WHOLE_WORDS: Final = finder(
    rf"(?:\A|[^A-Za-z]|\\[A-Za-z])(?:{_WORDS})s?(?:[^a-z]|\z)|(?:{_CAPITALIZED})s?(?:[^a-z]|\z)"
    rf"|(?:\A|[^A-Z])(?:{_WORDS.upper()})S?(?:[^A-Za-z]|\z|[A-Z][a-z])"
)
_LETTERS_ONLY: Final = re.compile("[^a-z]+")
_NO_LETTERS: Final = bytes(set(range(256)) - set(b'abcdefghijklmnopqrstuvwxyz"'))
_UNICODE_ESCAPE: Final = re.compile(r"\\u([0-9A-Fa-f]{4})")
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9]+")


def plain(name: str) -> str:
    """Return a name in lower case, without punctuation and accents, so that all spellings of a name are equal."""
    return _NOT_PLAIN.sub("", _ascii(name).lower())


def plain_names(names: Iterable[str]) -> frozenset[str]:
    """Return names in the form that `plain` returns."""
    return frozenset(map(plain, names)) - {""}


class NameFilter:
    """A quick check whether a text can contain a secret's name, so that most texts need no search for names.

    A False result is always correct. The check ignores punctuation, digits and case, so that it finds `pass-word`. The
    check does not ignore quotation marks, so that two adjacent names do not form a third name.
    """

    def __init__(self, more: Iterable[str] = ()) -> None:
        """more: additional names, in the form that `plain` returns."""
        joined = {_LETTERS_ONLY.sub("", one) for one in (*_JOINED, *more)}
        fewest = [one for one in sorted(joined) if not any(other in one for other in joined - {one})]
        self._joined = finder("|".join(fewest))

    def may_match(self, text: str) -> bool:
        """Return whether the text may contain a secret's name."""
        return self._matches(text) or (
            "\\u" in text and self._matches(_UNICODE_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text))
        )

    def _matches(self, text: str) -> bool:
        plain_text = text if text.isascii() else _ascii(text).encode("ascii", "replace").decode()
        if _WHOLE_WORDS.Match(plain_text):
            return True
        letters = plain_text.lower().encode().translate(None, _NO_LETTERS)
        return bool(self._joined.Match(letters))


def secrecy(name: str) -> Secrecy:
    """Return whether the value under a name is a secret. Of a long name, only the beginning and the end are checked."""
    if len(name) > _NAME_CHARS:
        name = f"{name[: _NAME_CHARS // 2]}_{name[-_NAME_CHARS // 2 :]}"
    return _secrecy(name)


def header_secrecy(name: str) -> Secrecy:
    """Return the same for headers that `secrecy` does not find, such as `fastly-key` and `x-zumo-auth`."""
    *before, last = _WORD.findall(name[-_NAME_CHARS:].lower()) or [""]
    is_secret = last == "auth" or (last == "key" and not _KEYS_SHOWN.intersection(before))
    return Secrecy.SECRET if is_secret else Secrecy.NONE


@lru_cache(maxsize=4096)
def _secrecy(name: str) -> Secrecy:
    words = [word.lower() for word in _WORD.findall(_ascii(name))]
    words = words[1:] if words[:1] == ["x"] else words
    if not words or "".join(words) in _ADDRESSES:
        return Secrecy.NONE
    if words[0] in WHOLE and len(words) == 1:
        return Secrecy.UNLESS_NUMBER if words == ["pass"] else Secrecy.SECRET
    if _ends_as_a_secret(words):
        return Secrecy.UNLESS_NUMBER if words[-1] == "credentials" else Secrecy.SECRET
    if words[-1] in DESCRIBES:
        return Secrecy.NONE
    found = [_of_word(word, after) for word, after in zip(words, [*words[1:], ""], strict=True)]
    return max(found)


def _of_word(word: str, after: str) -> Secrecy:
    """Return whether a word of a name, together with the next word, names a secret."""
    if word in OPENS and after in ("key", "keys"):
        return Secrecy.SECRET if after == "key" else Secrecy.UNLESS_NUMBER
    found = _SECRET_WORD.fullmatch(word)
    if found is None or found["rest"] == "less" or found["rest"] in DESCRIBES:
        return Secrecy.NONE
    is_plural = "s" in (found["rest"], found["plural"], found["keys"], found["short"])
    return Secrecy.UNLESS_NUMBER if is_plural else Secrecy.SECRET


def _ends_as_a_secret(words: list[str]) -> bool:
    """Return whether the end of a name names a secret, even if it is split: `to-ken`, `PassWord2`."""
    left = list(words)
    while left:
        if "".join(left).endswith(_TAILS) or left[-1] in _SHORT or tuple(left[-2:]) in _ENDS:
            return True
        if left.pop() not in NEUTRAL:
            return False
    return False


def _ascii(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFKD", name)
