"""The doctor's page and its operation: what is shown, how it is reached, hostile text included."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from shadowdiff.doctor import Diagnosis, Evidence, Patient, diagnose
from shadowdiff.model import Side
from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.patients import alone, evidence, orphan, target
from tests.fakes.shop import open_shop, shop_target, web_state
from tests.fakes.store_reader import MemoryStore

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOSTILE = "<script>alert(1)</script>"


def _app(of: Evidence) -> Starlette:
    async def diagnosis(_target: str | None) -> Diagnosis:
        return diagnose(of)

    return create_web(dataclasses.replace(web_state(open_shop()), diagnosis=diagnosis))


def _ill(path: str = "/1") -> Evidence:
    halves = (
        orphan(Side.PRIMARY, id_source="x-request-id", id="one", path=f"/v1{path}"),
        orphan(Side.CANDIDATE, id_source="x-request-id", id="one", path=path),
    )
    return evidence(Patient(target=target(), counts=alone(1, 1), orphans=halves))


async def test_the_page_shows_both_halves_and_the_way_out() -> None:
    """Each finding with its code, its rows, and lines to copy."""
    page = (await get(_app(_ill()), "/doctor")).text
    assert "<code>paths_rewritten</code>" in page
    assert "<td><code>GET /v1/1</code></td><td><code>GET /1</code></td>" in page
    assert "{ key: x-diff-id, value: &#34;%UNIQUE_ID%&#34; }" in page


async def test_what_a_request_says_is_text() -> None:
    """A path that is markup is shown, not run."""
    page = (await get(_app(_ill(f"/{HOSTILE}")), "/doctor")).text
    assert (False, True) == (HOSTILE in page, "&lt;script&gt;" in page)


async def test_where_all_is_well_the_page_says_so() -> None:
    """One line, and no finding."""
    answer = await get(create_web(web_state(open_shop())), "/doctor")
    assert (200, True, False) == (answer.status, "Nothing is wrong" in answer.text, 'class="advice' in answer.text)


async def test_every_page_leads_to_the_doctor() -> None:
    """From the first page on, and from a target of which nothing was compared."""
    for app in (create_web(web_state(open_shop())), create_web(web_state(MemoryStore(), targets=(shop_target(),)))):
        for page in ("/", "/targets/shop"):
            assert 'href="/doctor' in (await get(app, page)).text


async def test_a_target_that_is_not_there_is_a_404() -> None:
    """In the API as JSON, on the page as a page, with the names there are."""
    app = _app(_ill())
    for address in ("/api/v1/doctor?target=shpo", "/doctor?target=shpo"):
        answer = await get(app, address)
        assert (404, True) == (answer.status, "configured are shop" in answer.text)


async def test_without_evidence_the_operation_is_a_503() -> None:
    """Silence is said only where somebody looked."""
    app = create_web(dataclasses.replace(web_state(MemoryStore()), diagnosis=None))
    answer = await get(app, "/api/v1/doctor")
    assert (503, True) == (answer.status, "no evidence is gathered here" in answer.json["error"])
