"""Preconditions: places that must be equal before a pair says anything of v2, such as a data version.

In: a pair and the requirements of its route.  Out: the reason why it is incomparable, or nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.compare.coding import CodingError, undo
from shadowdiff.compare.exact import NotJsonError, parse_exact
from shadowdiff.compare.headers import all_of, value_of
from shadowdiff.compare.media import Form, media_of
from shadowdiff.compare.messages import is_packed, read_message
from shadowdiff.compare.select import select
from shadowdiff.compare.values import Value, same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowdiff.compare.limits import Limits
    from shadowdiff.compare.messages import Messages
    from shadowdiff.model import Observation, Pair
    from shadowdiff.rules.compiled import Requirement


def unmet(pair: Pair, requirements: Sequence[Requirement], limits: Limits, messages: Messages | None) -> str:
    """Return the first requirement that does not hold, as a reason; empty where all hold.

    A body that is no JSON and no message holds nothing to require; the comparison of bodies speaks of it.
    """
    primary, candidate = pair.primary, pair.candidate
    values: tuple[list[Value], ...] | None = None
    for requirement in requirements:
        name = requirement.header
        if name:
            if all_of(primary.headers, name) != all_of(candidate.headers, name):
                return requirement.label
            continue
        if primary.body == candidate.body:
            continue
        if values is None:
            values = tuple(_document(side, pair.route, limits, messages) for side in (primary, candidate))
        one, other = ([node for value in side for node in select(requirement.query, value)] for side in values)
        if not same(one, other):
            return requirement.label
    return ""


def _document(side: Observation, route: str, limits: Limits, messages: Messages | None) -> list[Value]:
    """Return the side's value, of JSON or of messages, as a list of one; empty where it has none."""
    if messages is not None and is_packed(side.headers):
        value = read_message(side, route, limits, messages)
        return [] if value is None else [value]
    if media_of(value_of(side.headers, b"content-type")).form is not Form.JSON:
        return []
    try:
        return [parse_exact(undo(side.body, b",".join(all_of(side.headers, b"content-encoding")), limits))]
    except (CodingError, NotJsonError):
        return []
