"""Describe a compared pair by a few short attributes: its path, parameters, headers, and v1's response.

No value is stored before the redactor of samples has redacted it. At most `MOST_ATTRIBUTES` of a pair are kept, and a
longer value is stored as its keyed hash. Work is limited, so that this may run on the event loop.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import unquote_plus

import orjson

from shadowdiff.report.body_text import decode_body, header, media_type
from shadowdiff.report.redact_diff import SideText
from shadowdiff.report.secret_span import INLINE_WORK, TooMuchWorkError
from shadowdiff.rules.jsonpath import name_step
from shadowdiff.rules.rule import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shadowdiff.model import Observation, Pair
    from shadowdiff.report.redaction import Redactor

MOST_ATTRIBUTES: Final = 20
MOST_PARAMETERS: Final = 6
MOST_HEADERS: Final = 6
_MOST_PLACEHOLDERS: Final = 3
_MOST_INSTANCES: Final = 2
_VALUE_CHARS: Final = 100
_NAME_CHARS: Final = 60
_CACHED_CHARS: Final = 300
"""A longer header is not cached."""
_BODY_BYTES: Final = 16 * 1024
"""A larger body of v1 is not parsed."""
_NODES: Final = 200
"""Values of a body that are looked at."""
_ELEMENTS: Final = 4
"""Elements of each array that are looked at."""
_WORK: Final = INLINE_WORK // 2
_SMALL: Final = 100
_MOST_INTEGER: Final = 100_000
_SIZES: Final = (0, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20)
_SIZE_TEXTS: Final = (
    "is empty", "is below 1 KiB", "has 1–4 KiB", "has 4–16 KiB", "has 16–64 KiB", "has 64–256 KiB",
    "has 256 KiB–1 MiB", "is above 1 MiB",
)  # fmt: skip
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z_-]{0,31}")
_SHORT: Final = re.compile(r"[\w .:/+-]{1,32}")
_SHORT_CHARS: Final = 32
_MEMBER: Final = re.compile(r"[A-Za-z_][\w-]{0,31}")
_DIGITS: Final = re.compile(r"(?:\D*\d){6}")
"""Times and numbers of orders have at least this many digits."""
DEFAULT_HEADERS: Final = (
    "accept", "accept-encoding", "accept-language", "content-type", "user-agent", "origin", "prefer", "range",
    "x-api-version", "x-client-version",
)  # fmt: skip
"""Request headers that usually do not identify a person."""
_INSTANCE_HEADERS: Final = frozenset({
    b"x-served-by", b"x-pod", b"x-pod-name", b"x-instance", b"x-instance-id", b"x-hostname", b"x-backend",
    b"x-backend-server", b"x-region", b"x-zone",
})  # fmt: skip


class Source(StrEnum):
    """What an attribute describes. Of two equally common attributes, the earlier member is shown."""

    PATH = "p"
    QUERY = "q"
    HEADER = "h"
    ROUTE = "r"
    INSTANCE = "i"
    REVISION = "v"
    STATUS = "s"
    TYPE = "t"
    BODY = "b"
    SIZE = "z"

    __hash__ = str.__hash__  # that of an enum is a Python function, and tables hash many attributes


class How(StrEnum):
    """Whether an attribute has a value, or is that a name is present or absent."""

    IS = "="
    PRESENT = "+"
    ABSENT = "-"

    __hash__ = str.__hash__


_ORDER: Final = {source: at for at, source in enumerate(Source)}
_FORMS: Final = {
    Source.PATH: "{value}",
    Source.QUERY: "query {name} = {value}",
    Source.HEADER: "header {name} = {value}",
    Source.ROUTE: "{value}",
    Source.INSTANCE: "v1 {name} = {value}",
    Source.REVISION: "v2 {name} = {value}",
    Source.STATUS: "v1 status = {value}",
    Source.TYPE: "v1 content-type = {value}",
    Source.BODY: "{name} = {value}",
    Source.SIZE: "v1 body {value}",
}
_KINDS: Final = {Source.QUERY: "query parameter", Source.HEADER: "header"}


class Attribute(NamedTuple):
    """One attribute of a pair. Names of a body are paths such as `price.currency` and `items[*].state`."""

    source: Source
    name: str
    value: str
    how: How = How.IS

    @property
    def text(self) -> str:
        """The attribute as pages show it: `category = garden`, `/products/13`, `no query parameter page`."""
        if self.how is How.IS:
            return _FORMS[self.source].format(name=self.name, value=self.value)
        return f"{'has' if self.how is How.PRESENT else 'no'} {_KINDS[self.source]} {self.name}"

    @property
    def order(self) -> tuple[int, bool, int, int, str, str]:
        """A sort key that puts the more specific of two equally common attributes first."""
        steps = self.name.count("[*]"), self.name.count(".")
        return _ORDER[self.source], self.how is not How.IS, *steps, self.name, self.value


def attributes_of(
    pair: Pair, redactor: Redactor, headers: Sequence[str] = DEFAULT_HEADERS, revision_header: bytes = b""
) -> tuple[Attribute, ...]:
    """Return the attributes of a pair. If redaction takes too much work, the rest of them is missing.

    headers: lower-case names of request headers. revision_header: names v2's revision, and v1's.
    """
    limited = redactor.limited(_WORK)
    found: list[Attribute] = []
    try:
        for one in _attributes(pair, limited, headers, revision_header):
            found.append(one)
            if len(found) >= MOST_ATTRIBUTES:
                break
    except TooMuchWorkError:
        pass
    return tuple(found)


def _attributes(pair: Pair, redactor: Redactor, headers: Sequence[str], revision_header: bytes) -> Iterator[Attribute]:
    v1, v2 = pair.primary, pair.candidate
    path, _, query = redactor.path(v2.path).partition("?")
    for value in _placeholders(pair.route, path):
        yield _attribute(redactor, Source.PATH, "path", value)
    for name, value in sorted(dict(_parameters(query)).items())[:MOST_PARAMETERS]:
        yield _attribute(redactor, Source.QUERY, name, value)
    sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in v2.request_headers}
    for name in [name for name in headers if name in sent][:MOST_HEADERS]:
        yield _attribute(redactor, Source.HEADER, name, _header(redactor, name, sent[name]))
    yield Attribute(Source.STATUS, "status", str(v1.status))
    if kind := media_type(v1.headers):
        yield _attribute(redactor, Source.TYPE, "content-type", redactor.text(kind))
    yield Attribute(Source.SIZE, "size", _size_text(max(v1.body_bytes, len(v1.body))))
    if revision := header(v2.headers, revision_header):
        yield _attribute(redactor, Source.REVISION, revision_header.decode("latin-1"), redactor.text(revision))
    names = _INSTANCE_HEADERS | {revision_header}
    for name, value in [field for field in v1.headers if field[0] in names][:_MOST_INSTANCES]:
        field = name.decode("latin-1")
        yield _attribute(redactor, Source.INSTANCE, field, _header(redactor, field, value.decode("latin-1")))
    yield from _of_body(v1, redactor)


def _header(redactor: Redactor, name: str, value: str) -> str:
    return redactor.short_header(name, value) if len(value) <= _CACHED_CHARS else redactor.header(name, value)


def _attribute(redactor: Redactor, source: Source, name: str, value: str) -> Attribute:
    """Return an attribute of redacted texts; a long text becomes its keyed hash."""
    name, value = (
        text if len(text) <= most else f"a text of {len(text)} characters {redactor.secret(text)}"
        for text, most in ((name, _NAME_CHARS), (value, _VALUE_CHARS))
    )
    return Attribute(source, name, value)


def _placeholders(route: str, path: str) -> Iterator[str]:
    """Yield for each placeholder of a route its path with the value of only this placeholder."""
    template = route.partition(" ")[2].partition(MARK)[0].split("/")
    segments = path.split("/")
    if len(template) != len(segments):
        return
    for at in [at for at, segment in enumerate(template) if "{" in segment][:_MOST_PLACEHOLDERS]:
        yield "/".join([*template[:at], segments[at], *template[at + 1 :]])


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    for part in query.split("&")[:32]:
        name, _, value = part.partition("=")
        if name:
            yield unquote_plus(name), unquote_plus(value)


def _size_text(size: int) -> str:
    return _SIZE_TEXTS[sum(size > least for least in _SIZES)]


def _of_body(v1: Observation, redactor: Redactor) -> Iterator[Attribute]:
    """Yield the values of v1's JSON body that are likely to be the same in other bodies, likeliest first."""
    if not v1.body or len(v1.body) > _BODY_BYTES or v1.truncated:
        return
    decoded = decode_body(v1.body, v1.headers, _BODY_BYTES)
    if decoded.binary or decoded.truncated or decoded.text.lstrip()[:1] not in {"{", "["}:
        return
    try:
        body: Any = orjson.loads(decoded.text)
    except orjson.JSONDecodeError:
        return
    side = SideText(v1, redactor)
    scalars = sorted(_scalars(body), key=lambda one: one[0])
    for _, name, path, value in scalars:
        text = orjson.dumps(value).decode()
        plain = value if isinstance(value, str) else text
        shown = redactor.secret(plain) if side.hides(plain) else redactor.scalar(path, text)
        yield _attribute(redactor, Source.BODY, name, shown.strip('"') if isinstance(value, str) else shown)


def _scalars(body: Any) -> Iterator[tuple[int, str, str, Any]]:
    """Yield (rank, name, path, value) of values that may repeat, breadth first. A lower rank repeats more often."""
    todo: list[tuple[str, str, Any]] = [("", "$", body)]
    seen: set[tuple[str, Any]] = set()
    for at in range(_NODES):
        if at >= len(todo):
            return
        name, path, value = todo[at]
        if isinstance(value, dict):
            for key, inner in islice(cast("dict[str, Any]", value).items(), _NODES):
                if step := _step(key):
                    todo.append((f"{name}.{key}" if name else key, path + step, inner))
        elif isinstance(value, list):
            todo += [(f"{name}[*]", f"{path}[{n}]", one) for n, one in enumerate(cast("list[Any]", value)[:_ELEMENTS])]
        elif (rank := _rank(value)) is not None and name and (name, value) not in seen and len(name) <= _NAME_CHARS:
            seen.add((name, value))
            yield rank, name, path, value


@lru_cache(maxsize=4096)
def _step(name: str) -> str:
    """Return the step of a path to a member; empty for a name that is a value itself."""
    return name_step(name) if _MEMBER.fullmatch(name) else ""


def _rank(value: Any) -> int | None:
    """Return how likely a value is to be rare; None if it is hardly ever repeated."""
    match value:
        case bool() | None:
            return 0
        case int():
            return 1 if abs(value) < _SMALL else 2 if abs(value) < _MOST_INTEGER else None
        case str() if len(value) > _SHORT_CHARS:
            return None
        case str() if _WORD.fullmatch(value):
            return 0
        case str() if _SHORT.fullmatch(value) and not _DIGITS.match(value):
            return 2
        case _:
            return None
