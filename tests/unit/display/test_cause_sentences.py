"""Each cause has one sentence, with a parameter and without."""

from __future__ import annotations

import pytest

from shadowdiff.display.cause_sentences import cause_sentence
from shadowdiff.display.wording import plain_text
from shadowdiff.model import GRAPHQL_ERRORS, Kind, Severity
from shadowdiff.model.relation import NO_RELATION, Relation

R = Relation
V, A, B = Severity.VALUE, Severity.ADDITIVE, Severity.BREAKING
PRICE = "$['price']['amount']"
LINE = "text[Queries took {number}ms]"


Case = tuple[Kind, str, Relation, str, Severity]


def sentence(case: Case, routes: int = 1) -> str:
    """Return the sentence as plain text."""
    kind, place, relation, parameter, severity = case
    return plain_text(cause_sentence(kind, place, relation, parameter, severity=severity, routes=routes))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ((Kind.VALUE, PRICE, R.OFFSET, "+1", V), "price.amount is exactly 1 higher in v2"),
        ((Kind.VALUE, PRICE, R.OFFSET, "-0.05", V), "price.amount is exactly 0.05 lower in v2"),
        ((Kind.VALUE, PRICE, R.SCALED, "100", V), "price.amount is 100 times v1's value"),
        ((Kind.VALUE, PRICE, R.SCALED, "1/60", V), "price.amount is 1/60 of v1's value"),
        ((Kind.VALUE, PRICE, R.SCALED, "-1", V), "price.amount has the opposite sign in v2"),
        ((Kind.VALUE, PRICE, R.ROUNDED, "any → 2", V), "price.amount is rounded to 2 decimals in v2"),
        ((Kind.VALUE, PRICE, R.ROUNDED, "0 → any", V), "price.amount is rounded to whole numbers in v1, not in v2"),
        ((Kind.VALUE, PRICE, R.CONSTANT, "57.05 → 58.05", V), "price.amount differs: 57.05 → 58.05"),
        ((Kind.VALUE, PRICE, NO_RELATION, "", V), "price.amount differs"),
        ((Kind.STATUS, "status", R.CONSTANT, "200 → 500", B), "v2 returns 500 instead of 200"),
        ((Kind.STATUS, "status", R.CONSTANT, "200 → timeout", B), "v2 timed out"),
        ((Kind.STATUS, "status", R.REPLACED_BY_ERROR, "500", B), "v2 returns 500 instead of a successful response"),
        ((Kind.STATUS, "status", R.REPLACED_BY_ERROR, "timeout", B), "v2 timed out"),
        ((Kind.STATUS, "status", R.REPLACED_BY_ERROR, "", B), "v2 returns errors instead of successful responses"),
        ((Kind.STATUS, "status", NO_RELATION, "", B), "Status differs"),
        ((Kind.STATUS, "header.grpc-status", R.CONSTANT, "0 → 13", B), "v2 returns gRPC status 13 instead of 0"),
        ((Kind.STATUS, GRAPHQL_ERRORS, R.REPLACED_BY_ERROR, "", B), "v2's GraphQL response has errors"),
        ((Kind.STATUS, GRAPHQL_ERRORS, NO_RELATION, "", V), "GraphQL errors differ"),
        (
            (Kind.TYPE, "$['stock']['count']", R.RETYPED, "number → string", B),
            "stock.count is a string in v2, a number in v1",
        ),
        (
            (Kind.TYPE, "$['stock']['count']", R.NUMBER_AS_STRING, "number → string", B),
            "stock.count is a string in v2, a number in v1, with the same value",
        ),
        (
            (Kind.TYPE, PRICE, R.INTEGER_AS_DECIMAL, "integer → decimal", B),
            "price.amount is a decimal in v2, an integer in v1, with the same value",
        ),
        ((Kind.TYPE, PRICE, R.EMPTY, "value → null", B), "price.amount is null in v2; v1 has a value"),
        ((Kind.TYPE, PRICE, R.EMPTY, "null → empty", B), "price.amount is empty in v2, null in v1"),
        ((Kind.TYPE, PRICE, R.EMPTY, "null → value", B), "price.amount has a value in v2, and is null in v1"),
        ((Kind.REMOVED, "$['shipping']", NO_RELATION, "", B), "shipping is missing in v2"),
        ((Kind.REMOVED, "$['shipping']", R.EMPTY, "null → missing", B), "shipping is missing in v2, null in v1"),
        ((Kind.ADDED, "$['shipping']", NO_RELATION, "", A), "v2 adds shipping"),
        ((Kind.ADDED, "$['shipping']", R.EMPTY, "missing → null", A), "v2 adds shipping, which is null"),
        ((Kind.HEADER, "header.etag", NO_RELATION, "", A), "v2 adds header etag"),
        ((Kind.HEADER, "header.etag", NO_RELATION, "", B), "Header etag is missing in v2"),
        ((Kind.HEADER, "header.etag", NO_RELATION, "", V), "Header etag differs"),
        (
            (Kind.HEADER, "header.server", R.VERSION, "1.25.3 → 1.27.0", V),
            "Header server has version 1.27.0 in v2, 1.25.3 in v1",
        ),
        ((Kind.HEADER, "header.location", R.OWN_ORIGIN, "", V), "Header location has v2's own host name"),
        ((Kind.TEXT, "text[*]", R.CONSTANT, "sans → sans-serif", V), "Text differs: sans → sans-serif"),
        (
            (Kind.TEXT, LINE, R.GENERATED, "duration", V),
            "Text Queries took {number}ms is a duration, which differs in each response",
        ),
        ((Kind.TEXT, "text", NO_RELATION, "", V), "Text differs"),
        ((Kind.BYTES, "bytes[*]", NO_RELATION, "", V), "Binary body differs"),
        ((Kind.ORDER, "$['items']", R.REORDERED, "", V), "Order of items differs"),
        ((Kind.VALUE, "$['at']", R.SAME_INSTANT, "zone", V), "at is the same time in another zone"),
        ((Kind.VALUE, "$['at']", R.TIME_SHIFTED, "+3600", V), "at is exactly 1 h later in v2"),
        ((Kind.VALUE, "$['at']", R.TIME_SHIFTED, "-0.25", V), "at is exactly 0.25 s earlier in v2"),
        ((Kind.VALUE, "$['at']", R.GENERATED, "clock", V), "at is the time of the response"),
        ((Kind.VALUE, "$['id']", R.GENERATED, "uuid", V), "id is another UUID in each response"),
        ((Kind.VALUE, "$['note']", R.CASE, "lower", V), "note is in lower case in v2"),
        ((Kind.VALUE, "$['note']", R.WHITE_SPACE, "", V), "note differs only in white space"),
        (
            (Kind.VALUE, "$['note']", R.NORMALIZATION, "NFD", V),
            "note differs only in Unicode normalization: v2 sends NFD",
        ),
        ((Kind.VALUE, "$['note']", R.ESCAPING, "plain → html", V), "v2 escapes note for HTML"),
        ((Kind.VALUE, "$['note']", R.PREFIX, "+/v2/", V), "v2 adds the prefix /v2/ to note"),
        ((Kind.VALUE, "$['note']", R.SUFFIX, "-.json", V), "v2 removes the suffix .json from note"),
        ((Kind.VALUE, "$['note']", R.TRUNCATED, "50", V), "note ends after 50 characters in v2"),
        ((Kind.VALUE, "$['note']", R.REPLACED_BY_ERROR, "", V), "note is an error in v2"),
    ],
)
def test_sentence(case: Case, expected: str) -> None:
    """The sentence names the place, the relation and its parameter."""
    assert sentence(case) == expected


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("relation", [NO_RELATION, *Relation])
@pytest.mark.parametrize("parameter", ["", "‹redacted:0123456789ab›", "any other → text", "{subject} {where}"])
def test_every_cause_has_a_sentence(kind: Kind, relation: Relation, parameter: str) -> None:
    """Also without a parameter, with a hash in its place, or with one that the relation never has."""
    place = {Kind.STATUS: "status", Kind.HEADER: "header.etag", Kind.TEXT: "text[*]", Kind.BYTES: "bytes[*]"}
    text = sentence((kind, place.get(kind, PRICE), relation, parameter, V))
    assert text[0].isupper() or text.startswith(("v2", "price.amount"))
    assert "{subject}" not in text or "{subject}" in parameter
    if relation is R.OFFSET and parameter:
        assert "‹" not in text


def test_values_of_responses_are_marked_as_code() -> None:
    """Pages show them in another font."""
    found = cause_sentence(Kind.VALUE, PRICE, R.CONSTANT, "a → b", severity=V, routes=3)
    assert [segment.text for segment in found if segment.code] == ["price.amount", "a", "b"]


def test_a_hash_stands_for_a_secret_value() -> None:
    """Equal hashes still show that the value is always the same."""
    hashes = "‹redacted:0123456789ab› → ‹redacted:ba9876543210›"
    assert sentence((Kind.VALUE, PRICE, R.CONSTANT, hashes, V)) == f"price.amount differs: {hashes}"


def test_several_routes_are_counted() -> None:
    """One route is not worth a word."""
    assert sentence((Kind.TEXT, "text[*]", R.CONSTANT, "sans → sans-serif", V), routes=3) == (
        "Text differs: sans → sans-serif on 3 routes"
    )
    assert sentence((Kind.VALUE, PRICE, NO_RELATION, "", V), routes=1200) == "price.amount differs on 1,200 routes"
