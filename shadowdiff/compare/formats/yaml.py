"""YAML, compared by value.

libyaml parses the text into events. This module builds the values, so that no key, digit or document is lost, aliases
cannot grow a small body to a large value, and no tag creates an object. Parsers disagree about plain words such as
`yes`, `012` or `2026-01-01`: depending on the version of YAML they are texts or not. Such a word is equal to the same
word only, and different from the text in quotes.
Source: YAML 1.1 and YAML 1.2.2, section 10.3 (core schema); RFC 9512.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml
from yaml.resolver import Resolver

from shadowdiff.compare.content_type import BYTE_ORDER_MARK, BrokenBodyError
from shadowdiff.compare.exact import MAX_DEPTH, integer_in, number_in
from shadowdiff.compare.formats.format import Format, text_of
from shadowdiff.compare.rich_values import object_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowdiff.compare.content_type import Media
    from shadowdiff.rules.json_values import Value

MAX_REPEATED: Final = 100_000
"""The maximum number of values that the aliases of one body may repeat."""
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE: Final = "tag:yaml.org,2002:"
_STRING: Final = f"{_CORE}str"
_CONSTANTS: Final[dict[str, Value]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?)")
_CORE_ONLY: Final = re.compile(r"0o[0-7]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
"""Words that YAML 1.2 reads as numbers, but YAML 1.1 or PyYAML does not."""
_LINE_ENDS: Final = re.compile("[\x85\u2028\u2029]")
_RESOLVER: Any = Resolver()


class Yaml(Format):
    """Reads one document, or an array of several documents."""

    name = "YAML, `+yaml`"
    docs = (
        "the value as JSON. Several documents are `{'#documents': […]}`. A plain word that is text only in some"
        " versions of YAML (`yes`, `012`, `2026-01-01`) is `{'#plain': WORD}`. A tag is `{'#tag': TAG, 'value': …}`. A"
        " key that is not text becomes `#` and its JSON: `$.responses['#404']`"
    )
    units_per_byte = 3.0
    media_types = ("application/yaml", "+yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml")

    def value(self, body: bytes, media: Media) -> Value:
        text = text_of(body, media.charset)
        if text.startswith(BYTE_ORDER_MARK):  # libyaml drops it
            raise BrokenBodyError("has a byte order mark before the text")
        if _LINE_ENDS.search(text):
            raise BrokenBodyError("has a line end that only YAML 1.1 allows")
        try:
            documents = _Builder(text).documents()
        except (yaml.YAMLError, UnicodeError) as error:
            raise BrokenBodyError(f"not YAML: {' '.join(str(error).split())[:200]}") from error
        return documents[0] if len(documents) == 1 else {"#documents": documents}


class _Builder:
    """Builds the values of one body. Aliases share a value, but each counts as a copy."""

    __slots__ = ("_anchors", "_depth", "_events", "_repeated", "_size")

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = iter(yaml.parse(text, _LOADER))
        self._anchors: dict[str, tuple[Value, int]] = {}
        self._depth = self._size = self._repeated = 0

    def documents(self) -> list[Value]:
        """Return the values of all documents."""
        found: list[Value] = []
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                value = self._value(next(self._events))
                found.append(
                    {"#version": ".".join(map(str, event.version)), "value": value} if event.version else value
                )
        return found

    def _value(self, event: Any) -> Value:
        if isinstance(event, yaml.AliasEvent):
            return self._repeat(str(event.anchor))
        before = self._size
        self._size += 1
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        else:
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise BrokenBodyError(f"nested deeper than {MAX_DEPTH} levels")
            inside = self._inside()
            is_map = isinstance(event, yaml.MappingStartEvent)
            value = object_of(zip(inside, inside, strict=True)) if is_map else list(inside)
            self._depth -= 1
            if event.tag not in {None, "!", f"{_CORE}{'map' if is_map else 'seq'}"}:
                value = _tagged(event.tag, value)
        if event.anchor:
            self._anchors[event.anchor] = value, self._size - before
        return value

    def _inside(self) -> Iterator[Value]:
        """Yield the values up to the end of the collection, keys and values in turn."""
        for event in self._events:
            if isinstance(event, yaml.CollectionEndEvent):
                return
            yield self._value(event)

    def _repeat(self, anchor: str) -> Value:
        if anchor not in self._anchors:
            raise BrokenBodyError(f"the alias *{anchor[:40]} has no anchor before it, or is inside it")
        value, size = self._anchors[anchor]
        self._size += size
        self._repeated += size
        if self._repeated > MAX_REPEATED:
            raise BrokenBodyError(f"aliases repeat more than {MAX_REPEATED} values")
        return value


def _tagged(tag: str, value: Value) -> Value:
    return {"#tag": tag, "value": value}


def _scalar(event: Any) -> Value:
    text, tag = event.value, event.tag
    if tag not in {None, "!", _STRING}:
        return _tagged(tag, text)
    return text if tag or not event.implicit[0] else _plain(text)


def _plain(text: str) -> Value:
    """Return the value of a word without quotes."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return integer_in(text)
    if _NUMBER.fullmatch(text):
        return number_in(text.removeprefix("+"))
    is_text = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False)) == _STRING and not _CORE_ONLY.fullmatch(text)
    return text if is_text else {"#plain": text}
