"""Test errors inside a GraphQL response: for any bodies, a result is returned, and no errors of v2 are hidden."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowdiff.model import Result, Side
from tests.fakes.responses import compared, response

ROUTE = "POST /graphql#A"
ERRORS: st.SearchStrategy[Any] = st.lists(
    st.fixed_dictionaries(
        {"message": st.text(max_size=5)},
        optional={"extensions": st.none() | st.dictionaries(st.just("code"), st.text())},
    ),
    min_size=1,
    max_size=2,
)
RULES = ({"ignore": "$"}, {"ignore": "status"}, {"ignore": "text"}, {"subset": "$"}, {"require": "$.data"})


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_bodies_have_a_result(one: bytes, other: bytes) -> None:
    """Bodies that are not JSON are compared as on any other route."""
    bodies = response(Side.PRIMARY, one), response(Side.CANDIDATE, other)
    assert compared(*bodies) == compared(*bodies, route=ROUTE)


@given(ERRORS, st.none() | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2))
def test_no_rule_hides_errors_that_only_v2_sends(errors: Any, data: Any) -> None:
    """The only difference names the errors, whatever the rules and the partial data are."""
    one, other = (json.dumps(body).encode() for body in ({"data": {"a": 1}}, {"data": data, "errors": errors}))
    found = compared(response(Side.PRIMARY, one), response(Side.CANDIDATE, other), *RULES, route=ROUTE)
    assert (Result.MISMATCH, ["graphql.errors"]) == (found.result, [each.path for each in found.differences])
    assert found.differences[0].rule is None


@pytest.mark.parametrize(
    ("errors", "path"),
    [
        (b"1", "graphql.errors"),
        (b'{"message": "x"}', "graphql.errors"),
        (b'"x"', "graphql.errors"),
        (b'[null, {"extensions": 1}]', "graphql.errors"),
        (b"{}", "$['errors']"),
        (b"null", "$['errors']"),
        (b"[" * 5000, "$"),
    ],
)
def test_errors_in_another_form_are_errors_too(errors: bytes, path: str) -> None:
    """Only an empty value means that there are no errors. A body that is not JSON is compared as such."""
    bodies = response(Side.PRIMARY, b"{}"), response(Side.CANDIDATE, b'{"errors": ' + errors + b"}")
    found = compared(*bodies, route=ROUTE)
    assert (Result.MISMATCH, [path]) == (found.result, [each.path for each in found.differences])
