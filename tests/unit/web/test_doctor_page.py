"""Test the doctor's page and API: content, links, and hostile text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.doctor.evidence import Evidence, TargetEvidence
from shadowdiff.doctor.registry import diagnose
from shadowdiff.model import Side
from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.doctor_evidence import alone, evidence, orphan, target
from tests.fakes.shop import open_shop, replace_parts, shop_target, web_parts
from tests.fakes.store_reader import MemoryStore

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from shadowdiff.doctor.finding import Diagnosis

HOSTILE = "<script>alert(1)</script>"


def _app(of: Evidence) -> Starlette:
    async def diagnosis(_target: str | None, _visible: frozenset[str] | None) -> Diagnosis:
        return diagnose(of)

    return create_web(replace_parts(web_parts(open_shop()), diagnosis=diagnosis))


def _ill(path: str = "/1") -> Evidence:
    halves = (
        orphan(Side.PRIMARY, id_source="x-request-id", id="one", path=f"/v1{path}"),
        orphan(Side.CANDIDATE, id_source="x-request-id", id="one", path=path),
    )
    return evidence(TargetEvidence(config=target(), counts=alone(1, 1), orphans=halves))


async def test_page_shows_both_halves_and_the_fix() -> None:
    """Each finding has its code, its rows, and lines to copy."""
    page = (await get(_app(_ill()), "/doctor")).text
    assert "<code>paths_rewritten</code>" in page
    assert "<td><code>GET /v1/1</code></td><td><code>GET /1</code></td>" in page
    assert "{ key: x-diff-id, value: &#34;%UNIQUE_ID%&#34; }" in page


async def test_content_of_a_request_is_shown_as_text() -> None:
    """A path that contains markup is shown as text."""
    page = (await get(_app(_ill(f"/{HOSTILE}")), "/doctor")).text
    assert (False, True) == (HOSTILE in page, "&lt;script&gt;" in page)


async def test_the_page_reports_that_there_are_no_findings() -> None:
    """The page has one line, and no finding."""
    answer = await get(create_web(web_parts(open_shop())), "/doctor")
    assert (200, True, False) == (answer.status, "No problems found" in answer.text, 'class="hint' in answer.text)


async def test_every_page_leads_to_the_doctor() -> None:
    """The home page and a target without compared pairs also link to it."""
    for app in (create_web(web_parts(open_shop())), create_web(web_parts(MemoryStore(), targets=(shop_target(),)))):
        for page in ("/", "/targets/shop"):
            assert 'href="/doctor' in (await get(app, page)).text


async def test_a_target_that_is_not_there_is_a_404() -> None:
    """The API returns JSON and the page HTML, both with the existing names."""
    app = _app(_ill())
    for address in ("/api/v1/doctor?target=shpo", "/doctor?target=shpo"):
        answer = await get(app, address)
        assert (404, True) == (answer.status, "configured: shop" in answer.text)


async def test_without_evidence_the_operation_is_a_503() -> None:
    """The API reports no findings only after a check."""
    app = create_web(replace_parts(web_parts(MemoryStore()), diagnosis=None))
    answer = await get(app, "/api/v1/doctor")
    assert (503, True) == (answer.status, "this process collects no evidence" in answer.json["error"])
