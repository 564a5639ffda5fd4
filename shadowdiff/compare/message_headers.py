"""Bring the headers of messages inside a body into the form in which they are compared.

The grammar of a response's headers applies (`fields`), so that two headers are equal in a message if they are equal in
a response. Headers of an HTTP message that are not compared in a response are removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.compare.compared_headers import EXCLUDED
from shadowdiff.compare.fields import OWN_URLS, compared_form, own_authorities, own_path, present_s, seconds_of
from shadowdiff.model import Kind
from shadowdiff.rules.builtin import OWN_ORIGIN
from shadowdiff.rules.path_prefix import move_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.compare.compared_headers import ComparedHeaders
    from shadowdiff.compare.content_type import BrokenBodyError
    from shadowdiff.compare.finding import Findings, Path
    from shadowdiff.model import Observation, Pair
    from shadowdiff.rules.json_values import Value

HTTP: Final = "application/http"
LENGTH: Final = "content-length"
_UNREAD: Final = frozenset({"", "content-type", "content-disposition", LENGTH})
"""Lines that are not headers, further lines of headers that are read elsewhere, and a wrong length."""


def messages_in(value: Value | BrokenBodyError, path: Path = None) -> Iterator[tuple[Path, dict[str, Value]]]:
    """Yield each part and each HTTP message in a value of `multipart/*` or `application/http`, and its path."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from messages_in(part, (path, index))
    elif isinstance(value, dict):
        yield path, value
        if value["type"] == HTTP or str(value["type"]).startswith("multipart/"):
            yield from messages_in(value.get("body"), (path, "body"))


def read_headers(one: Value | BrokenBodyError, other: Value | BrokenBodyError, pair: Pair, findings: Findings) -> None:
    """Replace the headers of all messages in two values by what is compared.

    Note the URLs that are equal only because each version wrote its own origin.
    """
    limits = findings.limits
    own = own_authorities(pair.primary, pair.candidate) if limits.uses(OWN_ORIGIN) else frozenset[str]()
    left = _Side(pair.primary, own, limits.headers)
    left.read(one)
    right = _Side(pair.candidate, own, limits.headers, left.paths)
    right.read(other)
    for path, (text, form) in left.urls.items():
        text_other, form_other = right.urls.get(path, (text, form))
        if form == form_other and text != text_other:
            findings.note_value(path, Kind.VALUE, text, text_other, OWN_ORIGIN.label)


class _Side:
    """Reads the headers of one side's messages.

    paths: the URLs that this side sent. urls: the text of each header with URLs, and how it is compared, by its path.
    """

    def __init__(
        self, side: Observation, own: frozenset[str], compared: ComparedHeaders, paths_of_v1: set[str] | None = None
    ) -> None:
        self._side = side
        self._own = own
        self._compared = compared
        self._paths_of_v1 = paths_of_v1
        self.paths: Final[set[str]] = set()
        self.urls: Final[dict[Path, tuple[Value, Value]]] = {}

    def read(self, value: Value | BrokenBodyError) -> None:
        """Replace the headers of all messages in a value."""
        for path, message in messages_in(value):
            headers = message.get("headers")
            if not isinstance(headers, dict):
                continue
            is_http = "status" in message or "method" in message
            now_s = seconds_of(str(headers.get("date", "")))
            read = {
                name: self._form(
                    name, lines, ((path, "headers"), name), present_s(self._side) if now_s is None else now_s
                )
                for name, lines in headers.items()
                if not is_http or name in _UNREAD or self._compared.usual[name.encode()] != EXCLUDED
            }
            if read:
                message["headers"] = read
            else:
                del message["headers"]

    def _form(self, name: str, lines: Value, path: Path, now_s: float) -> Value:
        if name in _UNREAD:
            return lines
        texts = [str(line) for line in lines] if isinstance(lines, list) else [str(lines)]
        raw = name.encode()
        form = compared_form(raw, texts, self._path_of, now_s)
        if raw in OWN_URLS and self._own:
            self.urls[path] = compared_form(raw, texts, self._moved, now_s), form
        return form

    def _path_of(self, url: str) -> str:
        """Return the path of a URL with the service's name, and any other URL."""
        return self._moved(own_path(url, self._own))

    def _moved(self, url: str) -> str:
        """Return a URL of v2 with v1's prefix, if v1 sent that URL."""
        if self._paths_of_v1 is None:
            self.paths.add(url)
            return url
        moved = (url, *(move_prefix(url, after, before) for before, after in self._side.prefixes))
        return next((each for each in moved if each in self._paths_of_v1), url) or url
