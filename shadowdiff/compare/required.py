"""Preconditions: places that must be equal before a pair says anything of v2, such as a data version.

In: a pair and the requirements of its route.  Out: the reason why it is incomparable, or nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.compare.coding import CodingError, undo
from shadowdiff.compare.exact import NotJsonError, parse_exact
from shadowdiff.compare.headers import all_of, value_of
from shadowdiff.compare.media import Form, media_of
from shadowdiff.compare.select import select
from shadowdiff.compare.values import Value, same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.compare.limits import Limits
    from shadowdiff.model import Observation, Pair
    from shadowdiff.rules.compiled import Requirement


def unmet(pair: Pair, requirements: Sequence[Requirement], limits: Limits) -> str:
    """Return the first requirement that does not hold, as a reason; empty where all hold.

    A body that is no JSON on either side holds nothing to require; the comparison of bodies speaks of it.
    """
    primary, candidate = pair.primary, pair.candidate
    values: tuple[list[Value], list[Value]] | None = None
    for requirement in requirements:
        name = requirement.header
        if name:
            if all_of(primary.headers, name) != all_of(candidate.headers, name):
                return requirement.label
            continue
        if primary.body == candidate.body:
            continue
        if values is None:
            values = _document(primary, limits), _document(candidate, limits)
        one, other = ([node for value in side for node in select(requirement.query, value)] for side in values)
        if not same(one, other):
            return requirement.label
    return ""


def _document(side: Observation, limits: Limits) -> list[Value]:
    """Return the side's JSON value as a list of one; empty where it has none."""
    if media_of(value_of(side.headers, b"content-type")).form is not Form.JSON:
        return []
    try:
        return [parse_exact(undo(side.body, b",".join(all_of(side.headers, b"content-encoding")), limits))]
    except (CodingError, NotJsonError):
        return []
