"""Test a sample's request as a command, its export, its trace, and the rules that would cover a difference."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

from shadowdiff.display.curl import curl, curl_of_side, host_of
from shadowdiff.model import Candidate, Comparison, Kind, Result, Side
from shadowdiff.model.secret import Secret
from shadowdiff.model.sent import Edits
from shadowdiff.report import Redactor, SampleSettings, newest_samples, sample
from shadowdiff.rule_changes.proposals import proposals
from shadowdiff.web import create_web
from shadowdiff.web.sample_pages import trace_id
from tests.fakes.asgi import get
from tests.fakes.samples import sample_writes
from tests.fakes.shop import NOW_MS, open_shop, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import difference, observation, pair

if TYPE_CHECKING:
    from shadowdiff.report import Sample

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def _kept(method: str = "GET", path: str = "/a?b=1", body: bytes = b"", **headers: str) -> Sample:
    """Return a request as a sample stores it."""
    named = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    asked = observation(Side.CANDIDATE, b"{}", method=method, path=path, request_headers=named, request_body=body)
    store = MemoryStore()
    found = Comparison(result=Result.MISMATCH, differences=(difference(),))
    store.commit(sample_writes(pair(candidate=asked), found, SampleSettings(redactor=Redactor(b"a key")), NOW_MS))
    (line,) = await newest_samples(store, "shop", 1)
    whole = await sample(store, line.id)
    assert whole is not None
    return whole


def _words(command: str) -> list[str]:
    """Return the words of a command as a shell splits it."""
    return shlex.split(command.replace("\\\n", ""))


async def test_the_command_repeats_method_path_headers_and_body() -> None:
    """A shell parses the command correctly. Headers of the mesh and the connection are omitted."""
    asked = await _kept(
        "POST",
        "/a?b='1'",
        b'{"it\'s": "$HOME"}',
        content_type="application/json",
        host="shop-shadow:80",
        x_request_id="1",
        x_envoy_internal="true",
    )
    assert [
        "curl",
        "-sS",
        "http://shop:80/a?b='1'",
        "-X",
        "POST",
        "-H",
        "content-type: application/json",
    ] == _words(curl(asked, f"http://{host_of(asked)}"))[:7]
    assert ["--data-binary", '{"it\'s": "$HOME"}'] == _words(curl(asked, "http://v2"))[-2:]


async def test_credentials_are_omitted_and_named() -> None:
    """A sample contains no credentials."""
    said = curl(await _kept(authorization="Bearer abc", cookie="a=b", accept="text/html"), "http://v2")
    assert "# omitted: authorization, cookie" == said.partition("\n")[0]
    assert "accept: text/html" in said
    assert "Bearer" not in said


async def test_control_characters_are_escaped() -> None:
    """Escapes, line breaks and direction marks in a request never reach the terminal."""
    said = curl(await _kept(x_evil="\x1b[31m\u202e; rm -rf /"), "http://v2")
    assert not {"\x1b", "\u202e"} & set(said)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, TRACE),
        ({"b3": f"{TRACE}-00f067aa0ba902b7-1"}, TRACE),
        ({"x_b3_traceid": TRACE[:16]}, TRACE[:16]),
        ({"traceparent": "<script>"}, None),
        ({}, None),
    ],
)
async def test_the_trace_is_named_by_either_kind_of_header(headers: dict[str, str], expected: str | None) -> None:
    """The trace comes from W3C or B3 headers, and from no other header."""
    assert expected == trace_id(await _kept("GET", "/", b"", **headers))


@pytest.mark.parametrize(
    ("found", "first"),
    [
        (difference("$['p']", primary="1.5", candidate="1.7"), {"tolerance": {"path": "$['p']", "abs": 1.0}}),
        (difference("$['p']", primary='"A"', candidate='"a"'), {"equivalent": {"path": "$['p']", "as": ["case"]}}),
        (difference("$['p']", kind=Kind.ORDER), {"unordered": "$['p']"}),
        (difference("$['a']['b']", kind=Kind.ADDED, primary=None, candidate="1"), {"subset": "$['a']"}),
        (
            difference("$['p']", kind=Kind.REMOVED, primary="null", candidate=None),
            {"equivalent": {"path": "$['p']", "as": ["null", "missing"]}},
        ),
        (
            difference("$['p']", kind=Kind.TYPE, primary="1", candidate='"1"'),
            {"equivalent": {"path": "$['p']", "as": ["number"]}},
        ),
        (
            difference("status", kind=Kind.STATUS, primary="200", candidate="404", pattern="status"),
            {"ignore": "status"},
        ),
    ],
)
def test_the_narrowest_rule_is_proposed_first(found: object, first: dict[str, object]) -> None:
    """The first suggested rule is for one route. The last suggestion ignores the path everywhere."""
    made = [one.rule for one in proposals(found, "GET /a")]  # type: ignore[arg-type]
    assert first | {"routes": ["GET /a"]} == made[0]
    assert "ignore" in made[-1]


async def test_a_sample_is_exported_as_a_patch_and_by_deepdiff() -> None:
    """Both forms show the difference. If a body is not JSON, they report why there is no export."""
    app = create_web(web_parts(open_shop()))
    (line,) = (await get(app, "/api/v1/samples?target=shop&kind=removed&limit=1")).json["samples"]
    patch = (await get(app, f"/api/v1/samples/{line['id']}/export")).json
    assert {"op": "remove", "path": "/stock"} in patch
    export = json.dumps((await get(app, f"/api/v1/samples/{line['id']}/export?format=deepdiff")).json)
    assert "root['stock']" in export
    (cut,) = (await get(app, "/api/v1/samples?target=shop&result=incomparable&limit=1")).json["samples"]
    assert 422 == (await get(app, f"/api/v1/samples/{cut['id']}/export")).status


async def test_the_command_for_v2_contains_the_configured_changes() -> None:
    """It has v2's path, query and headers. A secret of the configuration is only named."""
    edits = Edits(set={"x-env": Secret(b"shadow", "shadow", ()), "x-key": Secret(b"hunter2", "${KEY}")})
    sent = Candidate(
        url="https://shop-v2:8443/api",
        path_prefix={"/v1": "/v2"},
        headers=Edits(set=edits.set, remove=("accept",)),
        query=Edits(set={"key": Secret(b"hunter2", "${KEY}"), "v": Secret(b"2", "2", ())}, remove=("debug",)),
    )
    said = curl_of_side(await _kept(path="/v1/cart?debug=1&a=%20", accept="text/html", x_key="of the user"), sent)
    assert "hunter2" not in said
    assert "of the user" not in said
    assert "# omitted: x-key, key" == said.partition("\n")[0]
    words = _words(said.partition("\n")[2])
    assert ["curl", "-sS", "https://shop-v2:8443/api/v2/cart?a=%20&v=2", "-H", "x-env: shadow"] == words


async def test_the_command_for_v2_keeps_redacted_values() -> None:
    """The placeholder of a secret in the URL is not ASCII."""
    said = curl_of_side(
        await _kept(path="/v1?token=abcdefgh1234"), Candidate(url="http://v2", path_prefix={"/v1": "/"})
    )
    assert "http://v2/?token=‹redacted:" in said
    assert "the URL contains a redacted value" in said
