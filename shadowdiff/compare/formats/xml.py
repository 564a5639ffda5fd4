"""XML, compared as an object.

The value is `{name: element}`. An element is an object: `@name` for each attribute, `#text` for its text, and an array
of children for each child name. `#order` keeps the order of children and text if they have more than one name. Names
include their namespace as `{uri}local`, so prefixes do not matter. Comments, processing instructions and the document
type do not matter either, nor does blank text in an element that has children and no other text. The parser
(defusedxml) does not expand entities or fetch anything, and depth is limited.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from shadowdiff.compare.formats.format import BrokenBodyError, Format
from shadowdiff.compare.media import codec_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from shadowdiff.compare.media import Media
    from shadowdiff.rules.json_values import Value

MAX_DEPTH: Final = 100
_DECLARED: Final = re.compile(rb"""<\?xml[^>]*?[ \t\r\n]encoding[ \t\r\n]*=[ \t\r\n]*["']([A-Za-z0-9._-]+)""")
_BLANKS: Final = " \t\r\n"
_TEXT: Final = "#text"


class Xml(Format):
    """Reads elements, attributes and text."""

    name = "XML, `+xml`"
    docs = (
        '`{"{namespace}name": …}`: each element is an object with `@attribute`, `#text`, and an array for each '
        "name of its children: `$.order.item[*]['@id']`. `#order` is the order of children of several kinds, and of "
        "text"
    )
    media_types = ("application/xml", "text/xml", "+xml")

    def value(self, body: bytes, media: Media) -> Value:
        declared = _DECLARED.match(body)
        if declared and codec_of(declared[1].decode()) is None:
            raise BrokenBodyError("not XML: unknown encoding")
        try:
            root = fromstring(body, forbid_dtd=False, forbid_entities=True, forbid_external=True)
        except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
            raise BrokenBodyError(f"not XML: {error}") from error
        return {root.tag: _element(root, 0)}


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
