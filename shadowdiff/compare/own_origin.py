"""Recognize texts that differ only because each version wrote its own origin: the scheme and host of its URLs.

v1's origin is the one that the user called: the request's Host, with the scheme in X-Forwarded-Proto if the request has
it. v2's origin has exactly the Host that v2 was sent, and any scheme. An origin may be percent-encoded, or escaped as
in JSON and HTML, and it may begin with `//`. The comparison writes v1's origin in the place of v2's and compares
again, so everything else must be equal.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from shadowdiff.model import Difference, Observation, Pair
    from shadowdiff.rules.json_values import Value

MAX_AUTHORITY_CHARS: Final = 255
_SCHEMES: Final = frozenset({b"http", b"https"})
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
_SLASH: Final = rb"(?:\\*/|\\+u002[fF]|&#x2[fF];|&#47;|%(?:25)*2[fF])"
_ENCODED_COLON: Final = re.compile(rb"%(?:25)*3[aA]")
_COLON: Final = rb"(?::|%(?:25)*3[aA])"
_AFTER: Final = rb"(?![\w@\x80-\xff-]|:[\w@]|\.[\w-]|%(?:25)*(?:3[aA]|40))"
"""What follows a whole authority: no further name, port or `@`."""


class OwnOrigin(NamedTuple):
    """The origins of both versions.

    name: a part of each text with v2's origin. users: the authorities that the user may have called, by scheme, without
    a default port. one: finds v1's origin, `other` v2's; group 1 is the scheme and its colon, 2 the slashes, 3 the
    authority.
    """

    name: bytes
    users: dict[bytes, frozenset[bytes]]
    one: re.Pattern[bytes]
    other: re.Pattern[bytes]

    def written(self, text: bytes) -> dict[bytes, bytes]:
        """Return how v1 writes its authority in a text, by scheme; an origin without a scheme has an empty one."""
        found: dict[bytes, bytes] = {}
        for match in self.one.finditer(text):
            scheme, authority = _scheme(match), _plain(match[3])
            if any(_without_default(authority.lower(), each) in self.users[each] for each in self._schemes(scheme)):
                found.setdefault(scheme, authority)
            if len(found) > len(self.users):
                break
        return found

    def _schemes(self, scheme: bytes) -> Iterable[bytes]:
        """Return the schemes that an origin in v1's text may have: all for `//`."""
        return ({scheme} if scheme else set(self.users)) & self.users.keys()

    def rewrite(self, text: bytes, written: dict[bytes, bytes]) -> bytes:
        """Return a text of v2 with v1's origins, as v1 writes them."""

        def origin(match: re.Match[bytes]) -> bytes:
            scheme = _scheme(match)
            wanted = scheme if scheme in written or not scheme else next((each for each in written if each), b"")
            if wanted not in written or (scheme and not wanted):
                return match[0]
            start = wanted + match[1][len(scheme) :] if scheme else b""
            return start + match[2] + _encoded(written[wanted], match[1] + match[2])

        return self.other.sub(origin, text) if written and self.name in text else text

    def rewrite_value(self, value: Value, written: dict[bytes, bytes]) -> Value:
        """Return a value of v2 with v1's origins in each string, also in the names of members."""
        if isinstance(value, dict):
            found = {
                self._rewrite_text(name, written): self.rewrite_value(each, written) for name, each in value.items()
            }
            return found if len(found) == len(value) else value
        if type(value) is list:
            return [self.rewrite_value(each, written) for each in value]
        return self._rewrite_text(value, written) if type(value) is str else value

    def _rewrite_text(self, text: str, written: dict[bytes, bytes]) -> str:
        if self.name.decode() not in text:
            return text
        return self.rewrite(text.encode("utf-8", "surrogatepass"), written).decode("utf-8", "surrogatepass")


def own_origin(pair: Pair) -> OwnOrigin | None:
    """Return the origins of a pair; None if v2 was called by the host that the user called."""
    authority, hosts = pair.candidate.authority, {pair.primary.host, pair.candidate.host}
    hosts = {host.lower() for host in hosts if 0 < len(host) <= MAX_AUTHORITY_CHARS}
    if not authority or not hosts or authority.lower() in hosts or len(authority) > MAX_AUTHORITY_CHARS:
        return None
    sent = next((value for name, value in pair.candidate.request_headers if name == b"x-forwarded-proto"), b"")
    scheme = sent.partition(b",")[0].strip().lower()
    return _origins(authority, tuple(sorted(hosts)), frozenset({scheme}) if scheme in _SCHEMES else _SCHEMES)


def own_names(pair: Pair) -> tuple[str, tuple[str, ...]] | None:
    """Return the Host that v2 was sent, and those that the user may have called; None if they are the same."""
    sent, called = pair.candidate.authority, (pair.primary.host, pair.candidate.host)
    if not sent or sent in called or len(sent) > MAX_AUTHORITY_CHARS:
        return None
    return sent, tuple({name: None for name in called if 0 < len(name) <= MAX_AUTHORITY_CHARS})


@lru_cache(maxsize=256)
def _origins(authority: str, hosts: tuple[str, ...], schemes: frozenset[bytes]) -> OwnOrigin:
    start = rb"((?<![A-Za-z0-9+.-])(?i:https?)" + _COLON + rb"|(?<![:\w/\\;])(?<!%3[aA]))(" + _SLASH + b"{2})"
    plain = [host.encode("utf-8", "replace") for host in hosts]
    users = {scheme: frozenset(_without_default(host, scheme) for host in plain) for scheme in sorted(schemes)}
    names = sorted({*plain, *(name for each in users.values() for name in each)})
    one = rb"((?i:" + b"|".join(map(_pattern, names)) + rb")(?:" + _COLON + rb"(?:80|443))?)"
    return OwnOrigin(
        name=_name(authority).encode("utf-8", "replace"),
        users=users,
        one=re.compile(start + one + _AFTER),
        other=re.compile(start + rb"(" + _pattern(authority.encode("utf-8", "replace")) + rb")" + _AFTER),
    )


def _name(authority: str) -> str:
    """Return the longest part of an authority that no encoding changes."""
    return max(re.split(r"[:\[\]]", authority), key=len)


def _without_default(authority: bytes, scheme: bytes) -> bytes:
    return authority.removesuffix(_DEFAULT_PORTS[scheme])


def _pattern(authority: bytes) -> bytes:
    """Return a pattern of an authority, whose colons and brackets may be percent-encoded."""
    encoded = {b":": _COLON, b"[": rb"(?:\[|%(?:25)*5[bB])", b"]": rb"(?:\]|%(?:25)*5[dD])"}
    each = (bytes([byte]) for byte in authority)
    return b"".join(encoded.get(char, re.escape(char)) for char in each)


def _scheme(match: re.Match[bytes]) -> bytes:
    """Return the scheme as it is written; empty if the origin has none."""
    return _ENCODED_COLON.sub(b"", match[1]).removesuffix(b":").lower()


def _plain(authority: bytes) -> bytes:
    authority = _ENCODED_COLON.sub(b":", authority)
    return re.sub(rb"%(?:25)*5[dD]", b"]", re.sub(rb"%(?:25)*5[bB]", b"[", authority))


def _encoded(authority: bytes, before: bytes) -> bytes:
    """Return an authority in the encoding of the colon or slash before it."""
    found = re.search(rb"%((?:25)*)[23]([aAfF])", before)
    if found is None:
        return authority
    is_upper = found[2].isupper()
    for char, code in ((b":", b"3A"), (b"[", b"5B"), (b"]", b"5D")):
        authority = authority.replace(char, b"%" + found[1] + (code if is_upper else code.lower()))
    return authority


def rewritten_headers(origin: OwnOrigin, pair: Pair) -> Pair:
    """Return the pair with v1's origins in v2's header fields."""

    def fields() -> Iterator[tuple[bytes, bytes]]:
        written: dict[bytes, dict[bytes, bytes]] = {}
        for name, value in pair.candidate.headers:
            if origin.name not in value:
                yield name, value
                continue
            if name not in written:
                written[name] = origin.written(_values(pair.primary, name))
            yield name, origin.rewrite(value, written[name])

    return msgspec.structs.replace(pair, candidate=msgspec.structs.replace(pair.candidate, headers=tuple(fields())))


def restoring(origin: OwnOrigin, pair: Pair, one: bytes, other: bytes) -> Callable[[str], str] | None:
    """Return a function that writes v2's origins again, as v2 sent them.  one, other: the decoded bodies.

    Returns: None if it is not known which origins to write, because a version also sent the other one's origin, or v2
    sent several schemes.
    """
    text = b"\n".join([other, *(value for _, value in pair.candidate.headers)])
    schemes = {_scheme(match) for match in origin.other.finditer(text)} - {b""}
    if len(schemes) > 1 or origin.one.search(text) or origin.other.search(one):
        return None
    scheme = next(iter(schemes), b"")

    def origin_of(match: re.Match[bytes]) -> bytes:
        start = scheme + match[1][len(_scheme(match)) :] if scheme and match[1] else match[1]
        return start + match[2] + _encoded(pair.candidate.authority.encode(), match[1] + match[2])

    return lambda shown: origin.one.sub(origin_of, shown.encode("utf-8", "surrogatepass")).decode(
        "utf-8", "surrogatepass"
    )


def _values(side: Observation, name: bytes) -> bytes:
    return b"\n".join(value for field, value in side.headers if field == name)


def is_written(origin: OwnOrigin, pair: Pair, body: bytes, counted: Sequence[Difference]) -> bool:
    """Whether v2's response or a difference may have v2's origin. body: v2's decoded body."""
    name = origin.name
    if name in body or any(name in value for _, value in pair.candidate.headers):
        return True
    text = name.decode()
    return any(text in (one.candidate or "") for one in counted)
