"""Read which GraphQL operation a request contains, without executing or validating it.

Only a document whose operations are all queries is safe. A request that could mean something else to a server, such as
one with a repeated member, cannot be read, and is not safe. The size, depth and number of tokens are limited, and the
work is linear.
Source: GraphQL, sections 2.1 and 2.2; GraphQL over HTTP, section 5.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from shadowdiff.rules.routes import RouteTemplate, normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_BYTES: Final = 1 << 16
"""Of a request. A longer request cannot be read. Observations keep bodies up to this size."""
MAX_TOKENS: Final = 4096
"""Of a request, which may be a batch."""
MAX_DEPTH: Final = 200
MAX_BATCH: Final = 50
MAX_NAME_CHARS: Final = 64
UNREADABLE: Final = "_unreadable"
UNKNOWN: Final = "_unknown"
"""The operation of a recorded request, whose body is not recorded."""
BATCH: Final = "_batch"

_TOKEN: Final = re.compile(
    r"""(?:[ \t\n\r,\ufeff]++|\#[^\n\r]*+)*+(?:
    (?P<name>[_A-Za-z][_0-9A-Za-z]*+)
    |(?P<mark>\.\.\.|[!$&(){}:=@|\[\]])
    |(?P<number>-?[0-9](?:[0-9A-Za-z_.]|[eE][+-])*+)
    |(?P<text>\"\"\"(?:[^"\\]|\\\"\"\"|\\|"(?!""))*+\"\"\"|(?!\"\"\")"(?:[^"\\\n\r]|\\[^\n\r])*+")
    |\Z)""",
    re.VERBOSE,
)
_CLOSES: Final = {"{": "}", "(": ")", "[": "]"}
_BRACKETS: Final = frozenset("{}()[]")
_HEADER: Final = re.compile(
    r"(?:(query|mutation|subscription)(?: name)?(?: \(\))?|fragment name name name)(?: @ name(?: \(\))?)*"
)
"""The tokens before the selection set of an operation or fragment."""
_OTHER_LINE_ENDS: Final = ("\u2028", "\u2029")
"""Early versions of the specification end comments there."""
_MEMBERS: Final = frozenset({"query", "operationName", "variables", "extensions"})
_FOLDED: Final = frozenset(name.casefold() for name in _MEMBERS)
"""Some servers ignore the case of these names."""
_JSON: Final = frozenset({"application/json", "application/graphql+json"})
_DOCUMENT: Final = "application/graphql"
_DESCRIBE_BODY: Final = frozenset({b"content-type", b"content-encoding"})
_UTF_8: Final = frozenset({"", "charset=utf-8", 'charset="utf-8"'})
MAX_PARAMETERS: Final = 100
_VALUES: Final = re.compile(r"(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}|[0-9]{3,}")
"""Ids that a client wrote into the name of an operation."""
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_DIGEST_CHARS: Final = 12
_LITERALS: Final = {"number": "0", "text": '""'}
_REMEMBERED_CHARS: Final = 8192
MOST_PERSISTED: Final = 4096


class Operation(NamedTuple):
    """The operation of a request: its name in routes, and whether it is a query.

    is_query: None if the request has only a hash. persisted: the hash of the document, if the request has one.
    """

    name: str
    is_query: bool | None
    persisted: str = ""


class Definition(NamedTuple):
    """An operation of a document; the name is empty if it has none."""

    kind: str
    name: str


class Document(NamedTuple):
    """The operations of a document, a hash of its text without literals, comments and whitespace, and its length."""

    operations: tuple[Definition, ...]
    digest: str
    tokens: int


class UnreadableError(Exception):
    """A request is not a GraphQL request that every server reads alike."""


class GraphqlPaths:
    """The paths of a target's GraphQL endpoints, as templates; remembers which persisted documents are queries."""

    def __init__(self, templates: Iterable[str] = ()) -> None:
        self.templates = tuple(templates)
        self._templates = [RouteTemplate(one) for one in self.templates]
        self._persisted: dict[str, bool] = {}

    def match(self, method: str, path: str) -> bool:
        """Return whether a request for this path may contain an operation."""
        if not self._templates or method not in {"GET", "HEAD", "POST"}:
            return False
        segments = normal(path).split("/")
        return any(template.matches(method, segments) for template in self._templates)

    def operation(
        self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> Operation | None:
        """Return the operation of a request; None if a GET contains none, such as a request for an editor's page."""
        if not self.match(method, path):
            return None
        try:
            found = [self._known(one) for one in read_operations(method, path, headers, body)]
        except (UnreadableError, ValueError, RecursionError):
            return Operation(UNREADABLE, is_query=False)
        if len(found) > 1:
            return Operation(BATCH, is_query=all(one.is_query for one in found))
        return found[0] if found else None

    def _known(self, one: Operation) -> Operation:
        """Remember whether a persisted document is a query; return an operation whose kind is known."""
        if one.is_query is None:
            return one._replace(is_query=self._persisted.get(one.persisted, False))
        if one.persisted:
            self._persisted[one.persisted] = one.is_query
            if len(self._persisted) > MOST_PERSISTED:
                del self._persisted[next(iter(self._persisted))]
        return one


def read_operations(method: str, path: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> list[Operation]:
    """Return the operations of a request. Raises: UnreadableError, ValueError, RecursionError."""
    query = path.partition("?")[2].partition("#")[0]
    if max(len(query), len(body)) > MAX_BYTES:
        raise UnreadableError
    parameters = _parameters(query)
    has_operation = any(name.casefold() in _FOLDED for name, _ in parameters)
    if method == "POST":
        if has_operation:  # some servers prefer it to the body
            raise UnreadableError
        return _all_operations([_members(one) for one in _posted(headers, body)])
    if body or (has_operation and ";" in query):  # some servers separate parameters by semicolons
        raise UnreadableError
    return _all_operations([_of_parameters(parameters)] if has_operation else [])


def _parameters(query: str) -> list[tuple[str, str]]:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    if len(pairs) > MAX_PARAMETERS:
        raise UnreadableError
    return [(_unescaped(name), _unescaped(value)) for name, _, value in pairs]


def _unescaped(text: str) -> str:
    raw = text.replace("+", " ").encode("latin-1")
    return _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), raw).decode()


def _posted(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> list[object]:
    """Return the members of each request in a body."""
    kinds = [value for name, value in headers if name in _DESCRIBE_BODY]
    kind, _, parameter = kinds[0].decode("latin-1").lower().partition(";") if len(kinds) == 1 else ("", "", "")
    if parameter.strip() not in _UTF_8:
        raise UnreadableError
    if kind.strip() == _DOCUMENT:
        return [(("query", body.decode()),)]
    if kind.strip() not in _JSON:
        raise UnreadableError
    value: object = json.loads(body.decode(), object_pairs_hook=tuple)  # so that no repeated name is lost
    requests = cast("list[object]", value) if isinstance(value, list) else [value]
    if not 0 < len(requests) <= MAX_BATCH:
        raise UnreadableError
    return requests


def _of_parameters(parameters: Sequence[tuple[str, str]]) -> dict[str, object]:
    members: dict[str, object] = _members(tuple(one for one in parameters if one[0].casefold() in _FOLDED))
    if isinstance(extensions := members.get("extensions"), str):
        members["extensions"] = json.loads(extensions, object_pairs_hook=tuple)
    return members


def _members(value: object, known: frozenset[str] = _MEMBERS, *, is_open: bool = False) -> dict[str, object]:
    """Return the members of an object. Raises: UnreadableError if a name is repeated, or unknown unless `is_open`."""
    if not isinstance(value, tuple):
        raise UnreadableError
    members = dict(cast("tuple[tuple[str, object], ...]", value))
    folded = {name.casefold() for name in members}
    odd = members.keys() - known
    if is_open:
        odd = {name for name in odd if name.casefold() in {one.casefold() for one in known}}
    if odd or not len(folded) == len(members) == len(cast("tuple[object, ...]", value)):
        raise UnreadableError
    return members


def _all_operations(requests: Sequence[dict[str, object]]) -> list[Operation]:
    found: list[Operation] = []
    tokens = 0
    for members in requests:
        query, name, persisted = members.get("query"), members.get("operationName") or "", _persisted_hash(members)
        if not isinstance(name, str):
            raise UnreadableError
        if not query and persisted and (not name or _NAME.fullmatch(name)):
            found.append(Operation(_label(name) or f"persisted-{persisted[:_DIGEST_CHARS]}", None, persisted))
            continue
        if not isinstance(query, str) or (persisted and hashlib.sha256(query.encode()).hexdigest() != persisted):
            raise UnreadableError
        document = read_document(query) if len(query) <= _REMEMBERED_CHARS else read_document.__wrapped__(query)
        tokens += document.tokens
        chosen = [one for one in document.operations if not name or one.name == name]
        if len(chosen) != 1 or tokens > MAX_TOKENS:
            raise UnreadableError
        label = _label(chosen[0].name) or f"{chosen[0].kind}-{document.digest}"
        found.append(Operation(label, all(one.kind == "query" for one in document.operations), persisted))
    return found


def _persisted_hash(members: dict[str, object]) -> str:
    """Return the SHA-256 hash in `extensions.persistedQuery`; empty if it is missing."""
    extensions = members.get("extensions")
    if extensions is None:
        return ""
    found = _members(extensions, frozenset({"persistedQuery"}), is_open=True).get("persistedQuery")
    if found is None:
        return ""
    persisted = _members(found, frozenset({"version", "sha256Hash"}))
    name = persisted.get("sha256Hash")
    if persisted.get("version") != 1 or not isinstance(name, str) or not _HASH.fullmatch(name):
        raise UnreadableError
    return name


def _label(name: str) -> str:
    """Return the name of an operation with `{id}` for values in it; empty if it is too long."""
    return _VALUES.sub("{id}", name) if len(name) <= MAX_NAME_CHARS else ""


@lru_cache(maxsize=256)
def read_document(text: str) -> Document:
    """Return the operations of a document. Raises: UnreadableError."""
    if any(end in text for end in _OTHER_LINE_ENDS):
        raise UnreadableError
    tokens = list(_tokens(text))
    operations = tuple(found for header in _headers(tokens) if (found := _definition(header)) is not None)
    if not operations:
        raise UnreadableError
    shown = [_LITERALS.get(kind, word) for kind, word in tokens]
    literals = _LITERALS.values()
    normalized = (one for one, before in zip(shown, ["", *shown], strict=False) if one != before or one not in literals)
    digest = hashlib.sha256(" ".join(normalized).encode()).hexdigest()[:_DIGEST_CHARS]
    return Document(operations, digest, len(tokens))


def _headers(tokens: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    """Yield the tokens before each selection set of a definition, with brackets and what they contain as one token."""
    closing: list[str] = []
    header: list[str] = []
    for kind, word in tokens:
        if kind != "mark" or word not in _BRACKETS:
            if not closing:
                header.append(word)
        elif word in _CLOSES:
            if not closing and word == "{":
                yield header
                header = []
            closing.append(_CLOSES[word])
            if len(closing) > MAX_DEPTH:
                raise UnreadableError
        elif not closing or closing.pop() != word:
            raise UnreadableError
        elif not closing and word != "}":
            header.append(f"({word}")
    if closing or header:
        raise UnreadableError


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of each token. Raises: UnreadableError."""
    at = 0
    for _ in range(MAX_TOKENS):
        token = _TOKEN.match(text, at)
        if token is None:
            break
        kind = token.lastgroup
        if kind is None:
            return
        at = token.end()
        yield kind, token[kind]
    raise UnreadableError


def _definition(header: Sequence[str]) -> Definition | None:
    """Return the operation whose selection set follows these tokens; None for a fragment. Raises: UnreadableError."""
    if not header:
        return Definition("query", "")
    rest = ("name" if _NAME.fullmatch(word) else word for word in header[1:])
    found = _HEADER.fullmatch(" ".join([header[0], *rest]))
    if found is None:
        raise UnreadableError
    has_name = len(header) > 1 and _NAME.fullmatch(header[1])
    return Definition(found[1], header[1] if has_name else "") if found[1] else None
