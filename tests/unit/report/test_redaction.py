"""Redaction removes secrets and leaves all other text unchanged."""

from __future__ import annotations

import html
import json
import pickle
import re
from typing import Final
from urllib.parse import quote

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
    """Return text in which all placeholders are equal."""
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
def test_headers_are_redacted_by_name(name: str, value: str, expected: str) -> None:
    """Credentials and cookie values are replaced. Names, schemes and attributes stay."""
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
def test_queries_are_redacted_by_name(path: str, expected: str) -> None:
    """Names may be percent-encoded. The rest of the target stays."""
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
def test_json_is_redacted_by_name_and_otherwise_unchanged(text: str, expected: str) -> None:
    """Complete, malformed and truncated JSON are redacted by name, and keep numbers and white space."""
    assert expected == _shape(R.body(text, "application/json"))


def test_forms_are_redacted_by_name() -> None:
    """The first field is redacted like the others."""
    body = R.body("password=x&user=jo&code=12", "application/x-www-form-urlencoded")
    assert f"password={GONE}&user=jo&code={GONE}" == _shape(body)


def test_further_names_can_be_configured() -> None:
    """A team can add its own secret names for all locations."""
    redactor = Redactor(b"k", ["IBAN", "x-internal"])
    assert [f'{{"iban":"{GONE}"}}', GONE, f"/?iban={GONE}"] == [
        _shape(redactor.text('{"iban":"DE02"}')),
        _shape(redactor.header("x-internal", "1")),
        _shape(redactor.path("/?iban=DE02")),
    ]


@given(SECRETS, SECRETS)
def test_equal_secrets_stay_equal_and_different_ones_differ(one: str, other: str) -> None:
    """Redacted values still show whether v1 and v2 differ."""
    assert (one == other) == (R.secret(one) == R.secret(other))


@given(SECRETS)
def test_another_key_makes_other_placeholders(secret: str) -> None:
    """Without the key, an attacker cannot test guesses."""
    assert R.secret(secret) != Redactor(b"another").secret(secret)


@settings(deadline=None)
@given(JSON, TEXTS)
def test_redacting_twice_is_redacting_once(value: object, noise: str) -> None:
    """Redacting complete JSON, truncated JSON or other text twice equals redacting it once."""
    whole = json.dumps(value, ensure_ascii=False)
    for text in (whole, whole[: len(whole) // 2], f"?token={noise}&{noise}", noise, f'{{"password":"{noise}'):
        for media_type in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            once = R.body(text, media_type)
            assert once == R.body(once, media_type)


FRAGMENTS: Final = (
    "password", "token", "a", '"', "'", ":", "=", "&", "?", "/", "//", "@", "%22", "%3D", "%26", "%25", '\\"',
    "\\\\", "\\n", "\n", " ", "{", "}", "[", "]", ",", "<token>", "</token>", '<a name="token" value="', ">",
    "&quot;", "&amp;", "&#34;", "Bearer abcdefgh1", "eyJhbGciOiJI", "4111111111111111", "jo@h.example",
    "http://u:p@h", "QUFBQUFBQUFB", "secret1", "tokens", '"name":"token"', '"value":', "‹redacted:0123456789ab›",
    "‹", "›", 'form-data; name="pin"\r\n\r\n', "- ", "|", "#", "+", "key", "null", "true", "12", ";", "\\u0022",
    "DE89370400440532013000", "$", "`", "=>", "é", "\\ud800",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join), st.sampled_from(["{}", "json", "url"]))
def test_redacting_any_mixture_twice_is_redacting_it_once(text: str, form: str) -> None:
    """The mixtures contain delimiters, encodings, names, secrets and placeholders, in several contexts."""
    text = {"{}": text, "json": json.dumps({"a": text}), "url": f"/a?q={quote(text)}&b=1"}[form]
    for media_type in ("application/json", "application/yaml", "application/x-www-form-urlencoded"):
        once = R.body(text, media_type)
        assert once == R.body(once, media_type)
    assert R.path(text) == R.path(R.path(text))
    assert R.header("location", text) == R.header("location", R.header("location", text))


@given(TEXTS, st.sampled_from(["authorization", "cookie", "set-cookie", "x-api-key", "location", "accept"]))
def test_redacting_a_header_twice_is_redacting_it_once(value: str, name: str) -> None:
    """Redacting any header value twice equals redacting it once."""
    once = R.header(name, value)
    assert once == R.header(name, once)


@given(JSON)
def test_redacted_json_is_still_json(value: object) -> None:
    """Readers and a second redaction can parse it."""
    json.loads(R.body(json.dumps([value]), "application/json"))


@given(st.dictionaries(st.sampled_from(["a", "b", "name"]), st.integers() | st.floats(allow_nan=False), max_size=3))
def test_json_without_secrets_is_untouched(value: object) -> None:
    """Redaction rewrites nothing without a reason."""
    names_alone = Redactor(b"a key", patterns=Patterns(builtin=False))  # a number may by chance be a card number
    assert json.dumps(value) == names_alone.body(json.dumps(value), "application/json")


def test_difference_under_a_secret_name_shows_no_value() -> None:
    """Both values become different placeholders, like those in the bodies."""
    found = R.difference(difference("$['user']['password']", primary='"one"', candidate='"two"'))
    assert (f'"{R.secret("one")}"', f'"{R.secret("two")}"') == (found.primary, found.candidate)
    assert found.primary == json.dumps(R.secret("one"), ensure_ascii=False)
    assert R.secret("one") in R.text('{"password":"one"}')


def test_a_difference_with_a_secret_inside_its_value_is_redacted_inside() -> None:
    """The difference shows an added object without its secret."""
    found = R.difference(difference("$['user']", kind=Kind.ADDED, primary=None, candidate='{"id":1,"token":"x"}'))
    assert (None, f'{{"id":1,"token":"{GONE}"}}') == (found.primary, _shape(found.candidate or ""))


def test_a_difference_in_a_header_is_redacted_as_the_header_is() -> None:
    """Two session cookies differ, but neither value is shown."""
    found = R.difference(difference("header.set-cookie", kind=Kind.HEADER, primary="s=a; Path=/", candidate="s=b"))
    assert (f"s={GONE}; Path=/", f"s={GONE}") == (_shape(found.primary or ""), _shape(found.candidate or ""))


PLANTED = "hunter2Zq9"


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/xml", '<e key="password"><v>{}</v></e>'),
        ("application/xml", '<e key="password"><!-- a comment -->{}</e>'),
        ("application/xml", '<e key="password">a<b/>{}</e>'),
        ("application/xml", '<e k="password" v="{}"/>'),
        ("application/xml", '<p field="password">{}</p>'),
        ("application/xml", "<dict><key>password</key><string>{}</string></dict>"),
        ("application/xml", "<e><name>api-key</name>\n <value>{}</value></e>"),
        ("text/html", "<dt>Password</dt><dd>{}</dd>"),
        ("text/html", "<tr><td>PASSWORD</td><td class='a'>{}</td></tr>"),
        ("text/html", "<input type=password value={}>"),
        ("application/json", '{{"op":"replace","path":"/password","value":"{}"}}'),
        ("application/json", '{{"field":"password","old":"a","new":"{}"}}'),
        ("application/json", '{{"query": "mutation {{ login(password: \\"{}\\") {{ token }} }}"}}'),
        ("application/json", '{{"query": "{{ a(in: {{user: 1, password: \\"\\"\\"{}\\"\\"\\"}}) }}"}}'),
        ("application/graphql", "mutation {{ login(user: ANNA, password: {}) {{ token }} }}"),
        ("multipart/form-data", '--b\r\nContent-Disposition: form-data;\r\n name="password"\r\n\r\n{}\r\n--b--'),
        ("multipart/form-data", "--b\r\nContent-Disposition: form-data; name*=UTF-8''password\r\n\r\n{}\r\n--b--"),
    ],
)
def test_value_with_a_secret_name_elsewhere_in_the_body_is_hidden(media_type: str, body: str) -> None:
    """The name is in an attribute, an element or an earlier member."""
    assert PLANTED not in R.body(body.format(PLANTED), media_type)


@pytest.mark.parametrize("name", ["invite", "verify", "login", "sessions", "magic-link", "unsubscribe", "API-Key"])
def test_the_segment_after_one_of_a_personal_link_is_hidden(name: str) -> None:
    """The segment is hidden if it looks random. Words in the path stay."""
    assert PLANTED not in R.path(f"/v1/{name}/{PLANTED}/done?a=b")
    assert f"/v1/{name}/settings" == R.path(f"/v1/{name}/settings")


@pytest.mark.parametrize("line", ["a=b; x={}", "a=b; path=/, c={}", "a=b; expires=Mon, 01 Jan 2029 00:00:00 GMT, c={}"])
def test_unknown_cookie_attribute_is_hidden(line: str) -> None:
    """Proxies join the lines of several cookies."""
    assert PLANTED not in R.header("set-cookie", line.format(PLANTED))
    kept = "a=‹redacted›; Path=/; Domain=h; Max-Age=5; SameSite=Lax; Secure; HttpOnly"
    assert kept.partition(";")[2] == R.header("set-cookie", kept.replace("‹redacted›", "b")).partition(";")[2]


def test_texts_of_the_configuration_are_redacted_everywhere() -> None:
    """v2 may send back a secret that shadowdiff sent to it, under any name and in any encoding."""
    redactor, secret = Redactor(b"a key"), 'Tr0ub"adour &3'
    redactor.hide_texts([secret, "short"])
    texts = [f"echo {secret}!", json.dumps({"echo": secret}), html.escape(secret), quote(secret)]
    hidden = [redactor.body(text) for text in texts]
    assert not any("adour" in text for text in hidden), hidden
    assert "‹redacted:" in redactor.path(f"/a/{quote(secret)}?b=1")
    assert "‹redacted:" in redactor.header("x-echo", secret)
    assert "/a/{token}" == redactor.route_path(f"/a/{secret}")
    assert "a short text" == redactor.text("a short text")
    assert hidden == [redactor.body(text) for text in hidden]
    copy = pickle.loads(pickle.dumps(redactor))  # noqa: S301 - as another process gets it
    assert hidden == [copy.body(text) for text in texts]


def test_texts_before_a_reload_are_still_redacted() -> None:
    """v2 may send an old secret for a moment. After the next reload only the newer secrets are redacted."""
    redactor = Redactor(b"a key", patterns=Patterns(["CUST-[0-9]{4}"]))
    for texts in (["old-secret"], ["new-secret"]):
        redactor.hide_texts(texts)
    assert "-secret" not in redactor.text("old-secret new-secret CUST-1234")
    redactor.hide_texts(["new-secret"])
    assert "old-secret" in redactor.text("old-secret new-secret")
    assert "CUST" not in redactor.text("new-secret CUST-1234")
    redactor.hide_texts([])
    redactor.hide_texts([])
    assert "new-secret" == redactor.text("new-secret")
