"""Hide a named secret in bodies, headers and request targets, for any nesting and encoding."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shadowdiff.report import Redactor
from tests.unit.report.planting import NAMES, PLANTS, WRAPS, secrets, traces

if TYPE_CHECKING:
    from collections.abc import Callable

R: Final = Redactor(b"a key")
SECRET: Final = "Kq7Zx2Lm9Wb4Rt"
MEDIA: Final = ("", "application/json", "text/plain", "application/x-www-form-urlencoded", "application/xml")
planted = st.tuples(st.sampled_from(NAMES), st.sampled_from([*PLANTS]), st.lists(st.sampled_from([*WRAPS]), max_size=4))


def _text(how: tuple[str, str, list[str]], secret: str) -> str:
    name, plant, wraps = how
    text = PLANTS[plant](name, secret)
    for wrap in wraps:
        text = WRAPS[wrap](text)
    return text


@settings(max_examples=250, deadline=None)
@given(planted, secrets, st.sampled_from(MEDIA))
def test_a_body_keeps_no_trace_of_a_nested_secret(how: tuple[str, str, list[str]], secret: str, media: str) -> None:
    """A body of any media type has no trace of a nested secret."""
    stored = R.body(_text(how, secret), media)
    assert traces(secret, stored) == []
    assert R.body(stored, media) == stored


@settings(max_examples=150, deadline=None)
@given(planted, secrets)
def test_a_request_target_keeps_no_trace_of_a_nested_secret(how: tuple[str, str, list[str]], secret: str) -> None:
    """The name of a route contains no trace either, because it comes from the path."""
    path = WRAPS["a query"](_text(how, secret))
    stored = R.path(path)
    assert traces(secret, stored) == []
    assert R.path(stored) == stored
    assert traces(secret, R.route_path(path)) == []


@settings(max_examples=100, deadline=None)
@given(planted, secrets, st.sampled_from(["location", "referer", "link", "x-debug", "x-original-url"]))
def test_a_header_keeps_no_trace_of_a_nested_secret(how: tuple[str, str, list[str]], secret: str, header: str) -> None:
    """Headers with URLs and all other headers have no trace of a nested secret."""
    value = _text(how, secret)
    assume("\n" not in value)
    stored = R.header(header, value)
    assert traces(secret, stored) == []
    assert R.header(header, stored) == stored


@settings(max_examples=100, deadline=None)
@given(planted, secrets)
def test_json_stays_json_when_nested_secrets_are_hidden(how: tuple[str, str, list[str]], secret: str) -> None:
    """The surrounding strings and every other member are kept."""
    whole = {"before": 1, "payload": _text(how, secret), "after": [True, None]}
    kept = json.loads(R.body(json.dumps(whole), "application/json"))
    assert {"before": 1, "payload": kept["payload"], "after": [True, None]} == kept


def _percent(text: str) -> str:
    return quote(text, safe="")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _json(text: str) -> str:
    return json.dumps({"p": text})


@pytest.mark.parametrize("encode", [_percent, _base64, _json])
def test_text_encoded_too_often_is_hidden_as_a_whole(encode: Callable[[str], str]) -> None:
    """Text that is encoded too often is hidden. The surrounding text is shown."""
    text = json.dumps({"password": SECRET})
    for _ in range(13):
        text = encode(text)
    stored = R.text(f"q {text} end")
    assert traces(SECRET, stored) == []
    assert stored.startswith("q ")
    assert stored.endswith(" end")
    assert len(stored) < 3000


HOSTILE: Final = (
    "%25", "%41", "%22a%22", "%5C%22", '"a\\"', "\\u0022", '"\\', "&amp;quot;", "&#34;", "QUFB/", "QUFBQUFBQUFBQUFB+",
    "QUFBQUFBQUFBQUFB\n", "AAAAAAAAAAAA-", '{"name":', '"value":', "//u:p@", "//a:b/", "?token=", "/token/a1b2c3d4e5f6",
    '{"a":"%7B%5C%22', "a+%20", "tokens[", "‹redacted:0123456789ab›@", "e30", "&;", "a.b_",
)  # fmt: skip


def _work(text: str) -> int:
    before = R.searched
    R.body(text, "application/yaml")
    R.path(text)
    return R.searched - before


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_twice_the_text_is_twice_the_work_at_most(parts: list[str]) -> None:
    """Work is linear for any text, and the number of searches of a character is limited."""
    once, twice = ("token pin " + "".join(parts) * times for times in (100, 200))
    work = _work(once)
    assert _work(twice) <= 2.2 * work + 1000
    assert work <= 2 * 4 * 17 * len(once)


@pytest.mark.parametrize("part", ["%22a%22", "%25", '"a\\"', "QUFBQUFBQUFBQUFB+", "&#34;"])
def test_memory_is_in_proportion_to_the_text(part: str) -> None:
    """Memory is linear in the text, even if every character is encoded."""
    text = part * (40_000 // len(part))
    tracemalloc.start()
    try:
        R.path(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60 * len(text)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ('/graphql?query=x&variables={"password":"S"}', '/graphql?query=x&variables={"password":"‹›"}'),
        ("/graphql?variables=%7B%22password%22%3A+%22S%22%7D", "/graphql?variables=%7B%22password%22%3A+%22‹›%22%7D"),
        (
            "/l?next=https%3A%2F%2Fh%2Fcb%3Faccess_token%3DS%26page%3D2&z=1",
            "/l?next=https%3A%2F%2Fh%2Fcb%3Faccess_token%3D‹›%26page%3D2&z=1",
        ),
        ("/l?to=https%3A%2F%2Fjo%3AS%40h%2Fx", "/l?to=https%3A%2F%2Fjo%3A‹›%40h%2Fx"),
        ("/l?to=https%3A%2F%2Fjo%3Ap%40S%40h%2Fx", "/l?to=https%3A%2F%2Fjo%3A‹›%40h%2Fx"),
        ("/password/reset/S?x=1", "/password/reset/‹›?x=1"),
        ("/cart;jsessionid=S", "/cart;jsessionid=‹›"),
        ("/a?phpsessid=S", "/a?phpsessid=‹›"),
        ("/cart;sid=S/items;x=1", "/cart;sid=‹›/items;x=1"),
        ("/a#access_token=S", "/a#access_token=‹›"),
        ("/v1/tokens:revoke", "/v1/tokens:revoke"),
        ("/oauth/token/introspect", "/oauth/token/introspect"),
        ("/a?q=hello%20world&date=2024-01-01T00%3A00%3A00%2B02%3A00", None),
        ("/auth/realms/my-realm-2024/account", None),
    ],
)
def test_only_the_secret_of_a_target_is_replaced(path: str, shown: str | None) -> None:
    """The surrounding text keeps every character and its encoding."""
    path = path.replace("S", SECRET)
    stored = R.path(path)
    start, end = stored.find("‹"), stored.find("›")
    stored = stored[: start + 1] + stored[end:] if start >= 0 else stored
    assert stored == (path if shown is None else shown)


@pytest.mark.parametrize(
    "address",
    [
        "postgres://app:p@S@db:5432/shop", "postgres://app:S@x@db/shop", "postgres://app:a/S@db/shop",
        "postgres://app:1/S@db/shop", "postgres://app:a#S@db/shop", "redis://:S@h:6379/0", "//jo:S@h/x",
        "amqp://jo:S/@h", "https://S@h/x", "jo:S@tcp(127.0.0.1:3306)/shop", "postgres://app:" + "a" * 400 + "S@db/shop",
    ],
)  # fmt: skip
def test_a_password_in_an_address_is_hidden_up_to_the_host(address: str) -> None:
    """A password in a URL is hidden for any delimiters in the password, in text and in JSON."""
    address = address.replace("S", SECRET)
    for text in (f"cannot reach {address} now", json.dumps({"url": address}).replace("/", "\\/")):
        assert traces(SECRET, R.text(text)) == []


@pytest.mark.parametrize(
    "address",
    ["http://h:8080/jo@example", "https://h/@jo", "git@h:x/y", "https://h:443/pkg@1.2.3", "see // a comment: a@b"],
)
def test_an_address_without_a_password_is_shown(address: str) -> None:
    """Ports and paths contain no password."""
    assert R.text(address) == address
