"""Decide whether a GraphQL response with status 200 contains errors, which are an outcome next to the status.

If v1 itself failed, the pair is `incomparable`. If only one side has errors, the only difference is `graphql.errors`.
If both sides have errors or neither has, the bodies are compared as usual.
Source: GraphQL, section 7.1.2; GraphQL over HTTP, section 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import msgspec

from shadowdiff.compare.coding import CodingError, undo
from shadowdiff.compare.headers import all_of
from shadowdiff.model import GRAPHQL_ERRORS, Comparison, Difference, Kind, Result, Severity
from shadowdiff.model.relation import Relation

if TYPE_CHECKING:
    from shadowdiff.compare.work import Budget, Limits
    from shadowdiff.model import Observation, Pair

_BYTES_PER_UNIT: Final = 64
_BYTES_PER_UNIT_OF_ERRORS: Final = 4
"""Errors are decoded; the rest of a body is only searched."""
_MAX_CODE_CHARS: Final = 40
_REDIRECT: Final = 300
V1_FAILED: Final = frozenset({"INTERNAL_SERVER_ERROR", "PERSISTED_QUERY_NOT_FOUND"})
"""Codes of v1's errors that do not show what v1 responds otherwise."""


class _Response(msgspec.Struct):
    errors: object = None


_DECODER: Final = msgspec.json.Decoder(_Response | list[_Response])


def decided_by_errors(pair: Pair, limits: Limits, budget: Budget) -> Comparison | None:
    """Return the result if the errors of one side determine it; None if the responses must be compared."""
    if max(pair.primary.status, pair.candidate.status) >= _REDIRECT:
        return None
    one, other = _codes(pair.primary, limits, budget), _codes(pair.candidate, limits, budget)
    if one is None or other is None:
        return None
    if not V1_FAILED.isdisjoint(one):
        return Comparison(result=Result.INCOMPARABLE, reason="primary_graphql_failed")
    if bool(one) == bool(other):
        return None
    difference = Difference(
        path=GRAPHQL_ERRORS,
        pattern=GRAPHQL_ERRORS,
        kind=Kind.STATUS,
        primary=_shown(pair.primary, one),
        candidate=_shown(pair.candidate, other),
        severity=Severity.BREAKING if other else Severity.VALUE,
        relations=int(Relation.REPLACED_BY_ERROR) if other else 0,
    )
    return Comparison(result=Result.MISMATCH, differences=(difference,))


def _codes(side: Observation, limits: Limits, budget: Budget) -> list[str] | None:
    """Return the code of each error, or an empty text for an error without one; None if the body cannot be read."""
    if side.truncated:
        return None
    try:
        body = undo(side.body, b",".join(all_of(side.headers, b"content-encoding")), limits, budget)
        budget.spend(len(body) // _BYTES_PER_UNIT)
        if b'"errors"' not in body and b"\\u" not in body:
            return []
        budget.spend(len(body) // _BYTES_PER_UNIT_OF_ERRORS)
        found = _DECODER.decode(body)
        read = cast("list[_Response]", found if isinstance(found, list) else [found])
    except (CodingError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return [_code(error) for response in read for error in _errors(response)]


def _errors(response: _Response) -> list[object]:
    """Return the errors of a response. Anything but a list is one error, unless it is empty."""
    errors = response.errors
    if isinstance(errors, list):
        return cast("list[object]", errors)
    return [errors] if errors else []


def _code(error: object) -> str:
    extensions = cast("dict[str, object]", error).get("extensions") if isinstance(error, dict) else None
    code = cast("dict[str, object]", extensions).get("code") if isinstance(extensions, dict) else None
    return code[:_MAX_CODE_CHARS] if isinstance(code, str) else ""


def _shown(side: Observation, codes: list[str]) -> str:
    named = ", ".join(dict.fromkeys(code for code in codes if code))
    return f"{side.status} with errors{named and ': '}{named}" if codes else f"{side.status} without errors"
