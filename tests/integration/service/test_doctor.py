"""The doctor names each real cause of missing pairs, and reports nothing for a healthy target.

One service has a target for each cause. The test sends the halves as that cause would. v2 is a real server whose
behavior is the first path segment, and the result comes from the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from shadowdiff.pairing.request_id import SPAN, fnv1a32, is_sampled
from tests.conftest import free_port_number
from tests.fakes.serving import served
from tests.running import Mesh, Service, mesh_of, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

    from tests.conftest import RedisServer

WITHIN_S = 90.0
TARGETS = {
    "well": {}, "quiet": {}, "mirrored": {}, "recorded": {}, "headers": {}, "ids": {}, "cases": {}, "paths": {},
    "mesh-share": {}, "recorder-share": {}, "own-draws": {}, "gaps": {}, "twin": {}, "other-twin": {}, "unrelated": {},
    "posts": {}, "nameless": {}, "malformed": {}, "shared": {}, "zero": {"sample": 0}, "early": {},
}  # fmt: skip
"""Targets by name, which is also the only host, with their special settings; v2 works for all of them."""
BEHAVIORS = {"same": "as-v1", "served": "instance", "loop": "loop", "lost": "404", "late": "late", "poor": "ok"}
"""Targets whose v2 behaves oddly, by the first segment of its paths."""


def v2_app(mirror_port: Callable[[], int]) -> Starlette:
    """Return a v2 whose behavior is the first path segment."""

    async def answer(request: Request) -> Response:
        way = request.path_params["way"]
        if way == "late":
            await asyncio.sleep(2.5)  # the response time of v2; the test does not wait for it
        if way == "loop":  # a mesh that routes by v1's host: v1 responds, and the request is mirrored again
            await asyncio.to_thread(_mirror_again, request, mirror_port())
        headers = {"x-version": "v1" if way in {"as-v1", "loop"} else "v2"}
        headers |= {"x-pod-name": "shop-1"} if way == "instance" else {}
        return Response("hello", 404 if way == "404" else 200, headers)

    return Starlette(routes=[Route("/{way}/{path:path}", answer, methods=["GET", "POST"])])


def _mirror_again(request: Request, port: int) -> None:
    headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
    path = request.url.path.removeprefix("/loop")
    again = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers | {"Host": "loop-shadow"})
    with urllib.request.urlopen(again, timeout=5):
        pass


def _target(name: str, url: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "hosts": [name], "candidate": {"url": url, "timeout": "5s"}, **more}


def _config(redis: RedisServer, prefix: str, targets: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "store": {"url": redis.url, "prefix": prefix},
        "pairing": {"window": "1s", "settle": "300ms"},
        "targets": targets,
    }


@pytest.fixture(scope="module")
def doctor_service(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service with a target for each cause, and all variants of v2."""
    ports: dict[str, int] = {}
    with served(v2_app(lambda: ports["mirror"])) as url:
        targets = [_target(name, f"{url}/ok", **more) for name, more in TARGETS.items()]
        targets += [_target(name, f"{url}/{way}") for name, way in BEHAVIORS.items()]
        targets.append(_target("dead", f"http://127.0.0.1:{free_port_number()}"))
        next(one for one in targets if one["name"] == "loop")["candidate"]["host"] = "preserve"
        service = Service(tmp_path_factory.mktemp("doctor_service"), _config(redis_server, "doctor_service", targets))
        ports |= service.ports
        service.start()
        yield service
        assert service.stop() == 0


@pytest_asyncio.fixture(name="mesh")
async def mesh_fixture(doctor_service: Service) -> AsyncIterator[Mesh]:
    """Return a client that sends both halves to the service."""
    async with mesh_of(doctor_service) as mesh:
        yield mesh


async def _findings(service: Service, target: str) -> list[dict[str, Any]]:
    answer: Any = await asyncio.to_thread(service.get, f"doctor?target={target}")
    return answer["findings"]


async def _until(service: Service, target: str, condition: Callable[[Any], bool] = settled) -> None:
    """Wait until a target's ledger meets `condition`."""
    deadline = time.monotonic() + WITHIN_S
    books: Any = None
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            books = await asyncio.to_thread(service.ledger, target)
            if condition(books):
                return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the books of {target} never came to say so: {books}")


async def _diagnosed(service: Service, target: str) -> dict[str, Any]:
    """Return the only finding for a target."""
    findings = await _findings(service, target)
    assert len(findings) == 1, [(finding["code"], finding["title"]) for finding in findings]
    return findings[0]


def _facts(finding: dict[str, Any], at: int = 0) -> dict[str, tuple[str, str]]:
    """Return the rows of an example by name, with the values of v1's and v2's half."""
    return {name: (primary, candidate) for name, primary, candidate in finding["examples"][at]["rows"]}


async def test_no_finding_if_all_is_well(doctor_service: Service, mesh: Mesh) -> None:
    """Pairs form, v2 has another name than v1, and there is no finding. A few orphans are normal."""
    mesh.host = "well"
    for number in range(60):
        await mesh.mirror(f"well-{number}", f"/products/{number}")
        if number != 7:
            headers = {"h-x-version": "v1", "h-x-pod-name": "shop-1"}
            await mesh.record(f"well-{number}", b"hello", f"/products/{number}", **headers)
    await _until(doctor_service, "well", lambda books: books["pairs"]["match"] == 59 and settled(books))
    assert [] == await _findings(doctor_service, "well")


async def test_a_target_without_traffic(doctor_service: Service) -> None:
    """If neither half arrives, the finding suggests a manual request."""
    finding = await _diagnosed(doctor_service, "quiet")
    assert ("nothing_arrives", "error") == (finding["code"], finding["severity"])
    assert "curl -H 'Host: quiet'" in finding["lines"][0]


async def test_mirrors_without_records(doctor_service: Service, mesh: Mesh) -> None:
    """Copies arrive, but v1's responses do not."""
    mesh.host = "mirrored"
    for number in range(5):
        await mesh.mirror(f"m-{number}", f"/{number}")
    await _until(doctor_service, "mirrored", lambda books: books["observations"]["candidate"]["orphaned"] == 5)
    finding = await _diagnosed(doctor_service, "mirrored")
    assert ("mirrors_without_records", "error") == (finding["code"], finding["severity"])
    assert ("–", "x-diff-id") == _facts(finding)["id from"]


async def test_records_without_mirrors(doctor_service: Service, mesh: Mesh) -> None:
    """v1's responses arrive, but copies do not."""
    mesh.host = "recorded"
    for number in range(5):
        await mesh.record(f"r-{number}", b"hello", f"/{number}")
    await _until(doctor_service, "recorded", lambda books: books["observations"]["primary"]["orphaned"] == 5)
    finding = await _diagnosed(doctor_service, "recorded")
    assert ("records_without_mirrors", "error") == (finding["code"], finding["severity"])
    assert ("x-diff-id", "–") == _facts(finding)["id from"]


async def test_ids_from_different_headers(doctor_service: Service, mesh: Mesh) -> None:
    """The copy has x-diff-id. v1's recorder runs before it is set, and reads only x-request-id."""
    mesh.host = "headers"
    for number in range(20):
        await mesh.mirror(f"unique-{number}", f"/{number}", headers={"x-request-id": f"req-{number}"})
        await mesh.record(f"req-{number}", b"hello", f"/{number}", id_source="x-request-id")
    await _until(doctor_service, "headers", lambda books: books["observations"]["primary"]["orphaned"] == 20)
    finding = await _diagnosed(doctor_service, "headers")
    facts = _facts(finding)
    assert ("different_id_headers", "error") == (finding["code"], finding["severity"])
    assert ("x-request-id", "x-diff-id") == facts["id from"]
    number = facts["id"][0].removeprefix("req-")
    assert (f"req-{number}", f"unique-{number}") == facts["id"]
    assert facts["key"][0] != facts["key"][1]
    assert 2 == len(finding["examples"])


async def test_an_id_that_is_replaced_between_the_halves(doctor_service: Service, mesh: Mesh) -> None:
    """Both proxies set their own x-diff-id, so only equal requests at the same time link the halves."""
    mesh.host = "ids"
    for number in range(20):
        await mesh.mirror(f"theirs-{number}", f"/{number}")
        await mesh.record(f"ours-{number}", b"hello", f"/{number}")
    await _until(doctor_service, "ids", lambda books: books["observations"]["primary"]["orphaned"] == 20)
    finding = await _diagnosed(doctor_service, "ids")
    facts = _facts(finding)
    assert ("different_ids", "error") == (finding["code"], finding["severity"])
    assert facts["request"][0] == facts["request"][1]
    assert facts["id"][0].removeprefix("ours") == facts["id"][1].removeprefix("theirs")


async def test_an_id_in_another_case(doctor_service: Service, mesh: Mesh) -> None:
    """The recorder writes ids in upper case."""
    mesh.host = "cases"
    for number in range(5):
        await mesh.mirror(f"abc-{number}", f"/{number}")
        await mesh.record(f"ABC-{number}", b"hello", f"/{number}")
    await _until(doctor_service, "cases", lambda books: books["observations"]["primary"]["orphaned"] == 5)
    finding = await _diagnosed(doctor_service, "cases")
    assert ("different_ids", True) == (finding["code"], "upper and lower case only" in finding["explanation"])


async def test_a_path_that_is_rewritten(doctor_service: Service, mesh: Mesh) -> None:
    """v1's proxy records the path after the gateway added a prefix. Secrets in the path are redacted."""
    mesh.host = "paths"
    for number in range(20):
        path = f"/products/{number}?token=hunter2-{number}"
        await mesh.mirror(f"p-{number}", path, headers={"x-diff-id": ""})
        await mesh.record(f"p-{number}", b"hello", f"/v1{path}", id_source="x-request-id")
    await _until(doctor_service, "paths", lambda books: books["observations"]["primary"]["orphaned"] == 20)
    finding = await _diagnosed(doctor_service, "paths")
    facts = _facts(finding)
    assert ("paths_rewritten", "error") == (finding["code"], finding["severity"])
    assert facts["id"][0] == facts["id"][1]
    assert facts["request"][0] == facts["request"][1].replace("/products", "/v1/products")
    assert "hunter2" not in str(finding)


async def test_a_mesh_that_draws_its_own_percentage(doctor_service: Service, mesh: Mesh) -> None:
    """Every response is recorded, but only a third of the requests is mirrored."""
    mesh.host = "mesh-share"
    for number in range(60):
        if number % 3 == 0:
            await mesh.mirror(f"s-{number}", "/")
        await mesh.record(f"s-{number}", b"hello", "/")
    await _until(doctor_service, "mesh-share", lambda books: books["observations"]["primary"]["orphaned"] == 40)
    finding = await _diagnosed(doctor_service, "mesh-share")
    assert "sampling_disagrees" == finding["code"]
    assert "Only 33 % of v1's responses have a mirrored request." == finding["title"]
    assert "–" == _facts(finding)["key"][1]


async def test_a_recorder_that_keeps_a_smaller_share(doctor_service: Service, mesh: Mesh) -> None:
    """The recorder samples at 0.4 with the common hash, and the target at 1. The ids show the rate."""
    mesh.host = "recorder-share"
    ids = [f"drawn-{number}" for number in range(80)]
    for one in ids:
        await mesh.mirror(one, "/")
        if is_sampled(one, 0.4):
            await mesh.record(one, b"hello", "/")
    alone = [one for one in ids if not is_sampled(one, 0.4)]
    await _until(
        doctor_service, "recorder-share", lambda books: books["observations"]["candidate"]["orphaned"] == len(alone)
    )
    finding = await _diagnosed(doctor_service, "recorder-share")
    lowest = min(fnv1a32(one) / SPAN for one in alone)
    assert ("sampling_disagrees", f"    sample: {lowest:.2f}") == (finding["code"], finding["lines"][-1])
    assert float(_facts(finding)["draw"][1]) >= 0.4


async def test_sides_with_independent_samples(doctor_service: Service, mesh: Mesh) -> None:
    """The mesh and the recorder sample half each: a quarter pairs, and orphans stay on both sides."""
    mesh.host = "own-draws"
    for number in range(80):
        if number % 2:
            await mesh.mirror(f"o-{number}", "/")
        if number % 4 < 2:
            await mesh.record(f"o-{number}", b"hello", "/")
    await _until(doctor_service, "own-draws", lambda books: books["observations"]["primary"]["orphaned"] == 20)
    finding = await _diagnosed(doctor_service, "own-draws")
    assert ("sampling_disagrees", True) == (finding["code"], "the samples differ" in finding["title"])
    facts = _facts(finding)
    assert facts["id"][0] != facts["id"][1]


async def test_records_that_are_missing_at_random(doctor_service: Service, mesh: Mesh) -> None:
    """One pod of v1 has no recorder, so a third of the copies become orphans, whatever their hash."""
    mesh.host = "gaps"
    for number in range(90):
        await mesh.mirror(f"g-{number}", "/")
        if number % 3:
            await mesh.record(f"g-{number}", b"hello", "/")
    await _until(doctor_service, "gaps", lambda books: books["observations"]["candidate"]["orphaned"] == 30)
    finding = await _diagnosed(doctor_service, "gaps")
    assert ("records_missing", "Only 67 % of the mirrored requests have a record of v1's response.") == (
        finding["code"],
        finding["title"],
    )


async def test_halves_that_count_for_different_targets(doctor_service: Service, mesh: Mesh) -> None:
    """The copy has another host than v1 receives, and that host belongs to another target."""
    for number in range(10):
        mesh.host = "twin"
        await mesh.record(f"t-{number}", b"hello", f"/{number}")
        mesh.host = "other-twin"
        await mesh.mirror(f"t-{number}", f"/{number}")
    await _until(doctor_service, "twin", lambda books: books["observations"]["primary"]["orphaned"] == 10)
    await _until(doctor_service, "other-twin", lambda books: books["observations"]["candidate"]["orphaned"] == 10)
    finding = await _diagnosed(doctor_service, "twin")
    assert finding == await _diagnosed(doctor_service, "other-twin")
    assert ("different_targets", ("twin:8080", "other-twin:8080")) == (finding["code"], _facts(finding)["host"])


async def test_halves_of_different_requests(doctor_service: Service, mesh: Mesh) -> None:
    """The mirrored route is not the recorded one, so nothing can pair. The finding shows two halves."""
    mesh.host = "unrelated"
    for number in range(10):
        await mesh.mirror(f"u-{number}", f"/cart/{number}")
        await mesh.record(f"w-{number}", b"hello", f"/login/{number}")
    await _until(doctor_service, "unrelated", lambda books: books["observations"]["primary"]["orphaned"] == 10)
    finding = await _diagnosed(doctor_service, "unrelated")
    ours, theirs = _facts(finding)["request"]
    assert ("nothing_in_common", "/login", "/cart") == (finding["code"], ours[4:10], theirs[4:9])


async def test_requests_whose_method_is_not_forwarded(doctor_service: Service, mesh: Mesh) -> None:
    """A target has only POST requests. The finding names the method, and the setting that allows it on this route."""
    mesh.host = "posts"
    for number in range(5):
        await mesh.mirror(f"b-{number}", "/orders", method="POST")
        await mesh.record(f"b-{number}", b"hello", "/orders", method="POST")
    await _until(
        doctor_service, "posts", lambda books: books["mirrored"]["blocked"] == 5 and books["recorded"]["received"] == 5
    )
    finding = await _diagnosed(doctor_service, "posts")
    allowed = '    methods: [GET, HEAD, OPTIONS, "POST /orders"]'
    assert ("methods_blocked", allowed) == (finding["code"], finding["lines"][-1])
    assert ("GET HEAD OPTIONS", "POST") == _facts(finding)["method"]


async def test_requests_without_an_id(doctor_service: Service, mesh: Mesh) -> None:
    """The mesh sets no id on the mirrored route."""
    mesh.host = "nameless"
    for number in range(5):
        await mesh.mirror("", f"/{number}", headers={"x-request-id": ""})
        await mesh.record(f"n-{number}", b"hello", f"/{number}")
    await _until(doctor_service, "nameless", lambda books: books["observations"]["primary"]["orphaned"] == 5)
    finding = await _diagnosed(doctor_service, "nameless")
    assert ("no_id", "none of them") == (finding["code"], _facts(finding)["id headers"][1])


async def test_records_that_are_malformed(doctor_service: Service, mesh: Mesh) -> None:
    """A custom recorder omits the status, and the finding quotes the error."""
    mesh.host = "malformed"
    for number in range(5):
        await mesh.mirror(f"f-{number}", "/")
        assert 400 == await mesh.record(f"f-{number}", b"hello", "/", status="OK")
    await _until(doctor_service, "malformed", lambda books: books["observations"]["candidate"]["orphaned"] == 5)
    finding = await _diagnosed(doctor_service, "malformed")
    assert ("records_refused", True) == (finding["code"], "x-shadowdiff-status is 'OK'" in finding["explanation"])


async def test_ids_that_several_requests_share(doctor_service: Service, mesh: Mesh) -> None:
    """One trace sends the same request twice and gets two responses, which cannot be assigned."""
    mesh.host = "shared"
    for number in range(10):
        for answer in (b"one", b"two"):
            await mesh.mirror(f"trace-{number}", "/", headers={"x-diff-id": ""})
            await mesh.record(f"trace-{number}", answer, "/", id_source="x-request-id")
    await _until(
        doctor_service, "shared", lambda books: settled(books) and books["observations"]["primary"]["ambiguous"] > 0
    )
    assert "ids_shared" == (await _diagnosed(doctor_service, "shared"))["code"]


async def test_a_sample_of_nothing(doctor_service: Service, mesh: Mesh) -> None:
    """With `sample: 0` nothing is compared."""
    mesh.host = "zero"
    await mesh.mirror("z-1", "/")
    await mesh.record("z-1", b"hello", "/")
    await _until(doctor_service, "zero", lambda books: books["recorded"]["sampled_out"] == 1)
    assert "sample_is_zero" == (await _diagnosed(doctor_service, "zero"))["code"]


async def test_a_v2_of_v1s_revision(doctor_service: Service, mesh: Mesh) -> None:
    """v2's Service selects v1's pods, so both responses have the same revision."""
    mesh.host = "same"
    for number in range(10):
        await mesh.mirror(f"v-{number}", "/")
        await mesh.record(f"v-{number}", b"hello", "/", **{"h-x-version": "v1"})
    await _until(doctor_service, "same", lambda books: books["pairs"]["match"] == 10)
    finding = await _diagnosed(doctor_service, "same")
    assert ("answers_as_v1", ("v1", "v1")) == (finding["code"], _facts(finding)["x-version"])


async def test_a_v2_of_v1s_pod(doctor_service: Service, mesh: Mesh) -> None:
    """Both responses come from the same pod."""
    mesh.host = "served"
    for number in range(10):
        await mesh.mirror(f"i-{number}", "/")
        await mesh.record(f"i-{number}", b"hello", "/", **{"h-x-pod-name": "shop-1"})
    await _until(doctor_service, "served", lambda books: books["pairs"]["match"] == 10)
    finding = await _diagnosed(doctor_service, "served")
    assert ("answers_as_v1", "error", ("shop-1", "shop-1")) == (
        finding["code"],
        finding["severity"],
        _facts(finding)["x-pod-name"],
    )


async def test_a_route_to_v2_that_leads_to_v1(doctor_service: Service, mesh: Mesh) -> None:
    """With `host: preserve` the mesh routes v2's requests to v1 and mirrors them, so the marker headers return."""
    mesh.host = "loop"
    for number in range(10):
        await mesh.mirror(f"l-{number}", "/")
        await mesh.record(f"l-{number}", b"hello", "/")
    await _until(
        doctor_service, "loop", lambda books: books["pairs"]["match"] == 10 and books["mirrored"]["looped"] == 10
    )
    finding = await _diagnosed(doctor_service, "loop")
    assert ("answers_as_v1", True) == (finding["code"], "`candidate.host: candidate`" in finding["fix"])
    assert ("–", "loop/") == _facts(finding)["came back"]


async def test_a_v2_without_a_listener(doctor_service: Service, mesh: Mesh) -> None:
    """If v2 is dead, 100 % of the pairs differ, and the finding names the cause."""
    mesh.host = "dead"
    for number in range(10):
        await mesh.mirror(f"d-{number}", "/")
        await mesh.record(f"d-{number}", b"hello", "/")
    await _until(doctor_service, "dead", lambda books: books["pairs"]["mismatch"] == 10)
    finding = await _diagnosed(doctor_service, "dead")
    assert ("v2_fails", True) == (finding["code"], "nothing listens there" in finding["title"])
    assert ("200", "refused") == _facts(finding)["response"]


async def test_a_v2_that_rejects_the_host(doctor_service: Service, mesh: Mesh) -> None:
    """v2 responds with 404 to requests that v1 served."""
    mesh.host = "lost"
    for number in range(10):
        await mesh.mirror(f"q-{number}", "/")
        await mesh.record(f"q-{number}", b"hello", "/")
    await _until(doctor_service, "lost", lambda books: books["pairs"]["mismatch"] == 10)
    finding = await _diagnosed(doctor_service, "lost")
    assert ("v2_refuses", ("200", "404")) == (finding["code"], _facts(finding)["response"])


async def test_a_v2_slower_than_the_window(doctor_service: Service, mesh: Mesh) -> None:
    """v2 responds 2.5 s after v1, but halves wait for 1 s, so its responses find tombstones."""
    mesh.host = "late"
    for number in range(10):
        await mesh.mirror(f"y-{number}", "/")
        await mesh.record(f"y-{number}", b"hello", "/")
    await _until(
        doctor_service,
        "late",
        lambda books: (
            books["observations"]["primary"]["orphaned"] == 10
            and books["mirrored"]["forwarded"] == 10
            and settled(books)
        ),
    )
    finding = await _diagnosed(doctor_service, "late")
    assert ("too_late", "error") == (finding["code"], finding["severity"])


async def test_a_failing_v1_leaves_no_comparable_pair(doctor_service: Service, mesh: Mesh) -> None:
    """Pairs form, but none is comparable, and the finding names the reason."""
    mesh.host = "poor"
    for number in range(10):
        await mesh.mirror(f"x-{number}", "/")
        await mesh.record(f"x-{number}", b"oops", "/", status="503")
    await _until(doctor_service, "poor", lambda books: books["pairs"]["incomparable"] == 10)
    finding = await _diagnosed(doctor_service, "poor")
    assert ("nothing_comparable", True) == (finding["code"], "v1 itself answered 5xx (10)" in finding["explanation"])


async def test_the_page_shows_the_findings_of_the_api(doctor_service: Service, mesh: Mesh) -> None:
    """`/doctor` shows each finding and its two halves."""
    mesh.host = "early"
    await mesh.record("e-1", b"hello", "/")
    await _until(doctor_service, "early", lambda books: books["observations"]["primary"]["orphaned"] == 1)
    async with mesh.session.get(doctor_service.url("web", "/doctor?target=early")) as answer:
        page = await answer.text()
    assert (200, True, True) == (answer.status, "records_without_mirrors" in page, "<code>e-1</code>" in page)
