"""`unordered`: the order of an array's elements, or of a text's lines, does not matter."""

from __future__ import annotations

from shadowdiff.rules.kinds.kind import RuleKind


class Unordered(RuleKind):
    """Covers a different order."""

    name = "unordered"
    example = '`{unordered: "$.tags"}` or `{unordered: text}`'
    covers = (
        "a different order of elements or lines. Each element needs a partner on the other side, which no other"
        " element has, and rules must cover all differences between the two"
    )
    places = ("text",)
