"""Redaction: what is a secret goes, what is none stays to the letter."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowdiff.model import Kind
from shadowdiff.report import Patterns, Redactor
from tests.fakes.traffic import difference

R = Redactor(b"a key")
GONE = "‹redacted:············›"
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
SECRETS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "password", "api_key", "To-Ken", 'x"y', "code"]) | TEXTS, inner, max_size=4
        )
    ),
    max_leaves=12,
)


def _shape(text: str) -> str:
    """Return text whose placeholders are all alike."""
    return re.sub("‹redacted:[0-9a-f]{12}›", GONE, text)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("authorization", "Bearer abc.def", f"Bearer {GONE}"),
        ("authorization", "s3cr3t", GONE),
        ("proxy-authorization", "Basic dTpw", f"Basic {GONE}"),
        ("cookie", "a=1; session=xyz", f"a={GONE}; session={GONE}"),
        ("set-cookie", "sid=xyz; Path=/; HttpOnly", f"sid={GONE}; Path=/; HttpOnly"),
        ("x-api-key", "k", GONE),
        ("x-auth-token", "t", GONE),
        ("x-amz-security-token", "t", GONE),
        ("location", "https://h/cb?code=abc&state=1", f"https://h/cb?code={GONE}&state=1"),
        ("content-type", "application/json", "application/json"),
        ("x-request-id", "7d9f5e52", "7d9f5e52"),
        ("etag", '"33a64df5"', '"33a64df5"'),
    ],
)
def test_headers_lose_their_secrets_by_name(name: str, value: str, expected: str) -> None:
    """Credentials and cookie values go; names, schemes and attributes stay."""
    assert expected == _shape(R.header(name, value))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a?token=x&page=2", f"/a?token={GONE}&page=2"),
        ("/a?page=2&key=x", f"/a?page=2&key={GONE}"),
        ("/a?access_token=x#frag", f"/a?access_token={GONE}#frag"),
        ("/a?pass%77ord=x", f"/a?pass%77ord={GONE}"),
        ("/a?X-Amz-Signature=f00&X-Amz-Date=1", f"/a?X-Amz-Signature={GONE}&X-Amz-Date=1"),
        ("/a;token=x?b=1", f"/a;token={GONE}"),
        ("/products/17?view=full", "/products/17?view=full"),
        ("/a?token=", "/a?token="),
    ],
)
def test_queries_lose_their_secrets_by_name(path: str, expected: str) -> None:
    """The names may be percent-encoded; everything else of the target stays."""
    assert expected == _shape(R.path(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"password":"x","a":1.0}', f'{{"password":"{GONE}","a":1.0}}'),
        ('{ "Api-Key" : 12345678901234567890 }', f'{{ "Api-Key" : "{GONE}" }}'),
        ('{"secret":{"a":["]"],"b":"}"},"c":2}', f'{{"secret":"{GONE}","c":2}}'),
        ('{"pass\\u0077ord":"x"}', f'{{"pass\\u0077ord":"{GONE}"}}'),
        ('{"token":null,"password":""}', '{"token":null,"password":""}'),
        ('{"a":"password","b":"x"}', '{"a":"password","b":"x"}'),
        ('{"code":500,"key":"v"}', '{"code":500,"key":"v"}'),
        ('[{"token":"a"},{"token":"a', f'[{{"token":"{GONE}"}},{{"token":"{GONE}"'),
        ('{"next":"https://h/?sig=abc"}', f'{{"next":"https://h/?sig={GONE}"}}'),
        ('{"note":"Bearer abcdefgh12345"}', f'{{"note":"Bearer {GONE}"}}'),
        ('{"jwt_in_text":"see eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"}', f'{{"jwt_in_text":"see {GONE}"}}'),
    ],
)
def test_json_loses_its_secrets_by_name_and_keeps_every_other_character(text: str, expected: str) -> None:
    """Whole, malformed or cut short, numbers and white space included."""
    assert expected == _shape(R.body(text, "application/json"))


def test_forms_lose_their_secrets_by_name() -> None:
    """The first field is as safe as the others."""
    body = R.body("password=x&user=jo&code=12", "application/x-www-form-urlencoded")
    assert f"password={GONE}&user=jo&code={GONE}" == _shape(body)


def test_more_names_can_be_given() -> None:
    """A team names its own secrets, for every place."""
    redactor = Redactor(b"k", ["IBAN", "x-internal"])
    assert [f'{{"iban":"{GONE}"}}', GONE, f"/?iban={GONE}"] == [
        _shape(redactor.text('{"iban":"DE02"}')),
        _shape(redactor.header("x-internal", "1")),
        _shape(redactor.path("/?iban=DE02")),
    ]


@given(SECRETS, SECRETS)
def test_equal_secrets_stay_equal_and_different_ones_differ(one: str, other: str) -> None:
    """What differed between v1 and v2 still differs, without being shown."""
    assert (one == other) == (R.secret(one) == R.secret(other))


@given(SECRETS)
def test_another_key_makes_other_placeholders(secret: str) -> None:
    """Nobody without the key can try secrets out."""
    assert R.secret(secret) != Redactor(b"another").secret(secret)


@settings(deadline=None)
@given(JSON, TEXTS)
def test_redacting_twice_is_redacting_once(value: object, noise: str) -> None:
    """Whatever the text: whole JSON, JSON cut short, or none."""
    whole = json.dumps(value, ensure_ascii=False)
    for text in (whole, whole[: len(whole) // 2], f"?token={noise}&{noise}", noise, f'{{"password":"{noise}'):
        for media_type in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            once = R.body(text, media_type)
            assert once == R.body(once, media_type)


@given(TEXTS, st.sampled_from(["authorization", "cookie", "set-cookie", "x-api-key", "location", "accept"]))
def test_redacting_a_header_twice_is_redacting_it_once(value: str, name: str) -> None:
    """Whatever its value holds."""
    once = R.header(name, value)
    assert once == R.header(name, once)


@given(JSON)
def test_redacted_json_is_json_still(value: object) -> None:
    """A reader, and a second redaction, can parse it."""
    json.loads(R.body(json.dumps([value]), "application/json"))


@given(st.dictionaries(st.sampled_from(["a", "b", "name"]), st.integers() | st.floats(allow_nan=False), max_size=3))
def test_json_without_secrets_is_untouched(value: object) -> None:
    """Nothing is rewritten for its own sake."""
    names_alone = Redactor(b"a key", patterns=Patterns(builtin=False))  # a number may happen to be a card's
    assert json.dumps(value) == names_alone.body(json.dumps(value), "application/json")


def test_a_difference_under_a_secret_name_tells_only_that_it_differs() -> None:
    """Both values become placeholders, unlike each other, like those in the bodies."""
    found = R.difference(difference("$['user']['password']", primary='"one"', candidate='"two"'))
    assert (f'"{R.secret("one")}"', f'"{R.secret("two")}"') == (found.primary, found.candidate)
    assert found.primary == json.dumps(R.secret("one"), ensure_ascii=False)
    assert R.secret("one") in R.text('{"password":"one"}')


def test_a_difference_with_a_secret_inside_its_value_is_redacted_inside() -> None:
    """An added object shows everything but its secret."""
    found = R.difference(difference("$['user']", kind=Kind.ADDED, primary=None, candidate='{"id":1,"token":"x"}'))
    assert (None, f'{{"id":1,"token":"{GONE}"}}') == (found.primary, _shape(found.candidate or ""))


def test_a_difference_in_a_header_is_redacted_as_the_header_is() -> None:
    """Two session cookies differ, and neither is told."""
    found = R.difference(difference("header.set-cookie", kind=Kind.HEADER, primary="s=a; Path=/", candidate="s=b"))
    assert (f"s={GONE}; Path=/", f"s={GONE}") == (_shape(found.primary or ""), _shape(found.candidate or ""))
