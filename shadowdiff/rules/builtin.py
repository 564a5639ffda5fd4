"""The built-in rules: differences that do not count unless a target turns the rule off.

The comparison decides which differences a built-in rule covers. This module has the names for the setting
`built_in_rules`, and the labels and sentences that people read.
"""

from __future__ import annotations

from typing import Final, NamedTuple

BUILT_IN: Final = "built-in: "
"""How the labels of built-in rules begin; the labels of other rules do not begin like this."""


class BuiltInRule(NamedTuple):
    """A rule that needs no declaration.  label: the rule of a difference.  docs: what the rule covers."""

    name: str
    label: str
    docs: str


def _rule(name: str, label: str, docs: str) -> BuiltInRule:
    return BuiltInRule(name, BUILT_IN + label, docs)


OWN_ORIGIN: Final = _rule(
    "own_origin",
    "v2 has its own origin where v1 has its own",
    "v1's text has the scheme and host that the user called, and v2's text has the host that v2 was called by; the rest"
    " of the text is equal",
)
SAME_DOCUMENT: Final = _rule(
    "same_document",
    "both strings contain the same document, written differently",
    "two strings contain JSON, JSON in base64, or a URL-encoded form with the same value",
)
MULTIPART_BOUNDARY: Final = _rule(
    "multipart_boundary",
    "the boundary of a nested multipart does not matter",
    "only the boundary of a multipart inside a multipart differs",
)
BOTH_BROKEN: Final = _rule(
    "both_broken",
    "neither body is valid for its type",
    "neither body is valid for its Content-Type. The texts are compared, so each difference between them counts",
)
HTML_WHITE_SPACE: Final = _rule(
    "html_white_space",
    "white space in HTML does not matter",
    "white space between blocks, or its amount in a text, in HTML outside `pre`, `textarea`, `script` and `style`",
)
HTML_ORDER: Final = _rule(
    "html_order",
    "the order of attributes and classes in HTML does not matter",
    "attributes of an HTML element, or the classes in `class`, have another order",
)
HTML_COMMENTS: Final = _rule(
    "html_comments", "comments in HTML do not matter", "comments in HTML differ, or only one page has them"
)
HTML_MARKUP: Final = _rule(
    "html_markup",
    "both pages have the same HTML, written differently",
    "two pages have the same elements, attributes and texts, but other quotes, character references, case or optional"
    " tags",
)
BUILT_IN_RULES: Final = (
    *(OWN_ORIGIN, SAME_DOCUMENT, MULTIPART_BOUNDARY, BOTH_BROKEN),
    *(HTML_WHITE_SPACE, HTML_ORDER, HTML_COMMENTS, HTML_MARKUP),
)
BY_LABEL: Final = {rule.label: rule for rule in BUILT_IN_RULES}
BY_NAME: Final = {rule.name: rule for rule in BUILT_IN_RULES}
