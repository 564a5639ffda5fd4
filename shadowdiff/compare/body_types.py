"""Find bodies that are JSON although their Content-Type names another type, so that a setting can name it.

No body is compared by its content. The result is only a proposal for the target's setting `body_types`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowdiff.compare.coding import CodingError, undo
from shadowdiff.compare.formats import JSON, format_of, named_type
from shadowdiff.compare.headers import all_of, value_of
from shadowdiff.compare.work import Budget, TooComplexError

if TYPE_CHECKING:
    from shadowdiff.compare.work import Limits
    from shadowdiff.model import Observation, Pair

_JSON: Final = "application/json"
_SEQUENCE: Final = "application/x-ndjson"


def proposed_type(pair: Pair, limits: Limits) -> str:
    """Return the JSON type of both bodies; empty if they are not JSON, or already compared as what they are.

    limits: the bodies have at most `decoded_bytes`, and `body_types` has no type for the route.
    """
    if named_type(limits.body_types, pair.route):
        return ""
    sides = pair.primary, pair.candidate
    formats = {format_of(value_of(side.headers, b"content-type"))[0] for side in sides}
    if len(formats) == 1 and formats != {JSON} and any(format_.has_paths for format_ in formats):
        return ""
    found = {_json_type(side, limits) for side in sides}
    name = found.pop()
    return "" if found or (name == _JSON and formats == {JSON}) else name


def _json_type(side: Observation, limits: Limits) -> str:
    try:
        codings = b",".join(all_of(side.headers, b"content-encoding"))
        body = undo(side.body, codings, limits, Budget(limits.work))
    except (CodingError, TooComplexError):
        return ""
    for name in (_JSON, _SEQUENCE):
        format_, media = format_of(name.encode())
        value = format_.try_value(body, media)
        if name == _SEQUENCE:
            is_json = isinstance(value, list) and len(value) > 1 and all(isinstance(one, dict | list) for one in value)
        else:
            is_json = isinstance(value, dict | list)
        if is_json:
            return name
    return ""
