"""The whole API without credentials: nobody gets in, and Flagger's hooks ask for a token of their own.

The operations are those of openapi.json, their arguments and bodies made by hypothesis.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from shadowdiff.config import AccessConfig, ProxyConfig, Secret, TokenConfig
from shadowdiff.web import create_web
from shadowdiff.web.access import Access
from shadowdiff.web.api import OPERATIONS
from shadowdiff.web.openapi import document
from tests.fakes.asgi import get
from tests.fakes.shop import open_shop, web_state

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOOKS = "/api/v1/gates/flagger/"
PATHS = document(OPERATIONS, "0")["paths"]
LISTED = [(method.upper(), path, told) for path, operations in PATHS.items() for method, told in operations.items()]
SECRET = "a-token-of-the-release"
TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\x00"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
CREDENTIALS = st.dictionaries(
    st.sampled_from(
        ["authorization", "cookie", "x-user", "x-groups", "x-forwarded-for", "x-forwarded-user", "origin",
         "x-csrf-token", "sec-fetch-site", "x-original-url", "x-http-method-override", "host", "forwarded"]
    ),
    TEXT | st.sampled_from(["Bearer ", "Bearer null", "Basic YTph", "shadowdiff_login=release~x", "127.0.0.1"]),
    max_size=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def app() -> Starlette:
    """Return the API with a token, a proxy that is elsewhere, and a token of hooks."""
    token = TokenConfig(name="release", role="write", secret=Secret(SECRET.encode()))
    proxy = ProxyConfig(
        peers=("10.9.9.9/32",), user_header="x-user", groups_header="x-groups", read=("*",), write=("*",)
    )
    access = Access(AccessConfig(tokens=(token,), proxy=proxy, attempts=1_000_000), is_loopback=False)
    return create_web(replace(web_state(open_shop()), access=lambda: access, gate_token=lambda: b"the-token-of-hooks"))


@pytest.mark.parametrize(("method", "path", "told"), LISTED, ids=[f"{method} {path}" for method, path, _ in LISTED])
def test_nobody_gets_in(app: Starlette, method: str, path: str, told: dict[str, Any]) -> None:
    """Whatever the arguments, the body and the headers are."""
    parameters = {one["name"]: one for one in told["parameters"]}

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(arguments=st.dictionaries(st.sampled_from([*parameters, "x"]), TEXT), body=JSON, headers=CREDENTIALS)
    def tried(arguments: dict[str, str], body: Any, headers: dict[str, str]) -> None:
        target = path
        for name, one in parameters.items():
            if one["in"] == "path":
                target = target.replace(f"{{{name}}}", quote(arguments.get(name) or "shop", safe=""))
        query = urlencode({name: text for name, text in arguments.items() if f"{{{name}}}" not in path})
        sent = {name.replace("-", "_"): value for name, value in headers.items()}
        asked = f"{target}?{query}"
        answer = asyncio.run(get(app, asked, method, json.dumps(body).encode(), "application/json", **sent))
        if path.startswith(HOOKS):
            assert answer.status in {400, 403, 404}
        else:
            assert answer.status in {401, 403}
            assert list(answer.json) == ["error"]

    tried()


def test_no_page_is_open_but_the_form_that_asks_who_you_are(app: Starlette) -> None:
    """A new page is closed until it says otherwise."""
    told: dict[str, int] = {}
    for route in app.routes:
        assert isinstance(route, Route)
        path = re.sub(r"{[^}]*}", "shop", route.path)
        for method in sorted(route.methods or ()):
            told[f"{method} {path}"] = asyncio.run(get(app, path, method)).status
    opened = {name: status for name, status in told.items() if status not in {303, 401, 403}}
    hooks = {f"POST {HOOKS}{hook}": 415 for hook in ("check", "promote", "rollback", "open", "event")}
    assert opened == {"GET /login": 200, "HEAD /login": 200, "GET /static/shop": 404, "HEAD /static/shop": 404} | hooks


@pytest.mark.parametrize("hook", ["check", "promote", "rollback", "open", "event"])
def test_a_hook_without_its_token_is_refused(app: Starlette, hook: str) -> None:
    """However well it is formed."""
    asked = {"name": "a", "namespace": "b", "phase": "Progressing", "metadata": {"target": "shop", "token": SECRET}}
    answer = asyncio.run(get(app, HOOKS + hook, "POST", json.dumps(asked).encode(), "application/json"))
    assert answer.status == 403
