"""Test that noise is learned at places that stay the same: under ids, in generated cookies, and in lines of a page."""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING
from uuid import uuid4

import orjson
import pytest

from shadowdiff.model import Side
from shadowdiff.report.fingerprint import print_of
from shadowdiff.verdict import read_evidence
from tests.fakes.asgi import get
from tests.fakes.responses import judged
from tests.fakes.traffic import observation, pair
from tests.integration.verdict.conftest import TARGET, Process, wall_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowdiff.model import Comparison, Headers, Pair
    from shadowdiff.store import Store

LEARN = 40
COUNTED = 40
Response = tuple[bytes, tuple[tuple[bytes, bytes], ...]]
JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain")
_numbers = itertools.count()


@pytest.fixture
async def process(store: Store) -> Process:
    """Return a process with a control that has refreshed its runs once."""
    one = Process(
        store,
        {"coverage": {"eligible": 0, "compared": 0, "ratio": 0.0}},
        noise={"controlled": True, "learn": LEARN, "candidate": "http://v2"},
    )
    await one.runs.refresh()
    return one


def asked() -> Pair:
    """Return a pair of a new request."""
    number = next(_numbers)
    return pair(
        number=number,
        route="GET /",
        candidate=observation(Side.CANDIDATE, path=f"/{number}", at_ms=wall_ms() + 1),
        control=observation(Side.CONTROL, at_ms=wall_ms() + 1),
    )


def different(one: Response, other: Response) -> Comparison:
    """Compare two responses."""
    headers: tuple[Headers, Headers] = one[1], other[1]
    return judged(one[0], other[0], headers=headers[0], headers_other=headers[1])


async def verdict_after(
    process: Process, v1: Callable[[str], Response], v2: Callable[[str], Response] | None = None
) -> tuple[int, int]:
    """Return how many pairs are noise, and how many count, after noise is learned and v2 has a fault or none.

    v1: makes a response for the id of a request; each instance makes another one.
    """
    for _ in range(LEARN):
        name = str(uuid4())
        first = v1(name)
        await process.judge_triple(asked(), different(first, v1(name)), different(first, v1(name)))
    await process.runs.refresh()
    for _ in range(COUNTED):
        name = str(uuid4())
        first = v1(name)
        await process.judge_triple(asked(), different(first, (v2 or v1)(name)), different(first, v1(name)))
    run = await process.runs.current(TARGET)
    assert run is not None
    evidence = await read_evidence(process.store, TARGET, run)
    return evidence.left_out, evidence.mismatches


def clock_under_an_id(name: str) -> Response:
    """Return a time under a key that is an id."""
    return orjson.dumps({"users": {name: {"at": next(_numbers), "role": "admin"}}}), (JSON,)


def generated_cookie(_: str) -> Response:
    """Return a cookie with a new name."""
    return b"{}", (JSON, (b"set-cookie", f"sess_{secrets.token_hex(12)}=1; Path=/; Secure".encode()))


def page(_: str) -> Response:
    """Return a page with one noisy line."""
    return b"<h1>Shop</h1>\nQueries took %d.5 ms\nby pod %s\n" % (next(_numbers), _word()), (TEXT,)


def _word() -> bytes:
    return secrets.choice([b"amber", b"birch", b"cedar"])


NOISY = {"under ids": clock_under_an_id, "in generated cookies": generated_cookie, "in lines": page}


@pytest.mark.parametrize("where", NOISY)
async def test_noise_at_a_stable_place_is_left_out(process: Process, where: str) -> None:
    """Every pair differs by noise only."""
    left_out, counted = await verdict_after(process, NOISY[where])
    assert counted == 0
    assert left_out > COUNTED // 2  # pods may be equal, but the clock never is


def without_role(name: str) -> Response:
    """Return a response that lacks a member next to the noise."""
    return orjson.dumps({"users": {name: {"at": next(_numbers)}}}), (JSON,)


def insecure_cookie(_: str) -> Response:
    """Return a cookie that lacks an attribute."""
    return b"{}", (JSON, (b"set-cookie", f"sess_{secrets.token_hex(12)}=1; Path=/".encode()))


def broken(text: bytes, instead: bytes) -> Callable[[str], Response]:
    """Return v2's page with another text."""
    return lambda name: (page(name)[0].replace(text, instead), (TEXT,))


FAULTS: dict[str, tuple[Callable[[str], Response], Callable[[str], Response]]] = {
    "a member under ids": (clock_under_an_id, without_role),
    "an attribute of a generated cookie": (generated_cookie, insecure_cookie),
    "another line": (page, broken(b"Shop", b"Error")),
    "words in the noisy line": (page, broken(b"Queries took", b"Queries failed after")),
    "a line inserted before the noisy line": (page, broken(b"</h1>\n", b"</h1>\nWarning\n")),
    "a line inserted after the noisy line": (page, broken(b" ms\n", b" ms\nWarning\n")),
    "the noisy line lost": (page, lambda name: (page(name)[0].partition(b"Queries")[0], (TEXT,))),
    "an error instead of the noisy line": (page, broken(b"Queries took", b"\nFatal: out of memory,")),
    "a template that is not filled in": (page, lambda _: (b"<h1>Shop</h1>\nQueries took {number} ms\n", (TEXT,))),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_next_to_noise_counts(process: Process, fault: str) -> None:
    """A known difference hides no other difference."""
    assert await verdict_after(process, *FAULTS[fault]) == (0, COUNTED)


async def test_the_page_of_a_noisy_service_with_a_fault_fails(process: Process) -> None:
    """The verdict uses these counts."""
    await verdict_after(process, *FAULTS["another line"])
    said = (await get(process.app(), f"/api/v1/verdict?target={TARGET}")).json
    assert (said["verdict"], said["top"][0]["path"]) == (
        "fail",
        "text[<h{number}>Shop</h{number}> → <h{number}>Error</h{number}>]",
    )


def test_one_fault_under_many_ids_is_one_group() -> None:
    """Its places name no id."""
    prints = set[str]()
    places = set[str]()
    for _ in range(60):
        name = str(uuid4())
        bodies = (orjson.dumps({"users": {name: {"n": 1, "price": price}}}) for price in (10, "10"))
        found = judged(*bodies)
        made = print_of(pair(route="GET /map/{id}"), found)
        assert made is not None
        prints.add(made.id)
        places |= {each.pattern for each in found.differences}
    assert (len(prints), places) == (1, {"$['users'][{uuid}]['price']"})
