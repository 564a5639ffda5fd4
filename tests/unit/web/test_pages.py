"""The pages in process: what they say, what they never do, and hostile text that stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from shadowdiff.model import Candidate, Comparison, Difference, Failure, Kind, Result, Severity, Side, Target
from shadowdiff.report import Redactor, SampleSettings, sample_writes
from shadowdiff.verdict import count_writes
from shadowdiff.web import TargetView, create_web
from tests.fakes.asgi import get
from tests.fakes.shop import NOW_MS, empty_ledger, open_shop, refused, shop_ledger, shop_target, web_state
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import difference, mismatch, observation, pair

if TYPE_CHECKING:
    from shadowdiff.model import Pair
    from shadowdiff.web import WebState

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
    """A page as a browser would read it: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data

    @property
    def links(self) -> list[str]:
        """Everything the page points to."""
        return [
            value for _, attrs in self.elements for name, value in attrs.items() if name in ("href", "src") and value
        ]

    def of_class(self, name: str) -> int:
        """How many elements are of a class."""
        return sum(name in (attrs.get("class") or "").split() for _, attrs in self.elements)


async def _page(state: WebState, target: str = "/", status: int = 200) -> Page:
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
    """What a reader asks first is on it."""
    page = await _page(web_state(open_shop()))
    for words in (
        "shop fail",
        "34 of 1,399 pairs differ (2.43%)",
        "98.5%",
        "GET /products/{id}",
        "v2 answers another price",
    ):
        assert words in page.text


async def test_the_first_page_shows_different_faults_and_not_one_four_times() -> None:
    """The newest of each."""
    page = await _page(web_state(open_shop()))
    assert 2 == page.of_class("sample")
    for words in ("another status", "v2 leaves out stock", "v2 answers another price", "v2 answers id as another type"):
        assert words in page.text


async def test_a_sample_says_what_differs_and_shows_both_bodies() -> None:
    """Headline, both values, what is ignored and why, request id."""
    one = pair(
        candidate=observation(Side.CANDIDATE, b'{"price": 19.99}'),
        primary=observation(Side.PRIMARY, b'{"price": 21.99}'),
    )
    page = await _page(web_state(_kept((one, PRICED))), _sample_path(one))
    for words in (
        "v2 answered price 19.99 where v1 answered 21.99",
        "by rule ignore $.served_at",
        "GET /products/17?view=full",
        "7d9f5e52-66a1-4c1e-8a55-000000000017",
    ):
        assert words in page.text
    assert 2 == sum(tag == "mark" for tag, _ in page.elements)


async def test_a_refused_connection_reads_as_one() -> None:
    """A failure is no empty answer."""
    one, said = refused(5)
    assert "v2 refused the connection" in (await _page(web_state(_kept((one, said))), _sample_path(one))).text


async def test_a_target_can_be_narrowed_to_a_place() -> None:
    """The links of the paths lead to their samples."""
    state = web_state(open_shop())
    links = [link for link in (await _page(state, "/targets/shop")).links if "path=" in link]
    page = await _page(state, next(link for link in links if "stock" in link).partition("#")[0])
    assert (9, 1) == (page.text.count("v2 left out stock"), page.of_class("what"))


@pytest.mark.parametrize("target", ["/", "/targets/shop", "/targets/shop?result=incomparable", "/nothing"])
async def test_pages_have_only_their_own_script_and_style_and_nothing_from_elsewhere(target: str) -> None:
    """The policy forbids it, and the pages do not try."""
    answer = await get(create_web(web_state(open_shop())), target)
    page = Page(answer.text)
    assert not {"style", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    scripts = [attrs.get("src") or "" for tag, attrs in page.elements if tag == "script"]
    assert [True] == [name.startswith("/static/pages.js?v=") for name in scripts]
    assert re.search(r"<script [^>]*></script>", answer.text)
    assert all(link.startswith(("/", "?", "#")) and not link.startswith("//") for link in page.links)
    names = {name for _, attrs in page.elements for name in attrs}
    assert not {name for name in names if name.startswith("on") or name == "style"}


async def test_every_link_leads_somewhere() -> None:
    """From the first page over targets and samples."""
    state, seen, todo = web_state(open_shop()), set[str](), ["/"]
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
    """Names, paths, headers, values, reasons, rules: nothing of them becomes an element or an attribute."""
    clean, hostile = await _elements("plain"), await _elements(text)
    assert clean == hostile


async def _elements(text: str) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Return the elements and attribute names of every page, where each field that may hold it holds `text`."""
    wire, name_of_target = text.encode(), text.replace("/", "")  # an address has no place for it
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
    state = web_state(store, ledger, (TargetView(target, (text,)),))
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
        (empty_ledger("shop", mirrored=7), "7 requests were mirrored, but none of v1's answers was recorded."),
        (empty_ledger("shop", recorded=7), "7 of v1's answers were recorded, but no request was mirrored."),
        (empty_ledger("shop", mirrored=7, recorded=7), "shadowdiff doctor"),
    ],
)
async def test_an_empty_target_says_what_to_do_next(ledger: dict[str, Any], says: str) -> None:
    """By what has arrived so far."""
    for target in ("/", "/targets/shop"):
        assert says in (await _page(web_state(MemoryStore(), ledger), target)).text


async def test_without_targets_the_page_says_how_to_name_one() -> None:
    """With lines to copy, and the demo."""
    text = (await _page(web_state(MemoryStore(), targets=()))).text
    assert "No target is configured yet." in text
    assert "shadowdiff demo" in text


async def test_pairs_without_a_difference_are_no_empty_page() -> None:
    """All is well is said in words."""
    store = _kept((pair(), Comparison(result=Result.MATCH)))
    assert "Of 1 pairs compared, none differs." in (await _page(web_state(store))).text


async def test_books_that_do_not_balance_are_announced() -> None:
    """The numbers are marked as incomplete."""
    page = await _page(web_state(open_shop(), shop_ledger(balanced=False)))
    assert "The books do not balance" in page.text


async def test_an_expired_sample_is_a_page_that_says_so() -> None:
    """An old link is no riddle."""
    assert "This sample expired" in (await _page(web_state(open_shop()), "/samples/shop-0000000000000000", 404)).text


async def test_samples_past_their_age_are_not_shown() -> None:
    """Even where the store still holds them."""
    one, said = refused(5)
    store = MemoryStore()
    store.commit(sample_writes(one, said, SETTINGS, NOW_MS - 25 * 3600 * 1000))
    await _page(web_state(store), _sample_path(one), 404)


@pytest.mark.parametrize(
    ("asked", "seconds"), [("5", "5"), ("1", "2"), ("9999", "300"), ("x", None), ("²", None), ("", None)]
)
async def test_following_live_asks_again_within_bounds(asked: str, seconds: str | None) -> None:
    """Without a script, and never faster than every two seconds."""
    page = await _page(web_state(open_shop()), f"/?live={_quoted(asked)}")
    assert seconds == next(
        (attrs["content"] for _, attrs in page.elements if attrs.get("http-equiv") == "refresh"), None
    )


async def test_several_targets_stand_on_one_page() -> None:
    """Each with its own numbers."""
    page = await _page(web_state(open_shop(), targets=(shop_target(), shop_target("basket"))))
    assert 2 == page.of_class("target")


async def test_static_files_are_kept_by_browsers_and_named_by_content() -> None:
    """A new style has a new address."""
    app = create_web(web_state(MemoryStore()))
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
    """None is shown as a bare code."""
    one, said = refused(5)
    failed = pair(one.primary, observation(Side.CANDIDATE, status=0, failure=failure, headers=()))
    page = await _page(web_state(_kept((failed, said))), _sample_path(failed))
    assert f"v2 {failure} " not in page.text.replace("v2 refused the", "")
