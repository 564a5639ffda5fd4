"""Turn XML into values that are walked like JSON.

In: an XML document.  Out: `{name: element}`, an element being an object: `@name` for each attribute, `#text` for
its text, and for each name of a child the array of the children of that name; `#order` keeps the order of children
where their names differ.  Names carry their namespace as `{uri}local`, so that a prefix says nothing.
Holds: entities are not expanded and nothing is fetched (defusedxml); blanks between elements, comments and
processing instructions say nothing; depth is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from shadowdiff.compare.decoders import BrokenBodyError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from shadowdiff.compare.values import Value

MAX_DEPTH: Final = 100


def xml(body: bytes) -> Value:
    """Return the document's value.

    Raises: BrokenBodyError.
    """
    try:
        root = fromstring(body, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise BrokenBodyError(f"not XML: {error}") from error
    return {root.tag: _element(root, 0)}


def _element(element: Element, depth: int) -> Value:
    if depth > MAX_DEPTH:
        raise BrokenBodyError(f"nested deeper than {MAX_DEPTH} elements")
    value: dict[str, Value] = {f"@{name}": said for name, said in element.attrib.items()}
    texts = [element.text or ""]
    order: list[Value] = []
    for child in element:
        into = value.setdefault(child.tag, [])
        if isinstance(into, list):
            into.append(_element(child, depth + 1))
        order.append(child.tag)
        texts.append(child.tail or "")
    said = [text for text in texts if text.strip()]
    if said or (not order and texts[0]):
        value["#text"] = texts[0] if not order else list(said)
    if len(set(map(str, order))) > 1:
        value["#order"] = order
    return value
