"""Call the whole API without credentials: every request is rejected, and Flagger's hooks require their own token.

The operations are those of openapi.json. Hypothesis generates arguments and bodies.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from shadowdiff.config import AccessConfig, ProxyConfig, Secret, TokenConfig
from shadowdiff.web import create_web
from shadowdiff.web.access import Access
from shadowdiff.web.api import openapi_document
from tests.fakes.asgi import get
from tests.fakes.shop import open_shop, replace_parts, web_parts

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOOKS = "/api/v1/gates/flagger/"
PATHS = openapi_document("0")["paths"]
LISTED = [
    (method.upper(), path, operation) for path, operations in PATHS.items() for method, operation in operations.items()
]
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
    """Return the API with a token, a proxy at another address, and a token for hooks."""
    token = TokenConfig(name="release", role="write", secret=Secret(SECRET.encode()))
    proxy = ProxyConfig(
        peers=("10.9.9.9/32",), user_header="x-user", groups_header="x-groups", read=("*",), write=("*",)
    )
    access = Access(
        AccessConfig(tokens=(token,), proxy=proxy, attempts=1_000_000),
        is_loopback=False,
        hook_token=b"the-token-of-hooks",
    )
    return create_web(replace_parts(web_parts(open_shop()), access=lambda: access))


@pytest.mark.parametrize(
    ("method", "path", "operation"), LISTED, ids=[f"{method} {path}" for method, path, _ in LISTED]
)
def test_no_request_without_credentials_is_accepted(
    app: Starlette, method: str, path: str, operation: dict[str, Any]
) -> None:
    """A request without credentials is rejected for any arguments, body and headers."""
    parameters = {one["name"]: one for one in operation["parameters"]}

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


def test_only_the_login_form_is_public(app: Starlette) -> None:
    """A new page requires login unless it is declared public."""
    statuses: dict[str, int] = {}
    for route in app.routes:
        assert isinstance(route, Route)
        path = re.sub(r"{[^}]*}", "shop", route.path)
        for method in sorted(route.methods or ()):
            statuses[f"{method} {path}"] = asyncio.run(get(app, path, method)).status
    opened = {name: status for name, status in statuses.items() if status not in {303, 401, 403}}
    hooks = {f"POST {HOOKS}{hook}": 415 for hook in ("check", "promote", "rollback", "open", "event")}
    assert opened == {"GET /login": 200, "HEAD /login": 200, "GET /static/shop": 404, "HEAD /static/shop": 404} | hooks


@pytest.mark.parametrize("hook", ["check", "promote", "rollback", "open", "event"])
def test_a_hook_without_its_token_is_rejected(app: Starlette, hook: str) -> None:
    """A valid body does not replace the hook's token."""
    asked = {"name": "a", "namespace": "b", "phase": "Progressing", "metadata": {"target": "shop", "token": SECRET}}
    answer = asyncio.run(get(app, HOOKS + hook, "POST", json.dumps(asked).encode(), "application/json"))
    assert answer.status == 403
