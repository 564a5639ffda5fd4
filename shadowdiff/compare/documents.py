"""Read documents inside strings: JSON, JSON in base64, and URL-encoded forms.

Two strings are compared inside only if both hold a document of one kind. Documents have few levels, and only a few
documents nest, so the depth of a comparison is limited. All work is charged to the budget.
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowdiff.compare.content_type import BrokenBodyError
from shadowdiff.compare.exact import EXACT_BYTES_PER_UNIT, NotJsonError, is_too_deep, parse_exact
from shadowdiff.compare.form_fields import form_fields

if TYPE_CHECKING:
    from collections.abc import Generator

    from shadowdiff.compare.work import Budget
    from shadowdiff.rules.json_values import Value

MAX_NESTED: Final = 4
MAX_LEVELS: Final = 32
STARTS: Final = frozenset(" \t\n\r{[eW")
"""The first characters of JSON objects and arrays, as text and in base64."""
_START: Final = re.compile(r"[ \t\n\r]*[{\[]|e(?:y[A-DI-L]|w[k-r0-3]|3[0-3])|W[w-z0-3]")
"""How they begin: in base64, `{` is followed by a quotation mark, a blank or `}`, and `[` by any character."""
_BLANKS: Final = " \t\n\r"
_BASE64: Final = re.compile(r"[eW][A-Za-z0-9+/_-]{2,}={0,2}")
_FIELD: Final = r"[A-Za-z0-9*._+%\[\]$@:~!/-]{1,64}=[A-Za-z0-9*._+%\[\]$@:~!/?,;'()-]*"
_FORM: Final = re.compile(f"{_FIELD}(?:&{_FIELD})+")
_URL_SAFE: Final = str.maketrans("-_", "+/")


class Document(NamedTuple):
    """The value of a document, its kind, and the name of the step that leads into it."""

    kind: str
    step: str
    value: Value


def may_be_document(text: str) -> bool:
    """Whether a string may hold a document. If not, `Documents` needs no work for it."""
    return (text[:1] in STARTS and _START.match(text) is not None) or ("&" in text and "=" in text)


def may_hold_documents(value: Value, budget: Budget) -> bool:
    """Whether a string in a value may hold a document."""
    if isinstance(value, (dict, list)):
        budget.spend(1 + len(value))
        below = value.values() if isinstance(value, dict) else value
        return any(may_hold_documents(each, budget) for each in below)
    return type(value) is str and may_be_document(value)


class Documents:
    """Reads the documents of one comparison, each once.  nested: how many documents are around the strings now."""

    __slots__ = ("_budget", "_known", "nested")

    def __init__(self, budget: Budget, nested: int = 0) -> None:
        self._budget = budget
        self._known: dict[tuple[str, int], Document | None] = {}
        self.nested = nested

    def read(self, text: str) -> Document | None:
        """Return the document that a string holds."""
        if not may_be_document(text) or self.nested >= MAX_NESTED:
            return None
        key = text, self.nested
        if key not in self._known:
            self._budget.spend(8 + len(text) // EXACT_BYTES_PER_UNIT)
            self._known[key] = _read(text)
        return self._known[key]

    def both(self, one: str, other: str) -> tuple[Document, Document] | None:
        """Return the documents that two strings hold, if both are of one kind."""
        document = self.read(one) if may_be_document(other) else None
        against = self.read(other) if document else None
        return (document, against) if document and against and document.kind == against.kind else None

    @contextmanager
    def inside(self) -> Generator[None]:
        """Enter a document."""
        self.nested += 1
        try:
            yield
        finally:
            self.nested -= 1


def _read(text: str) -> Document | None:
    stripped = text.strip(_BLANKS)
    if stripped[:1] in {"{", "["}:
        return _json("json", stripped.encode("utf-8", "surrogatepass"))
    if _BASE64.fullmatch(text):
        try:
            return _json("base64", base64.b64decode(_padded(text), validate=True).strip(_BLANKS.encode()))
        except binascii.Error:
            return None
    return _form(text) if _FORM.fullmatch(text) else None


def _json(kind: str, text: bytes) -> Document | None:
    if text[:1] not in {b"{", b"["} or is_too_deep(text, MAX_LEVELS):
        return None
    try:
        return Document(kind, "{json}", parse_exact(text))
    except NotJsonError:
        return None


def _padded(text: str) -> str:
    text = text.rstrip("=").translate(_URL_SAFE)
    return text + "=" * (-len(text) % 4)


def _form(text: str) -> Document | None:
    try:
        return Document("form", "{form}", form_fields(text.encode()))
    except BrokenBodyError:
        return None
