"""Test the pages in process: their content, their limits, and hostile text that stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.model import Candidate, Comparison, Difference, Failure, Kind, Result, Severity, Side, Target
from shadowdiff.queries.targets import TargetView
from shadowdiff.report import Redactor, SampleSettings
from shadowdiff.verdict import count_writes
from shadowdiff.web import create_web
from tests.fakes.asgi import get
from tests.fakes.samples import sample_writes
from tests.fakes.shop import NOW_MS, empty_ledger, open_shop, refused, shop_ledger, shop_target, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import difference, mismatch, observation, pair

if TYPE_CHECKING:
    from shadowdiff.model import Pair
    from shadowdiff.web import WebParts

SETTINGS = SampleSettings(redactor=Redactor(b"a key"))
PRICED = mismatch(difference(), difference("$['served_at']", rule="ignore $.served_at"))
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</style></details></pre><svg onload=alert(1)>",
    "javascript:alert(1)",
    "\x00\x1b[31m\u202egnp.exe",
]


class Page(HTMLParser):
    """A page as a browser reads it: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Record text."""
        self.text += data

    @property
    def links(self) -> list[str]:
        """Return every link of the page."""
        return [
            value for _, attrs in self.elements for name, value in attrs.items() if name in ("href", "src") and value
        ]

    def of_class(self, name: str) -> int:
        """Return the number of elements of a class."""
        return sum(name in (attrs.get("class") or "").split() for _, attrs in self.elements)


async def _page(state: WebParts, target: str = "/", status: int = 200) -> Page:
    answer = await get(create_web(state), target)
    assert (status, "text/html; charset=utf-8") == (answer.status, answer.headers["content-type"])
    return Page(answer.text)


def _kept(*made: tuple[Pair, Comparison]) -> MemoryStore:
    store = MemoryStore(lambda: NOW_MS / 1000)
    for at, (one, said) in enumerate(made):
        store.commit(count_writes(one, said))
        store.commit(sample_writes(one, said, SETTINGS, NOW_MS - 5000 + at))
    return store


def _sample_path(one: Pair) -> str:
    return f"/samples/{one.target}-{one.key.hex()[:16]}"


async def test_the_first_page_names_verdict_ratio_coverage_and_places() -> None:
    """The page answers a reader's first questions."""
    page = await _page(web_parts(open_shop()))
    for words in (
        "shop Fail",
        "34 of 1,399 pairs differ: at least 0.886 %, limit 0.1 %.",
        "98.5 %",
        "top reason: partner never arrived: not mirrored by the mesh, or the window is too short",
        "GET /products/{id}",
        "price differs",
    ):
        assert words in page.text


async def test_the_first_page_shows_different_faults_and_not_one_four_times() -> None:
    """The list has the newest sample of each fault."""
    page = await _page(web_parts(open_shop()))
    assert 2 == page.of_class("sample")
    for words in ("Status differs", "stock is missing in v2", "price differs", "Type of id differs"):
        assert words in page.text


async def test_a_sample_shows_the_difference_and_both_bodies() -> None:
    """The page has a headline, both values, the ignored paths with reasons, and the request id."""
    one = pair(
        candidate=observation(Side.CANDIDATE, b'{"price": 19.99}'),
        primary=observation(Side.PRIMARY, b'{"price": 21.99}'),
    )
    page = await _page(web_parts(_kept((one, PRICED))), _sample_path(one))
    for words in (
        "price differs: 21.99 → 19.99",
        "by rule ignore $.served_at",
        "GET /products/17?view=full",
        "7d9f5e52-66a1-4c1e-8a55-000000000017",
    ):
        assert words in page.text
    assert 2 == sum(tag == "mark" for tag, _ in page.elements)


async def test_a_refused_connection_reads_as_one() -> None:
    """A failure is not shown as an empty response."""
    one, said = refused(5)
    assert "v2 refused the connection" in (await _page(web_parts(_kept((one, said))), _sample_path(one))).text


async def test_a_target_can_be_narrowed_to_a_place() -> None:
    """The links of the paths open their samples."""
    state = web_parts(open_shop())
    links = [link for link in (await _page(state, "/targets/shop")).links if "path=" in link]
    page = await _page(state, next(link for link in links if "stock" in link).partition("#")[0])
    assert (9, 2) == (page.text.count("stock is missing in v2; v1 has"), page.of_class("what")), "a cause and its set"


@pytest.mark.parametrize("target", ["/", "/targets/shop", "/targets/shop?result=incomparable", "/nothing"])
async def test_pages_have_only_their_own_script_and_style_and_nothing_from_elsewhere(target: str) -> None:
    """The policy forbids other resources, and the pages use none."""
    answer = await get(create_web(web_parts(open_shop())), target)
    page = Page(answer.text)
    assert not {"style", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    scripts = [attrs.get("src") or "" for tag, attrs in page.elements if tag == "script"]
    assert [True] == [name.startswith("/static/pages.js?v=") for name in scripts]
    assert re.search(r"<script [^>]*></script>", answer.text)
    assert all(link.startswith(("/", "?", "#")) and not link.startswith("//") for link in page.links)
    names = {name for _, attrs in page.elements for name in attrs}
    assert not {name for name in names if name.startswith("on") or name == "style"}


async def test_every_link_leads_somewhere() -> None:
    """The test follows links from the home page through targets and samples."""
    state, seen, todo = web_parts(open_shop()), set[str](), ["/"]
    app = create_web(state)
    while todo and len(seen) < 80:
        target = todo.pop().partition("#")[0]
        if target in seen or not target.startswith("/"):
            continue
        seen.add(target)
        answer = await get(app, target)
        assert 200 == answer.status, target
        if answer.headers["content-type"].startswith("text/html"):
            todo.extend(Page(answer.text).links)
    assert len(seen) > 20


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_in_every_field_stays_text(text: str) -> None:
    """No name, path, header, value, reason or rule adds an element or an attribute."""
    clean, hostile = await _elements("plain"), await _elements(text)
    assert clean == hostile


async def _elements(text: str) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Return the elements and attribute names of every page when each possible field contains `text`."""
    wire, name_of_target = text.encode(), text.replace("/", "")  # a target's name in a URL cannot contain a slash
    found = Difference(
        path=f"$['{text}']",
        pattern=f"$['{text}']",
        kind=Kind.VALUE,
        primary=text,
        candidate=text + "!",
        severity=Severity.VALUE,
    )
    covered = difference(f"$['x{text}']", primary=text, candidate=None, rule=text)
    answers = [
        observation(
            side,
            json.dumps({text: text, "n": n}, ensure_ascii=False).encode() if n else wire,
            target=name_of_target,
            method=text,
            path=text,
            headers=((b"content-type", b"text/" + wire), (wire, wire), (b"x-n", b"%d" % n)),
            request_headers=((wire, wire), (b"x-request-id", wire)),
            request_body=wire,
        )
        for n, side in enumerate((Side.PRIMARY, Side.CANDIDATE))
    ]
    one = pair(*answers, target=name_of_target, route=text)
    other = pair(*answers, target=name_of_target, route=text, number=2)
    store = _kept(
        (one, Comparison(result=Result.MISMATCH, differences=(found, covered))),
        (other, Comparison(result=Result.INCOMPARABLE, reason=text)),
    )
    target = Target(name=name_of_target, hosts=(text,), candidate=Candidate(url=f"http://{text.encode().hex()}"))
    ledger = shop_ledger() | {"target": name_of_target}
    state = web_parts(store, ledger, (TargetView(target, (text,)),))
    pages: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    app = create_web(state)
    for name, path in {
        "index": "/",
        "target": "/targets/{}",
        "narrowed": f"/targets/{{}}?route={_quoted(text)}&path=%24%5B'{_quoted(text)}'%5D",
        "incomparable": "/targets/{}?result=incomparable",
        "unknown": "/targets/{}x",
        "sample": "/samples/{}-" + one.key.hex()[:16],
    }.items():
        answer = await get(app, path.replace("{}", _quoted(name_of_target)))
        assert answer.status == (404 if name == "unknown" else 200), name
        assert text not in answer.text or not re.search("[<>\"']", text), name
        pages[name] = [(tag, tuple(attrs)) for tag, attrs in Page(answer.text).elements]
    return pages


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


@pytest.mark.parametrize(
    ("ledger", "says"),
    [
        (empty_ledger("shop"), "No request has arrived yet. Mirror this target's requests to port 8080"),
        (empty_ledger("shop", mirrored=7), "7 requests were mirrored, but no response of v1 was recorded."),
        (empty_ledger("shop", recorded=7), "7 responses of v1 were recorded, but no request was mirrored."),
        (empty_ledger("shop", mirrored=7, recorded=7), "shadowdiff doctor"),
    ],
)
async def test_an_empty_target_shows_the_next_step(ledger: dict[str, Any], says: str) -> None:
    """The text depends on what has arrived so far."""
    for target in ("/", "/targets/shop"):
        assert says in (await _page(web_parts(MemoryStore(), ledger), target)).text


async def test_without_targets_the_page_shows_how_to_add_one() -> None:
    """The page has lines to copy, and the demo."""
    text = (await _page(web_parts(MemoryStore(), targets=()))).text
    assert "No targets configured." in text
    assert "shadowdiff demo" in text


async def test_pairs_without_a_difference_are_no_empty_page() -> None:
    """The page has a sentence that nothing differs."""
    store = _kept((pair(), Comparison(result=Result.MATCH)))
    assert "No differences in 1 compared pairs." in (await _page(web_parts(store))).text


async def test_books_that_do_not_balance_are_announced() -> None:
    """The page marks the numbers as incomplete."""
    page = await _page(web_parts(open_shop(), shop_ledger(balanced=False)))
    assert "Not all requests are accounted for" in page.text


async def test_an_expired_sample_has_a_page_with_the_reason() -> None:
    """The page of an old link explains that the sample expired."""
    assert (
        "it expired, or newer samples replaced it"
        in (await _page(web_parts(open_shop()), "/samples/shop-0000000000000000", 404)).text
    )


async def test_samples_past_their_age_are_not_shown() -> None:
    """Samples above the age limit are hidden, even if the store still has them."""
    one, said = refused(5)
    store = MemoryStore()
    store.commit(sample_writes(one, said, SETTINGS, NOW_MS - 25 * 3600 * 1000))
    await _page(web_parts(store), _sample_path(one), 404)


@pytest.mark.parametrize(
    ("asked", "seconds"), [("5", "5"), ("1", "2"), ("9999", "300"), ("x", None), ("²", None), ("", None)]
)
async def test_following_live_asks_again_within_bounds(asked: str, seconds: str | None) -> None:
    """The page reloads without a script, at most every two seconds."""
    page = await _page(web_parts(open_shop()), f"/?live={_quoted(asked)}")
    assert seconds == next(
        (attrs["content"] for _, attrs in page.elements if attrs.get("http-equiv") == "refresh"), None
    )


async def test_several_targets_stand_on_one_page() -> None:
    """Each target on the page has its own counts."""
    page = await _page(web_parts(open_shop(), targets=(shop_target(), shop_target("basket"))))
    assert 2 == page.of_class("target")


async def test_static_files_are_kept_by_browsers_and_named_by_content() -> None:
    """A new style has a new address."""
    app = create_web(web_parts(MemoryStore()))
    page = Page((await get(app, "/")).text)
    link = next(link for link in page.links if "style.css?v=" in link)
    answer = await get(app, link)
    assert ("text/css; charset=utf-8", True) == (
        answer.headers["content-type"],
        "immutable" in answer.headers["cache-control"],
    )
    assert 404 == (await get(app, "/static/../pages.py")).status


@pytest.mark.parametrize("failure", list(Failure))
async def test_every_failure_has_words(failure: Failure) -> None:
    """No failure is shown only as a code."""
    one, said = refused(5)
    failed = pair(one.primary, observation(Side.CANDIDATE, status=0, failure=failure, headers=()))
    page = await _page(web_parts(_kept((failed, said))), _sample_path(failed))
    assert f"v2 {failure} " not in page.text.replace("v2 refused the", "")
