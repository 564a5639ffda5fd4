"""Each relation is found for values that have it, with its parameter, and not for values that almost have it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from shadowdiff.compare import Limits
from shadowdiff.compare.finding import show
from shadowdiff.compare.relations import relate, relate_excerpts, relate_statuses
from shadowdiff.model import Failure, Kind
from shadowdiff.model.relation import Relation, relation_names
from shadowdiff.rules.json_values import MISSING
from tests.fakes import responses
from tests.unit.compare.comparing import compared

if TYPE_CHECKING:
    from shadowdiff.rules.json_values import Missing, Value

R = Relation
UUIDS = "6f1c2f9e-8f9b-4a52-a5b1-0d3bb6f0d0c1", "0d9c2f9e-1f9b-4a52-a5b1-0d3bb6f0d0c2"
HASHES = "d41d8cd98f00b204e9800998ecf8427ed41d8cd9", "900150983cd24fb0d6963f7d28e17f72900150ab"


def found(one: Value | Missing, other: Value | Missing, name: str = "") -> dict[str, str]:
    """Return the names of the relations that hold, each with its parameter."""
    mask, parameters = relate(Kind.VALUE, name, (one, other), (show(one, 512), show(other, 512)))
    return dict.fromkeys(relation_names(mask), "") | {relation_names(bit)[0]: text for bit, text in parameters}


@pytest.mark.parametrize(
    ("one", "other", "name", "relation", "parameter"),
    [
        (57.05, 58.05, "", R.OFFSET, "+1"),
        (5, 3, "", R.OFFSET, "-2"),
        (0.1, 0.3, "", R.OFFSET, "+0.2"),
        (Decimal("0.10000000000000001"), Decimal("0.2"), "", R.OFFSET, "+0.09999999999999999"),
        ("57.05", "58.05", "", R.OFFSET, "+1"),
        ("3.2ms", "4.7ms", "", R.OFFSET, "+1.5"),
        (57.05, 5705, "", R.SCALED, "100"),
        (5705, 57.05, "", R.SCALED, "1/100"),
        (3, 180, "", R.SCALED, "60"),
        (2048, 2, "", R.SCALED, "1/1024"),
        (1500, 1.46, "", R.SCALED, "1/1024"),
        (12, -12, "", R.SCALED, "-1"),
        (57.0512, 57.05, "", R.ROUNDED, "any → 2"),
        (57.0599, 57.05, "", R.ROUNDED, "any → 2"),
        (57.05, 57.0512, "", R.ROUNDED, "2 → any"),
        ("57.0500", "57.05", "", R.ROUNDED, "any → 2"),
        (57.9, 58, "", R.ROUNDED, "any → 0"),
        (5, "5", "", R.NUMBER_AS_STRING, "number → string"),
        ("5.00", 5, "", R.NUMBER_AS_STRING, "string → number"),
        (True, "true", "", R.NUMBER_AS_STRING, "boolean → string"),
        (1, True, "", R.NUMBER_AS_STRING, "number → boolean"),
        (1, 1.0, "", R.INTEGER_AS_DECIMAL, "integer → decimal"),
        ("1.0", "1", "", R.INTEGER_AS_DECIMAL, "decimal → integer"),
        ("2026-01-01T10:00:00Z", "2026-01-01T12:00:00+02:00", "", R.SAME_INSTANT, "zone"),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00", "", R.SAME_INSTANT, "zone"),
        ("2026-01-01T10:00:00.123Z", "2026-01-01T10:00:00Z", "", R.SAME_INSTANT, "precision"),
        ("2026-01-01T10:00:00Z", "20260101T100000Z", "", R.SAME_INSTANT, "format"),
        ("Thu, 01 Jan 2026 10:00:00 GMT", "2026-01-01T10:00:00Z", "", R.SAME_INSTANT, "format"),
        (1767261600, "2026-01-01T10:00:00Z", "", R.SAME_INSTANT, "epoch"),
        ("2026-01-01T10:00:00Z", 1767261600000, "", R.SAME_INSTANT, "epoch"),
        (1767261600, 1767261600123, "", R.SAME_INSTANT, "epoch"),
        ("2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", "", R.TIME_SHIFTED, "+3600"),
        ("2026-01-02", "2026-01-01", "", R.TIME_SHIFTED, "-86400"),
        (1767261600, 1767265200, "createdAt", R.TIME_SHIFTED, "+3600"),
        ("Foo Bar", "foo bar", "", R.CASE, "lower"),
        ("Foo", "FOO", "", R.CASE, "upper"),
        ("foo bar", "Foo Bar", "", R.CASE, ""),
        ("a  b", "a\u00a0b\n", "", R.WHITE_SPACE, ""),
        ("caf\u00e9", "cafe\u0301", "", R.NORMALIZATION, "NFD"),
        ("cafe\u0301", "caf\u00e9", "", R.NORMALIZATION, "NFC"),
        ("\ufb01n", "fin", "", R.NORMALIZATION, "NFKC"),
        ("a & b", "a &amp; b", "", R.ESCAPING, "plain → html"),
        ("&#39;", "&apos;", "", R.ESCAPING, "html → html"),
        ("a%2Fb", "a/b", "", R.ESCAPING, "percent → plain"),
        ('say "a"', 'say \\"a\\"', "", R.ESCAPING, "plain → backslash"),
        ("\u00e9", "\\u00e9", "", R.ESCAPING, "plain → backslash"),
        ("b, a, c", "a,b,c", "", R.REORDERED, ""),
        ("products", "/v2/products", "", R.PREFIX, "+/v2/"),
        ("/v1/products", "products", "", R.PREFIX, "-/v1/"),
        ("report", "report.json", "", R.SUFFIX, "+.json"),
        ("report.json", "report", "", R.SUFFIX, "-.json"),
        ("a text that is long enough", "a text that is lo", "", R.TRUNCATED, "17"),
        ("a short text", "a sho…", "", R.TRUNCATED, "5"),
        (None, "", "", R.EMPTY, "null → empty"),
        (MISSING, None, "", R.EMPTY, "missing → null"),
        ([], MISSING, "", R.EMPTY, "empty → missing"),
        (0, None, "", R.EMPTY, "zero → null"),
        ("abc", "", "", R.EMPTY, "value → empty"),
        (5, 0, "", R.EMPTY, "value → zero"),
        (False, None, "", R.EMPTY, "zero → null"),
        ("nginx/1.25.3", "nginx/1.27.0", "", R.VERSION, "1.25.3 → 1.27.0"),
        ("gunicorn/20.1", "gunicorn/21.2", "", R.VERSION, "20.1 → 21.2"),
        ("1.2", "1.10", "api_version", R.VERSION, "1.2 → 1.10"),
        ("v1.2", "v2.0-rc1", "", R.VERSION, "v1.2 → v2.0-rc1"),
        (*UUIDS, "", R.GENERATED, "uuid"),
        (*HASHES, "", R.GENERATED, "hash"),
        (f"/items/{UUIDS[0]}/x", f"/items/{UUIDS[1]}/x", "", R.GENERATED, "uuid"),
        ("gGx8Zt4JqA1bQ9wE2rT7", "Kp3Lm9Xc5Vb1Nq8Wz6Ry", "", R.GENERATED, "token"),
        ("web-5d8f6c7b9d-x2x4z", "web-6c7b9d5d8f-z4z2x", "", R.GENERATED, "pod"),
        ("3.2 ms", "4.7 ms", "", R.GENERATED, "duration"),
        (3, 7, "query_ms", R.GENERATED, "duration"),
        (3, 7, "request_count", R.GENERATED, "counter"),
        (1767261600123, 1767261600129, "", R.GENERATED, "clock"),
        ("2026-01-01T10:00:00.1Z", "2026-01-01T10:00:00.2Z", "", R.GENERATED, "clock"),
        ("ok", "Internal Server Error", "", R.REPLACED_BY_ERROR, ""),
        ([1], {"error": "x"}, "", R.REPLACED_BY_ERROR, ""),
        ("5", [5], "", R.RETYPED, "string → array"),
        (5, 7.25, "", R.RETYPED, "integer → number"),
        ("shipped", "delivered", "", R.CONSTANT, "shipped → delivered"),
        (True, False, "", R.CONSTANT, "true → false"),
        ("", "a", "", R.CONSTANT, '"" → a'),
    ],
)
def test_a_relation_holds(
    one: Value | Missing, other: Value | Missing, name: str, relation: Relation, parameter: str
) -> None:
    """The relation has the parameter that its group of pairs may have in common."""
    key = relation_names(relation)[0]
    relations = found(one, other, name)
    assert key in relations
    assert relations[key] == parameter


@pytest.mark.parametrize(
    ("one", "other", "name", "relation"),
    [
        (57.05, 5706, "", R.SCALED),
        (7, 71, "", R.SCALED),
        (1, 1023, "", R.SCALED),
        (57.0512, 57.06, "", R.ROUNDED),
        (57, 58, "", R.ROUNDED),
        (5, "6", "", R.NUMBER_AS_STRING),
        (5, "five", "", R.NUMBER_AS_STRING),
        (True, "false", "", R.NUMBER_AS_STRING),
        (1, 1.5, "", R.INTEGER_AS_DECIMAL),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00+02:00", "", R.SAME_INSTANT),
        ("2026-01-01T10:00:00.123Z", "2026-01-01T10:00:01Z", "", R.SAME_INSTANT),
        ("2026-13-01", "2026-12-01", "", R.TIME_SHIFTED),
        (1767261600, 1799999999, "id", R.TIME_SHIFTED),
        (1767261600, 1799999999, "createdAt", R.GENERATED),
        ("Foo", "fooo", "", R.CASE),
        ("a b", "a c", "", R.WHITE_SPACE),
        ("caf\u00e9", "cafe", "", R.NORMALIZATION),
        ("a & b", "a &lt; b", "", R.ESCAPING),
        ("a, b", "a, c", "", R.REORDERED),
        ("a,b", "a, b", "", R.REORDERED),
        ("abcdef", "xabcde", "", R.PREFIX),
        ("abc", "abd", "", R.SUFFIX),
        ("report.json", "report", "", R.TRUNCATED),
        ("abc", MISSING, "", R.EMPTY),
        (True, False, "", R.EMPTY),
        ("10.0.0.1", "10.0.0.2", "", R.VERSION),
        ("1.2", "1.3", "price", R.VERSION),
        (UUIDS[0], "latest", "", R.GENERATED),
        (HASHES[0], HASHES[1][:-2], "", R.GENERATED),
        ("article-about-2024-news", "article-about-2025-news", "", R.GENERATED),
        ("web-5d8f6c7b9d-x2x4z", "api-6c7b9d5d8f-z4z2x", "", R.GENERATED),
        ("12345678", "87654321", "", R.GENERATED),
        (3, 7, "price", R.GENERATED),
        ("no error", "an error", "", R.REPLACED_BY_ERROR),
        ("calm", "terror", "", R.REPLACED_BY_ERROR),
        ("x" * 40, "y" * 40, "", R.CONSTANT),
    ],
)
def test_a_near_miss_does_not_have_the_relation(
    one: Value | Missing, other: Value | Missing, name: str, relation: Relation
) -> None:
    """A value that only resembles the other does not count."""
    assert relation_names(relation)[0] not in found(one, other, name)


@pytest.mark.parametrize(
    ("one", "other", "relations"),
    [
        ("200", "500", R.REPLACED_BY_ERROR | R.CONSTANT),
        ("200", Failure.TIMEOUT, R.REPLACED_BY_ERROR | R.CONSTANT),
        ("0", "13", R.REPLACED_BY_ERROR | R.CONSTANT),
        ("200", "301", R.CONSTANT),
        ("404", "500", R.CONSTANT),
        ("404", "200", R.CONSTANT),
    ],
)
def test_a_status_is_an_error_if_v1_has_none(one: str, other: str, relations: Relation) -> None:
    """Pairs in which v1 returned 200 and 201 then have the error in common."""
    mask, parameters = relate_statuses(one, other)
    assert mask == relations
    assert parameters[-1] == (R.CONSTANT, f"{one} → {other}")


def test_the_changed_words_of_a_line_are_its_parameter() -> None:
    """The line itself may be long or have other words on each page."""
    both = "font-family: sans[--serif-];\n", "font-family: sans{++};\n"
    assert relate_excerpts(Kind.TEXT, "", *both)[1] == ((R.CONSTANT, "sans-serif → sans"),)


def test_a_comparison_sets_relations_only_for_what_counts() -> None:
    """A difference that a rule covers has none."""
    both = '{"a":1,"b":2}', '{"a":2,"b":3}'
    differences = compared(both, {"ignore": "$.b"}).differences
    assert [(found.path, found.relations, found.parameters) for found in differences] == [
        ("$['a']", R.OFFSET | R.CONSTANT, ((R.OFFSET, "+1"), (R.CONSTANT, "1 → 2"))),
        ("$['b']", 0, ()),
    ]


def test_headers_and_text_have_relations() -> None:
    """The name of a header is the name of its value."""
    found = compared(
        ("took 3.2 ms\n", "took 3.4 ms\n"), kind="text/plain", headers=([("x-api", "v1.0")], [("x-api", "v1.1")])
    )
    relations = {each.path: each.relations for each in found.differences}
    assert relations["header.x-api"] & R.VERSION
    assert relations["text[0]"] & R.GENERATED


def test_no_relations_are_found_if_they_are_off() -> None:
    """`Limits.relations` turns them off."""
    found = responses.judged(b'{"a":1}', b'{"a":2}', limits=Limits(relations=False))
    assert [each.relations for each in found.differences] == [0]


def test_relations_stop_at_their_own_work() -> None:
    """Later differences are still listed, without relations."""
    long = "x" * 4000
    texts = [",".join(f'"k{at}":"{long}{end}"' for at in range(50)) for end in ("", "y")]
    found = compared((f"{{{texts[0]}}}", f"{{{texts[1]}}}"), kind="application/json").differences
    assert len(found) == 50
    assert found[0].relations == found[1].relations == R.SUFFIX
    assert found[-1].relations == 0
