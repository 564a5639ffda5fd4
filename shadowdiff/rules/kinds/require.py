"""`require`: a pair is compared only if both sides are equal at a place, such as a data version."""

from __future__ import annotations

from shadowdiff.rules.kinds.kind import RuleKind
from shadowdiff.rules.rule import HEADER


class Require(RuleKind):
    """Covers nothing. A pair that differs at the rule's place is incomparable."""

    name = "require"
    example = '`{require: "$.dataVersion"}` or `{require: header.x-data-version}`'
    covers = (
        "nothing. If a pair differs at the place, it is `incomparable`, because the two sides read different data."
        " If a body is broken, the pair is still compared"
    )
    places = (HEADER,)
    is_precondition = True
