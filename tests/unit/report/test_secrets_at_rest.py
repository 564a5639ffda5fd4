"""Stored data contains no trace of a secret, in any kind of body and on either side."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
import time
from typing import TYPE_CHECKING, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowdiff.compare import Limits, compare
from shadowdiff.model import Comparison, Keep, Result, Side
from shadowdiff.report import Redactor, Sample, SampleSettings
from shadowdiff.report.attributes import attributes_of
from shadowdiff.rules import compile_rules
from shadowdiff.store import ValueCodec
from tests.fakes.samples import sample_writes
from tests.fakes.traffic import observation, pair
from tests.unit.report.planting import NAMES, PLANTS, WRAPS, traces
from tests.unit.report.planting import secrets as planted_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

R: Final = Redactor(b"a key")
SETTINGS: Final = SampleSettings(redactor=R)
VALUE_CODEC: Final = ValueCodec()
RULES: Final = compile_rules((), dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


def _json(secret: str) -> str:
    return json.dumps({"a": 1, "user": {"token": secret}, "b": 2})


def _multipart(secret: str) -> str:
    return f'--xx\r\nContent-Disposition: form-data; name="password"\r\n\r\n{secret}\r\n--xx--\r\n'


SHAPES: Final[dict[str, Callable[[str], str]]] = {
    "json": _json,
    "pretty json": lambda secret: json.dumps({"a": 1, "api-key": secret, "list": [{"pin": secret}]}, indent=2),
    "json, an object": lambda secret: json.dumps({"credentials": {"user": [secret], "x": {"y": secret}}, "z": 1}),
    "json in json": lambda secret: json.dumps({"payload": _json(secret), "z": 1}),
    "json in json in json": lambda secret: json.dumps({"payload": json.dumps({"inner": _json(secret)}), "z": 1}),
    "json cut short": lambda secret: _json(secret)[: -len('"}, "b": 2}')],
    "ndjson": lambda secret: f'{{"a":1}}\n{_json(secret)}\n',
    "sse": lambda secret: f"event: x\ndata: {_json(secret)}\n\ndata: token={secret}\n\n",
    "form": lambda secret: f"code={secret}&token={secret}&user=jo",
    "query": lambda secret: f"see https://h/cb?code={secret}&x=1 for more",
    "user info": lambda secret: f"cannot reach postgres://jo:{secret}@db/shop",
    "name=value": lambda secret: f"2026-03-01 user=jo token={secret} took 3 ms\n",
    "name: value": lambda secret: f"Sorry, invalid token: {secret}. Try again",
    "option": lambda secret: f"mysql --password {secret} -h db",
    "array of two": lambda secret: json.dumps({"vars": [["user", "jo"], ["password", secret]], "z": 1}),
    "triple quotes": lambda secret: f'user = "jo"\npassword = """\none\n{secret}\n"""\nz = 1\n',
    "quoted": lambda secret: f"{{'user': 'jo', 'password': 'the {secret} \"one\"'}}",
    "arrow": lambda secret: f':password => "{secret}", :a => 1',
    "header": lambda secret: f"curl -H 'Authorization: Bearer {secret}' http://h/",
    "two words": lambda secret: f"API key: {secret}\n",
    "env": lambda secret: f"A=1\nexport DB_PASSWORD=two words {secret}\nB=2\n",
    "yaml": lambda secret: f"user: jo\npassword: correct horse {secret} # why\nlist:\n  - token: '{secret}'\n",
    "yaml block": lambda secret: f"user: jo\nprivate_key: |\n  begin\n  {secret}\n  end\nz: 1\n",
    "yaml below": lambda secret: f"user: jo\ncredentials:\n  a:\n  - {secret}\nz: 1\n",
    "xml": lambda secret: f'<?xml version="1.0"?><r><a>1</a><password kind="x">{secret}</password><b/></r>',
    "xml over lines": lambda secret: f"<r>\n  <secret>\n    <part>\n      {secret}\n    </part>\n  </secret>\n</r>\n",
    "xml namespace": lambda secret: f'<s:r xmlns:s="u"><s:Token><![CDATA[{secret}]]></s:Token></s:r>',
    "xml attribute": lambda secret: f'<r><user token="{secret}" id="1"/><e key="password">{secret}</e></r>',
    "html input": lambda secret: f'<form><input type="hidden" name="csrf_token" value="{secret}"></form>',
    "html input, reversed": lambda secret: f"<form><input value=\"{secret}\" id='password' ></form>",
    "html meta": lambda secret: f'<meta name="csrf-token" content="{secret}"><p>x</p>',
    "html script": lambda secret: f'<script>var token = "{secret}"; f({{apiKey: "{secret}"}});</script>',
    "html entities": lambda secret: f'<div data-x="{{&quot;token&quot;:&quot;{secret}&quot;}}">x</div>',
    "multipart": _multipart,
    "a long line": lambda secret: "x" * 5000 + f' {{"token": "{"y" * 300}{secret}"}} ' + "x" * 300,
}
MEDIA: Final = (
    "", "application/json", "text/plain", "text/html; charset=utf-8", "text/event-stream", "application/xml",
    "application/x-ndjson", "application/yaml", "application/octet-stream", "application/problem+json",
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=xx", "text/csv",
)  # fmt: skip
YAML: Final = {"yaml below"}
SECRETS: Final = st.from_regex(r"[G-Zg-z]{3,6}-[G-Zg-z_.]{5,12}[G-Zg-z]", fullmatch=True)


def _stored(primary: tuple[str, bytes], candidate: tuple[str, bytes], statuses: tuple[int, int]) -> list[bytes]:
    """Return every value that is written for a pair of bodies, unpacked, with hexadecimal and base64 decoded."""
    sides = [
        observation(
            side,
            body,
            content_type=media.encode(),
            status=status,
            request_headers=((b"content-type", media.encode()),),
            request_body=body,
        )
        for side, (media, body), status in zip(
            (Side.PRIMARY, Side.CANDIDATE), (primary, candidate), statuses, strict=True
        )
    ]
    both = pair(sides[0], sides[1], control=msgspec.structs.replace(sides[0], side=Side.CONTROL))
    comparison = compare(both, RULES, Limits())
    if comparison.result is Result.MATCH:
        comparison = Comparison(result=Result.MISMATCH)
    found: list[bytes] = [msgspec.msgpack.encode(attributes_of(both, R))]
    for write in sample_writes(both, comparison, SETTINGS, 1):
        assert isinstance(write, Keep)
        whole = VALUE_CODEC.decode(write.value, b"sample " + write.name.encode())
        found += [whole, VALUE_CODEC.decode(write.line, b"line " + write.name.encode())]
        kept = msgspec.msgpack.decode(whole, type=Sample)
        bodies = [kept.primary.body, kept.candidate.body, kept.request_body]
        found += [base64.b64decode(body.text) for body in bodies if body.base64]
    return found


def _traces(secret: str, stored: list[bytes]) -> list[bytes]:
    """Return the parts of a secret that remain: any five consecutive characters, plain or hexadecimal."""
    runs = [secret[at : at + 5].encode() for at in range(len(secret) - 4)]
    looked_for = [secret.encode(), *runs, *(run.hex(" ").encode() for run in runs)]
    return [run for run in looked_for if any(run in value for value in stored)]


def _media_for(shape: str, media: str) -> str:
    """Return the given type, or the only type that supports a special format."""
    form = "application/x-www-form-urlencoded"
    if shape in YAML or shape == "form":
        return "application/yaml" if shape in YAML else form
    return "text/plain" if media == form else media


def _body(shape: str, secret: str, media: str) -> tuple[str, bytes]:
    return _media_for(shape, media), SHAPES[shape](secret).encode()


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=10)
@given(
    one=SECRETS,
    other=SECRETS,
    media=st.tuples(st.sampled_from(MEDIA), st.sampled_from(MEDIA)),
    other_shape=st.sampled_from([*SHAPES]),
    status=st.sampled_from([200, 500]),
)
def test_no_trace_of_a_secret_is_stored(
    *, shape: str, one: str, other: str, media: tuple[str, str], other_shape: str, status: int
) -> None:
    """For any media type, the stored sample contains no part of either side's secret."""
    for shapes in ((shape, shape), (shape, other_shape), (other_shape, shape)):
        bodies = _body(shapes[0], one, media[0]), _body(shapes[1], other, media[1])
        stored = _stored(bodies[0], bodies[1], (200, status))
        assert ([], []) == (_traces(one, stored), _traces(other, stored))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=10)
@given(
    start=st.text("bcdfghjk", min_size=6, max_size=8),
    ends=st.lists(st.text("GHIJKLMN", min_size=5, max_size=5), min_size=2, max_size=2),
)
def test_difference_between_two_secrets_shows_no_part_of_them(shape: str, start: str, ends: list[str]) -> None:
    """Word marks split a secret, but neither the equal nor the different part is shown."""
    secrets = [f"{start}-{end}.{start}" for end in ends]
    for media in ("text/plain", "text/html"):
        bodies = [_body(shape, secret, media) for secret in secrets]
        stored = _stored(bodies[0], bodies[1], (200, 200))
        assert ([], []) == (_traces(secrets[0], stored), _traces(secrets[1], stored))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=10)
@given(secret=SECRETS)
def test_redaction_is_idempotent_for_every_shape(shape: str, secret: str) -> None:
    """Redacting twice equals redacting once, and equal secrets give equal texts."""
    text = SHAPES[shape](secret)
    for media in ("", "application/json", "application/yaml", "application/x-www-form-urlencoded"):
        once = R.body(text, media)
        assert once == R.body(once, media)


@settings(max_examples=150, deadline=None)
@given(
    plant=st.tuples(st.sampled_from(NAMES), st.sampled_from([*PLANTS])),
    wraps=st.lists(st.sampled_from([*WRAPS]), max_size=3),
    secrets=st.tuples(planted_secrets, planted_secrets),
    media=st.sampled_from(["application/json", "text/plain", "text/html", "application/x-www-form-urlencoded"]),
)
def test_no_trace_of_a_nested_secret_is_stored_with_a_difference(
    plant: tuple[str, str], wraps: list[str], secrets: tuple[str, str], media: str
) -> None:
    """The secrets differ, so the differences point to them."""
    bodies: list[tuple[str, bytes]] = []
    for secret in secrets:
        text = PLANTS[plant[1]](plant[0], secret)
        for wrap in wraps:
            text = WRAPS[wrap](text)
        bodies.append((media, text.encode()))
    stored = "\n".join(value.decode("utf-8", "replace") for value in _stored(bodies[0], bodies[1], (200, 200)))
    assert ([], []) == (traces(secrets[0], stored), traces(secrets[1], stored))


def test_secret_in_a_compressed_body_is_found() -> None:
    """A sample stores a compressed body as text."""
    body = gzip.compress(b"token=hunter2-abc")
    both = pair(observation(Side.PRIMARY, body, headers=((b"content-encoding", b"gzip"),)))
    (write,) = sample_writes(both, Comparison(result=Result.MISMATCH), SETTINGS, 1)
    assert isinstance(write, Keep)
    whole = VALUE_CODEC.decode(write.value, b"sample " + write.name.encode())
    assert b"token=\xe2\x80\xb9redacted:" in whole
    assert b"hunter2" not in whole


@pytest.mark.parametrize(
    "hostile",
    [
        '"token":[', "token:[", '\\"', '\\\\\\"token', "<a ", "<token>", "<token", "name=name=", "form-data name=",
        'form-data; name="token"\r\n', "a", "a:", "token: |\n", '"a":"', "[-", "{+", "eyJ", "://a:", "=", "&quot;",
        "<input name=token ", "token\\", "  - token:\n", "Bearer ", " ", "\\", "<a name='token'>",
    ],
)  # fmt: skip
def test_time_is_proportional_to_the_text(hostile: str) -> None:
    """Sixteen times the text takes far less than 256 times the time."""

    def took(times: int) -> float:
        text = "token pin " + hostile * times
        began = time.process_time()
        R.body(text, "application/yaml")
        return time.process_time() - began

    short, long = min(took(2_000) for _ in range(3)), min(took(32_000) for _ in range(2))
    assert long < max(short, 0.001) * 100
