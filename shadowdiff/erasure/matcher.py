"""Find a value in stored texts, as a whole word and in the encodings of paths and JSON.

Pure. Compressed bodies are decoded before they are searched. A secret is stored only as its placeholder, so an erasure
names the placeholder, and data that is not redacted yet is redacted before the search.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote, quote_plus

import msgspec

from shadowdiff.report.body_text import decode_body, media_type
from shadowdiff.report.secret_span import INLINE_WORK, TooMuchWorkError

if TYPE_CHECKING:
    from shadowdiff.model import Observation
    from shadowdiff.report import Body, Redactor, Sample

ERASED: Final = "‹erased›"
SECRET_HASH: Final = re.compile(r"(?:‹?redacted:)?([0-9a-f]{12})›?")
"""A secret's placeholder as pages show it, or only its digits."""
_BEFORE: Final = r"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f][0-9A-Fa-f])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))"
"""A word begins here: after another character, or after an escaped one."""
_SEARCHED_BYTES: Final = 1 << 20
"""Decoded bytes of each body of a waiting observation."""


class Matcher:
    """Decides whether data carries a value.  redactor: makes the placeholders of secrets."""

    def __init__(self, value: str, redactor: Redactor, *, is_secret_hash: bool = False) -> None:
        """Take a value, or the 12 digits of a secret's placeholder."""
        self._redactor = redactor
        self._is_secret_hash = is_secret_hash
        forms = {f"redacted:{value}"}
        if not is_secret_hash:
            escaped = json.dumps(value)[1:-1]
            stored = redactor.text(value), redactor.path(f"/{value}")[1:], redactor.secret(value)  # it may be a secret
            forms = {value, quote(value, safe=""), quote_plus(value), escaped, escaped.replace("/", "\\/"), *stored}
        words = "|".join(sorted(map(re.escape, forms), key=len, reverse=True))
        self._words = re.compile(f"{_BEFORE}(?:{words})(?![0-9A-Za-z])", re.IGNORECASE)

    def is_in(self, text: str) -> bool:
        """Return whether a text carries the value."""
        return self._words.search(text) is not None

    def hide(self, text: str) -> str:
        """Return a text without the value."""
        return self._words.sub(ERASED, text)

    def is_in_value(self, value: Any) -> bool:
        """Return whether a decoded value carries the value in any of its texts."""
        return any(map(self.is_in, _texts(msgspec.to_builtins(value))))

    def is_in_json(self, value: bytes) -> bool:
        """Return whether a JSON text carries the value; a text that cannot be decoded is searched as it is."""
        try:
            return self.is_in_value(msgspec.json.decode(value))
        except (msgspec.DecodeError, RecursionError):
            return self.is_in(value.decode("utf-8", "replace"))

    def is_in_sample(self, sample: Sample) -> bool:
        """Return whether a sample carries the value, also in a body that is stored as base64."""
        sides = [side for side in (sample.primary, sample.candidate, sample.control) if side]
        bodies = [sample.request_body, *(side.body for side in sides)]
        return self.is_in_value(sample) or any(self.is_in(_plain(body)) for body in bodies if body.base64)

    def is_in_observation(self, observation: Observation) -> bool:
        """Return whether an observation carries the value. If this takes too much work, assume that it does."""
        fields = [*observation.headers, *observation.trailers, *observation.request_headers]
        named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        bodies = [
            (decode_body(body, headers, _SEARCHED_BYTES).text, media_type(headers))
            for body, headers in (
                (observation.body, observation.headers),
                (observation.request_body, observation.request_headers),
            )
        ]
        if not self._is_secret_hash:
            texts = [observation.id, observation.path, observation.host, *(f"{name}: {value}" for name, value in named)]
            return any(map(self.is_in, (*texts, *(text for text, _ in bodies))))
        redactor = self._redactor.limited(4 * INLINE_WORK)
        try:
            return (
                self.is_in(redactor.path(observation.path))
                or any(self.is_in(redactor.header(name, value)) for name, value in named)
                or any(self.is_in(redactor.body(text, kind)) for text, kind in bodies)
            )
        except TooMuchWorkError:
            return True


def _plain(body: Body) -> str:
    try:
        return base64.b64decode(body.text).decode("latin-1")
    except ValueError:
        return ""


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a value of built-in types."""
    match value:
        case str():
            yield value
        case Mapping():
            for name, one in cast("Mapping[str, object]", value).items():
                yield name
                yield from _texts(one)
        case bytes() | None:
            return
        case Iterable():
            for one in cast("Iterable[object]", value):
                yield from _texts(one)
        case _:
            return
