"""Compare one header field according to its grammar, or by its raw values if it has no known grammar.

Values that change in every response (a cookie's value, a validator, a duration) are compared only by presence and form.
Several lines of one field form one list, in order (RFC 9110 section 5.2). A URL that contains the service's own name is
compared as a path, because v2 may have another name than v1. The service's own names are the host that the user
requested and the Host that each side received. If the paths that v2 receives have other prefixes than v1's paths, v2's
URLs may have them too.

Cookies are compared as a multiset by name, domain and path, with their attributes (RFC 6265). Values and dates differ
only if one value is empty or one date is past. If several cookies have the same name, domain and path, clients keep the
last one, so the last ones must agree. A comparison does not read the clock: a date is past if it is before the
response's Date, or before the time of the recording.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.compare.content_type import MAX_TYPE_BYTES, list_members, media_of, split_parameters
from shadowdiff.compare.sequence import grouped
from shadowdiff.rules.path_prefix import move_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shadowdiff.model import Observation
    from shadowdiff.rules.json_values import Value

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_ABSOLUTE: Final = re.compile(r"(?:(https?):)?//([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_TARGET: Final = re.compile(r"<([^<>]*)>")
_REFRESH: Final = re.compile(r"([0-9.]*\s*[;,]\s*url\s*=\s*)(.*)", re.IGNORECASE | re.DOTALL)
_MAX_READ_CHARS: Final = 16_384
"""Longer values are compared unparsed: reading a list takes time for each character."""
_MAX_ATTRIBUTES: Final = 64
"""The maximum number of attributes that are compared separately. The rest is compared as one text."""
_MAX_DATE_CHARS: Final = 64
_YEAR_2000_S: Final = 946_684_800
"""The present of a response without any time; dates that mean "already over" are before it."""
_DAY_FIRST: Final = re.compile(r"\b(\d{1,2})[ -]([A-Za-z]{3})[a-z]*[ -](\d{2,4}) +(\d{1,2}):(\d\d):(\d\d)")
_MONTH_FIRST: Final = re.compile(r"\b([A-Za-z]{3}) +(\d{1,2}) +(\d{1,2}):(\d\d):(\d\d) +(\d{4})")
_NAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS: Final = {name: number for number, name in enumerate(_NAMES, start=1)}
_TWO_DIGITS: Final = 2
_FIRST_OF_THE_LAST_CENTURY: Final = 70
"""RFC 6265, section 5.1.1: years from 70 to 99 mean 1970 to 1999, and years from 0 to 69 mean 2000 to 2069."""
Differing = tuple[str, str | None, str | None]
"""A part of a field (empty: all of it), and its text on each side; None if a side does not send it."""


def differing(
    name: bytes,
    values: tuple[Sequence[bytes], Sequence[bytes]],
    sides: tuple[Observation, Observation],
    own: frozenset[str] = frozenset(),
) -> Iterable[Differing]:
    """Return where the two sides differ in one field. A missing field has no values.

    own: the names of the service; a URL with one of them is compared as a path.
    """
    left = [value.decode("latin-1").strip(" \t") for value in values[0]]
    right = [value.decode("latin-1").strip(" \t") for value in values[1]]
    if name == b"set-cookie":
        return _differing_cookies(left, right, sides)
    if read_url := OWN_URLS.get(name):
        path_of = partial(own_path, own=own)
        left, right = ([read_url(text, path_of) for text in texts] for texts in (left, right))
        if left != right and sides[1].prefixes:
            right = [_in_v1_form(text, left, read_url, sides[1].prefixes) for text in right]
    if name == b"expires":
        read_both = [_expires(texts, present_s(side)) for texts, side in zip((left, right), sides, strict=True)]
    elif sum(map(len, left)) + sum(map(len, right)) > _MAX_READ_CHARS:
        read_both = [_joined(left), _joined(right)]
    else:
        if name not in READERS and len(left) != len(right):  # a proxy might have joined several lines of one side
            left, right = list_members(left), list_members(right)
        read = READERS.get(name, _joined)
        read_both = [read(left), read(right)]
    one, other = read_both[0] if left else None, read_both[1] if right else None
    return [("", one, other)] if one != other else []


def compared_form(name: bytes, texts: Sequence[str], path_of: Callable[[str], str], now_s: float) -> Value:
    """Return what is compared of a field in a message inside a body: a text, or a text for each cookie's name.

    path_of: returns the path of a URL that names the service, and any other URL.  now_s: when the message was sent.
    """
    if name == b"set-cookie":
        return {name: _texts_of_name(cookies) for name, cookies in _by_name(texts, now_s).items()}
    if name == b"expires":
        return _expires(texts, now_s)
    if read_url := OWN_URLS.get(name):
        texts = [read_url(text, path_of) for text in texts]
    if sum(map(len, texts)) > _MAX_READ_CHARS:
        return _joined(texts)
    if name not in READERS and len(texts) > 1:
        texts = list_members(texts)
    return READERS.get(name, _joined)(texts)


def _texts_of_name(cookies: Sequence[_Cookie]) -> Value:
    """Return the texts of the cookies of one name. Their order matters only if one replaces another."""
    scopes = {(one.domain, one.path) for one in cookies}
    texts = [one.text for one in cookies]
    are_apart = len(scopes) == len(texts)
    return texts[0] if len(texts) == 1 else [*(sorted(texts) if are_apart else texts)]


def _joined(texts: Sequence[str]) -> str:
    return ", ".join(texts)


def _tokens(texts: Sequence[str]) -> str:
    """Read a list whose order and case do not matter."""
    return _exact_tokens([text.lower() for text in texts])


def _exact_tokens(texts: Sequence[str]) -> str:
    """Read a list whose order does not matter (RFC 9110 section 5.6.1)."""
    return ", ".join(sorted({*list_members(texts)} - {""}))


def _directives(texts: Sequence[str]) -> str:
    """Read `;`-separated directives whose order and case do not matter; use only the first line (RFC 6797)."""
    first, *rest = texts or [""]
    found = {part.strip(" \t").lower() for part in split_parameters(first)}
    return ", ".join(["; ".join(sorted(found - {""})), *rest])


def _one_media(text: str) -> str:
    if len(text) > MAX_TYPE_BYTES:
        return text
    media = media_of(text.encode("latin-1"))
    shown = [media.name]
    for name, value in sorted(media.parameters, key=lambda each: each[0]):
        if name == "boundary" and media.name.startswith("multipart/"):
            shown.append("boundary=…")
        else:
            shown.append(f"{name}={value.lower() if name == 'charset' else value}")
    return "; ".join(shown)


def _metrics(texts: Sequence[str]) -> str:
    """Read the names of metrics (Server-Timing); durations and descriptions differ in every response."""
    return _tokens([metric.partition(";")[0] for metric in list_members(texts)])


def _expires(texts: Sequence[str], now_s: float) -> str:
    """Read whether the response is fresh when it arrives; a response with an invalid date is stale (RFC 9111, 5.3)."""
    return ", ".join("past" if is_past(text, now_s) is not False else "future" for text in texts)


def _present(_texts: Sequence[str]) -> str:
    return "present"


READERS: Final[dict[bytes, Callable[[Sequence[str]], str]]] = {
    **dict.fromkeys((b"accept-ranges", b"cache-control", b"vary"), _tokens),
    **dict.fromkeys((b"access-control-allow-headers", b"access-control-expose-headers"), _tokens),
    **dict.fromkeys((b"access-control-allow-methods", b"allow"), _exact_tokens),
    **dict.fromkeys((b"x-content-type-options", b"x-frame-options"), lambda texts: _joined(texts).lower()),
    **dict.fromkeys((b"last-modified", b"retry-after"), _present),
    **dict.fromkeys((b"ratelimit", b"ratelimit-remaining", b"ratelimit-reset"), _present),
    **dict.fromkeys((b"x-ratelimit-remaining", b"x-ratelimit-reset"), _present),
    **dict.fromkeys((b"x-process-time", b"x-response-time", b"x-runtime"), _present),
    b"content-type": lambda texts: ", ".join(map(_one_media, texts)),
    b"etag": lambda texts: ", ".join("weak" if text.startswith("W/") else "strong" for text in texts),
    b"server-timing": _metrics,
    b"strict-transport-security": _directives,
}


def own_authorities(*sides: Observation) -> frozenset[str]:
    """Return the service's own names in lower case, with and without a default port."""
    named = {name.lower() for side in sides for name in (side.host, side.authority) if name}
    return frozenset(named | {name.removesuffix(port) for name in named for port in _DEFAULT_PORTS.values()})


def own_path(url: str, own: frozenset[str]) -> str:
    """Return the path and query of a URL that contains the service's own name; return any other URL unchanged."""
    found = _ABSOLUTE.fullmatch(url)
    if found is None:
        return url
    scheme, authority, rest = found.groups()
    authority = authority.lower()
    if authority not in own and authority.removesuffix(_DEFAULT_PORTS.get((scheme or "").lower(), "")) not in own:
        return url
    if rest[:2] in {"//", "/\\"}:  # without the dot, it would be the URL of another host
        return f"/.{rest}"
    return rest if rest[:1] == "/" else f"/{rest}"


def _in_v1_form(text: str, primary: Sequence[str], read_url: ReadUrl, prefixes: Sequence[tuple[str, str]]) -> str:
    """Return v2's text with v1's prefix in its paths if v1 sent that text, and else the text."""
    for before, after in prefixes:
        moved = read_url(text, lambda path, at=(after, before): move_prefix(path, *at) or path)
        if moved in primary:
            return moved
    return text


def _location(text: str, path_of: Callable[[str], str]) -> str:
    return path_of(text)


def _links(text: str, path_of: Callable[[str], str]) -> str:
    """Read the targets of links (RFC 8288, section 3)."""
    return _TARGET.sub(lambda found: f"<{path_of(found[1])}>", text)


def _refresh(text: str, path_of: Callable[[str], str]) -> str:
    """Read the target of a refresh (HTML Living Standard, section 4.2.5.3)."""
    found = _REFRESH.fullmatch(text)
    if found is None:
        return text
    delay, url = found.groups()
    quote = url[:1] if url[:1] in {"'", '"'} else ""
    return f"{delay}{quote}{path_of(url.strip(quote) if quote else url)}{quote}"


ReadUrl = Callable[[str, Callable[[str], str]], str]
OWN_URLS: Final[dict[bytes, ReadUrl]] = {
    b"location": _location, b"content-location": _location, b"link": _links, b"refresh": _refresh,
}  # fmt: skip
"""The fields that have URLs, and how a line of each is read."""


class _Cookie(NamedTuple):
    """A cookie: the domain and path (both empty if absent), and the cookie's line without the value."""

    domain: str
    path: str
    text: str


def _differing_cookies(
    left: Sequence[str], right: Sequence[str], sides: tuple[Observation, Observation]
) -> Iterator[Differing]:
    """Yield the name of each differing cookie, and its text on each side (None if the side does not set it)."""
    if _differ_in_values_only(left, right):
        return
    one, other = _by_name(left, present_s(sides[0])), _by_name(right, present_s(sides[1]))
    for name in {**one, **other}:
        for text, text_other in _differing_of_name(one.get(name, []), other.get(name, [])):
            yield name, text, text_other


def _differ_in_values_only(left: Sequence[str], right: Sequence[str]) -> bool:
    """Whether the only differences are between nonempty values: the usual case, which needs no parsing."""
    if len(left) != len(right):
        return False
    for line, line_other in zip(left, right, strict=True):
        head, _, attributes = line.partition(";")
        head_other, _, attributes_other = line_other.partition(";")
        name, equals, value = head.partition("=")
        name_other, equals_other, value_other = head_other.partition("=")
        if attributes != attributes_other or name != name_other or not (equals and equals_other):
            return False
        if not value.strip(" \t") or not value_other.strip(" \t") or "xpires" in attributes.lower():
            return False
    return True


def _by_name(lines: Sequence[str], now_s: float) -> dict[str, list[_Cookie]]:
    found: dict[str, list[_Cookie]] = {}
    for line in lines:
        head, *attributes = line.split(";", _MAX_ATTRIBUTES)
        name, equals, value = head.partition("=")
        if not equals:  # RFC 6265bis section 5.6: without `=` the whole text is the value
            name, value = "", head
        found.setdefault(name.strip(" \t"), []).append(_cookie(value.strip(" \t"), attributes, now_s))
    return found


def _cookie(value: str, attributes: Sequence[str], now_s: float) -> _Cookie:
    by_attribute: dict[str, str] = {}
    for attribute in attributes:
        name, _, text = (part.strip(" \t") for part in attribute.partition("="))
        if name:
            by_attribute[name.lower()] = text  # if an attribute is repeated, the last one has priority
    if "domain" in by_attribute:
        by_attribute["domain"] = by_attribute["domain"].lower().removeprefix(".")
    if "samesite" in by_attribute:
        by_attribute["samesite"] = by_attribute["samesite"].lower()
    shown = sorted(_attribute(name, text, now_s) for name, text in by_attribute.items())
    if not value and not _is_deleted(by_attribute, shown):
        shown.append("empty value")
    return _Cookie(by_attribute.get("domain", ""), by_attribute.get("path", ""), "; ".join(shown) or "no attributes")


def _attribute(name: str, text: str, now_s: float) -> str:
    if name != "expires":
        return f"{name}={text}" if text else name
    past = is_past(text, now_s)
    return "expires=not a date" if past is None else "expires=past" if past else "expires"


def _is_deleted(attributes: dict[str, str], shown: Sequence[str]) -> bool:
    """Whether the cookie expires immediately, so that its value is never used; Max-Age has priority over Expires."""
    if "max-age" in attributes:
        return attributes["max-age"].startswith("-") or not attributes["max-age"].strip("0")
    return "expires=past" in shown


def _differing_of_name(one: Sequence[_Cookie], other: Sequence[_Cookie]) -> Iterator[tuple[str | None, str | None]]:
    """Yield the differences between the cookies of one name; pair changed cookies by domain and path."""
    lost, gained = list((Counter(one) - Counter(other)).elements()), list((Counter(other) - Counter(one)).elements())
    if not lost and not gained:
        last, last_other = ({(each.domain, each.path): each.text for each in cookies} for cookies in (one, other))
        yield from ((text, last_other[place]) for place, text in last.items() if text != last_other[place])
        return
    alone: list[str] = []
    alone_other: list[str] = []
    one_by_place, other_by_place = (
        grouped(((each.domain, each.path), each.text) for each in cookies) for cookies in (lost, gained)
    )
    for place in sorted({**one_by_place, **other_by_place}):
        texts, texts_other = one_by_place.get(place, []), other_by_place.get(place, [])
        both = min(len(texts), len(texts_other))
        yield from zip(texts[:both], texts_other[:both], strict=True)
        alone += texts[both:]
        alone_other += texts_other[both:]
    yield from zip_longest(alone, alone_other)


def is_past(text: str, now_s: float) -> bool | None:
    """Return whether a date is in the past; None if the text is not a date."""
    at_s = seconds_of(text)
    return None if at_s is None else at_s <= now_s


def present_s(side: Observation) -> float:
    """Return the Unix time at which a response was sent, from its `date` header if it has one."""
    date = next((value.decode("latin-1") for name, value in side.headers if name == b"date"), "")
    sent_s = seconds_of(date)
    if sent_s is not None:
        return sent_s
    return side.at_ms / 1000 if side.at_ms > 0 else _YEAR_2000_S


def seconds_of(text: str) -> float | None:
    """Return the Unix time of an HTTP date, including the old formats of cookies; time zones are ignored."""
    if len(text) > _MAX_DATE_CHARS:
        return None
    if found := _DAY_FIRST.search(text):
        day, month, year, *time = found.groups()
    elif found := _MONTH_FIRST.search(text):
        month, day, *time, year = found.groups()
    else:
        return None
    century = 0 if len(year) > _TWO_DIGITS else 1900 if int(year) >= _FIRST_OF_THE_LAST_CENTURY else 2000
    try:
        at = datetime(century + int(year), _MONTHS[month.lower()], int(day), *map(int, time), tzinfo=UTC)
    except (ValueError, KeyError):
        return None
    return at.timestamp()
