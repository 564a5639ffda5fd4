"""`require`: a pair is compared only if both sides are equal at a place, such as a data version."""

from __future__ import annotations

from shadowdiff.rules.kinds.kind import RuleKind
from shadowdiff.rules.rule import HEADER


class Require(RuleKind):
    """Covers nothing. A pair that differs at the rule's place is incomparable."""

    name = "require"
    example = '`{require: "$.dataVersion"}` or `{require: header.x-data-version}`'
    covers = (
        "nothing. If a pair differs at the path, the pair is `incomparable`, because v1 and v2 read different data."
        " A pair with a broken body is still compared"
    )
    places = (HEADER,)
    is_precondition = True
