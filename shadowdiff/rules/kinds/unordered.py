"""`unordered`: the order of an array's elements, or of a text's lines, does not matter."""

from __future__ import annotations

from shadowdiff.rules.kinds.kind import RuleKind


class Unordered(RuleKind):
    """Covers a different order."""

    name = "unordered"
    example = '`{unordered: "$.tags"}` or `{unordered: text}`'
    covers = (
        "another order of elements, or of lines. Each element needs its own partner on the other side, and"
        " rules must cover all differences between the two"
    )
    places = ("text",)
