"""XML, compared as an object.

The value is `{name: element}`. An element is an object: `@name` for each attribute, `#text` for its text, and an array
of children for each child name. `#order` keeps the order of children and text if they have more than one name. Names
include their namespace as `{uri}local`, so prefixes do not matter. The same applies to values that are qualified names:
`prefix:local` with a declared prefix, and `xsi:type` without a prefix. Comments, processing instructions and the
document type do not matter either, nor does blank text in an element that has children and no other text.

The charset of the Content-Type has priority over the declaration (RFC 7303, section 3). The parser (defusedxml) does
not expand entities or fetch anything, and depth and the length of namespaces are limited.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import TreeBuilder

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, XMLParser

from shadowdiff.compare.content_type import codec_of
from shadowdiff.compare.formats.format import BrokenBodyError, Format, text_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from shadowdiff.compare.content_type import Media
    from shadowdiff.rules.json_values import Value

MAX_DEPTH: Final = 100
MAX_NAMESPACE_CHARS: Final = 512
"""Each name of the namespace contains it, so a long one would multiply the body's size."""
_DECLARED: Final = re.compile(rb"""<\?xml[^>]*?[ \t\r\n]encoding[ \t\r\n]*=[ \t\r\n]*["']([A-Za-z0-9._-]+)""")
_BLANKS: Final = " \t\r\n"
_TEXT: Final = "#text"
_UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_LOCAL_NAME: Final = re.compile(r"[^\W\d][\w.-]*")
_XSI_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"


class Xml(Format):
    """Reads elements, attributes and text."""

    name = "XML, `+xml`"
    docs = (
        '`{"{namespace}name": …}`: each element is an object with `@attribute`, `#text`, and an array for each '
        "name of its children: `$.order.item[*]['@id']`. `#order` is the order of children of several kinds, and of "
        "text. A value `prefix:name` is `{namespace}name` if the prefix is declared"
    )
    media_types = ("application/xml", "text/xml", "+xml")

    def value(self, body: bytes, media: Media) -> Value:
        text = _text(body, media.charset)
        has_namespaces = "xmlns" in text if isinstance(text, str) else b"xmlns" in text.replace(b"\0", b"")
        builder = _Builder() if has_namespaces else TreeBuilder()
        parser = XMLParser(target=builder, forbid_dtd=False, forbid_entities=True, forbid_external=True)
        try:
            parser.feed(text)
            root = parser.close()
        except BrokenBodyError:
            raise
        except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
            raise BrokenBodyError(f"not XML: {error}") from error
        return {root.tag: _element(root, 0)}


def _text(body: bytes, charset: str) -> bytes | str:
    """Return the text in a known charset; otherwise the body, which has its own declaration."""
    if charset and codec_of(charset) and not body.startswith(_UTF_16_MARKS):
        return text_of(body, charset)
    declared = _DECLARED.match(body)
    if declared and codec_of(declared[1].decode()) is None:
        raise BrokenBodyError("not XML: unknown encoding")
    return body


class _Builder(TreeBuilder):
    """Builds elements, and replaces the prefixes of qualified names in attributes and in the text of leaves."""

    def __init__(self) -> None:
        super().__init__()
        self._open, self._close = super().start, super().end
        self._namespaces: defaultdict[str, list[str]] = defaultdict(list)

    def start_ns(self, prefix: str, uri: str) -> None:
        """Enter the scope of a prefix; the default namespace has an empty prefix."""
        if len(uri) > MAX_NAMESPACE_CHARS:
            raise BrokenBodyError(f"a namespace has more than {MAX_NAMESPACE_CHARS} characters")
        self._namespaces[prefix].append(uri)

    def end_ns(self, prefix: str) -> None:
        """Leave the scope of a prefix."""
        self._namespaces[prefix].pop()

    def start(self, tag: str, attrs: dict[str, str]) -> Element:
        """Open an element."""
        for name, value in attrs.items():
            if ":" in value or name == _XSI_TYPE:
                attrs[name] = self._qualified(value)
        return self._open(tag, attrs)

    def end(self, tag: str) -> Element:
        """Close an element."""
        element = self._close(tag)
        text = element.text
        if text and ":" in text and not len(element):
            element.text = self._qualified(text)
        return element

    def _qualified(self, value: str) -> str:
        prefix, _, local = value.rpartition(":")
        uris = None if value.startswith(":") else self._namespaces.get(prefix)
        return f"{{{uris[-1]}}}{local}" if uris and uris[-1] and _LOCAL_NAME.fullmatch(local) else value


def _element(element: Element, depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise BrokenBodyError(f"elements are nested deeper than {MAX_DEPTH} levels")
    value: dict[str, Value] = {f"@{name}": text for name, text in element.attrib.items()}
    texts: list[Value] = []
    order: list[Value] = []
    contents = (element.text, *(child.tail for child in element))
    is_mixed = not len(element) or any((text or "").strip(_BLANKS) for text in contents)
    if element.text and is_mixed:
        texts.append(element.text)
        order.append(_TEXT)
    for child in element:
        into = value.setdefault(child.tag, [])
        if isinstance(into, list):
            into.append(_element(child, depth + 1))
        order.append(child.tag)
        if child.tail and is_mixed:
            texts.append(child.tail)
            order.append(_TEXT)
    if texts:
        value[_TEXT] = texts if len(element) else texts[0]
    if len(set(map(str, order))) > 1:
        value["#order"] = order
    return value
