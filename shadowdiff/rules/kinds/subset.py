"""`subset`: v2 may add members and elements."""

from __future__ import annotations

from shadowdiff.rules.kinds.kind import RuleKind


class Subset(RuleKind):
    """Covers members and elements that v2 adds at the rule's place and below it."""

    name = "subset"
    example = '`{subset: "$"}`'
    covers = "members and elements that only v2 has"
    is_inherited = True
