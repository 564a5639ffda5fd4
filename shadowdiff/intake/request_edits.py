"""Change a request before it is sent to v2 or the control: header fields, query parameters and the path's prefix.

The changes come from the configuration alone. The fields that shadowdiff and each connection set never change. A
request without a change keeps every byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from shadowdiff.rules.path_prefix import move_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowdiff.intake.exchange import RawHeaders
    from shadowdiff.model.sent import Edits, Sent

HOP_BY_HOP: Final = frozenset({
    "connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding",
    "upgrade", "http2-settings", "expect", "content-length",
})  # fmt: skip
"""Fields of one connection, or of the framing. Source: RFC 9110, section 7.6.1."""
MANAGED: Final = HOP_BY_HOP | {"host", "x-shadowdiff", "baggage"}
"""Fields that a configuration cannot change. `x-shadowdiff` and `baggage` mark shadow traffic, and so prevent loops."""
_MANAGED: Final = frozenset(name.encode() for name in MANAGED)


class _Changes:
    """Changes of header fields or query parameters. whole: returns the whole new item of a name and a value."""

    def __init__(self, edits: Edits, whole: Callable[[str, bytes], bytes]) -> None:
        self._set = [(name.encode(), whole(name, value.reveal())) for name, value in edits.set.items()]
        self._replace = {name.encode(): whole(name, value.reveal()) for name, value in edits.replace.items()}
        removed = [*edits.set, *(name for name in edits.remove if not name.endswith("*"))]
        self._removed = frozenset(map(str.encode, removed))
        self._removed_prefixes = tuple(name[:-1].encode() for name in edits.remove if name.endswith("*"))

    def names(self, name: bytes) -> bool:
        """Return whether a name is changed or removed."""
        return name in self._removed or name in self._replace or name.startswith(self._removed_prefixes)

    def apply(self, items: Iterable[tuple[bytes, bytes]], kept: frozenset[bytes] = frozenset()) -> RawHeaders:
        """Return the items after the changes. kept: names that never change."""
        changed: RawHeaders = []
        replaced: set[bytes] = set()
        for item in items:
            name = item[0]
            if name in kept or not self.names(name):
                changed.append(item)
            elif name in self._replace and name not in replaced and name not in self._removed:
                replaced.add(name)
                changed.append((name, self._replace[name]))
        return changed + self._set


def _changes(edits: Edits, whole: Callable[[str, bytes], bytes]) -> _Changes | None:
    return _Changes(edits, whole) if edits.set or edits.replace or edits.remove else None


class RequestEdits:
    """The compiled changes of one side.

    prefixes: v1's prefixes of paths and what replaces them, with the path of the side's URL; the first one applies.
    """

    def __init__(self, sent: Sent, base_path: str) -> None:
        """base_path: the path of the side's URL, without a slash at its end."""
        self._headers = _changes(sent.headers, lambda _name, value: value)
        self._query = _changes(sent.query, lambda name, value: f"{quote(name, '')}={quote(value, '')}".encode())
        pairs = [(before.rstrip("/"), base_path + after.rstrip("/")) for before, after in sent.path_prefix.items()]
        pairs = sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)
        pairs += [("", base_path)] if base_path and all(before for before, _ in pairs) else []
        self.prefixes = tuple(pairs)

    def changes(self, header: bytes) -> bool:
        """Return whether a header of the user may be changed or removed."""
        return self._headers is not None and self._headers.names(header)

    def headers(self, fields: RawHeaders) -> RawHeaders:
        """Return the header fields to send."""
        return fields if self._headers is None else self._headers.apply(fields, _MANAGED)

    def target(self, target: str, encoding: str = "latin-1") -> bytes:
        """Return the request target to send: the path with its new prefix, and the changed query."""
        if self.prefixes:
            target = next((moved for each in self.prefixes if (moved := move_prefix(target, *each))), target)
        if self._query is None:
            return target.encode(encoding)
        path, _, query = target.encode(encoding).partition(b"?")
        items = [(_name(item), item) for item in query.split(b"&")] if query else []
        query = b"&".join([item for _, item in self._query.apply(items)])
        return b"%b?%b" % (path, query) if query else path


def _name(item: bytes) -> bytes:
    return unquote_to_bytes(item.partition(b"=")[0].replace(b"+", b" "))
