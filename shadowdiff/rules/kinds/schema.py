"""`schema`: values may differ as long as their types do not."""

from __future__ import annotations

from shadowdiff.rules.kinds.kind import RuleKind


class Schema(RuleKind):
    """Covers different values of the same type at the rule's place and below it."""

    name = "schema"
    example = '`{schema: "$.debug"}`'
    covers = (
        "other values of the same types. The index in an array does not matter: for each value, the other side"
        " must have a value of the same shape at the same place. An empty array shows no types, so it never hides a"
        " changed type elsewhere"
    )
    is_inherited = True
    needs_own_place = True
    looks_into_values = True
