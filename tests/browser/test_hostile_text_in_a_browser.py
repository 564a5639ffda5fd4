"""Even if every shown field contains hostile markup or script, no script runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import urlopen

import msgspec
import pytest

from shadowdiff.model import Comparison, Describe, Difference, Kind, Push, Result, Severity, Side
from shadowdiff.queries.targets import TargetView
from shadowdiff.report import Redactor, ReportStage, SampleSettings
from shadowdiff.report.fingerprint import key_of, print_of
from shadowdiff.report.triage import Note, State, StateChange
from shadowdiff.verdict import count_writes, history_writes
from shadowdiff.web import create_web
from tests.fakes.serving import served
from tests.fakes.shop import NOW_MS, shop_target, web_parts
from tests.fakes.store_reader import MemoryStore
from tests.fakes.traffic import observation, pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

_RUN = "window.ran=1"
_TAGS = [
    f"<script>{_RUN}</script>",
    f"<ScRiPt>{_RUN}</sCrIpT>",
    f"<script >{_RUN}</script >",
    f"<<script>{_RUN}//<</script>",
    f"</title><script>{_RUN}</script>",
    f"</textarea><script>{_RUN}</script>",
    f"</style></pre></details><script>{_RUN}</script>",
    f"--><script>{_RUN}</script><!--",
    f"]]><script>{_RUN}</script>",
    "<script src=//127.0.0.1:9/x.js></script>",
    "<script src='data:text/javascript,window.ran=1'></script>",
    f"<img src=x onerror={_RUN}>",
    f"<img src=x:x onerror='{_RUN}'>",
    f"<img/src=x/onerror={_RUN}>",
    f"<svg onload={_RUN}>",
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f"<svg><title><script>{_RUN}</script></title></svg>",
    f"<body onload={_RUN}>",
    f"<details open ontoggle={_RUN}>",
    f"<video><source onerror={_RUN}></video>",
    f"<audio src=x onerror={_RUN}>",
    f"<iframe srcdoc='<script>parent.{_RUN}</script>'>",
    f"<iframe src='javascript:parent.{_RUN}'>",
    "<object data='data:text/html,<script>window.ran=1</script>'>",
    "<embed src='data:text/html,<script>window.ran=1</script>'>",
    "<base href='//127.0.0.1:9/'>",
    "<meta http-equiv=refresh content='0;url=//127.0.0.1:9/'>",
    "<link rel=stylesheet href=//127.0.0.1:9/x.css>",
    "<style>*{display:none}</style>",
    "<form action=//127.0.0.1:9/><button>go</button></form>",
    f"<input autofocus onfocus={_RUN}>",
    f"<select autofocus onfocus={_RUN}>",
    f"<a href='javascript:{_RUN}'>x</a>",
    f"<math><mtext><script>{_RUN}</script>",
    f"<template><script>{_RUN}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={_RUN}>'>",
    f"<marquee onstart={_RUN}>",
]
_ATTRIBUTES = [
    f'"><img src=x onerror={_RUN}>',
    f"'><img src=x onerror={_RUN}>",
    f'" autofocus onfocus="{_RUN}',
    f"' autofocus onfocus='{_RUN}",
    f"` onmouseover={_RUN} x=`",
    f'" onmouseover="{_RUN}" x="',
    '" style="position:fixed;inset:0" x="',
    '" data-key="j" data-live="//127.0.0.1:9/" x="',
    f"javascript:{_RUN}",
    f"JaVaScRiPt:{_RUN}",
    f" javascript:{_RUN}",
    "//127.0.0.1:9/",
    "/\\127.0.0.1:9/",
    "data:text/html,<script>window.ran=1</script>",
]
_OTHERS = [
    "{{ 7 * 7 }}{% raw %}",
    "{{ self.__init__.__globals__ }}",
    "${7*7}#{7*7}<%= 7*7 %>",
    "&lt;script&gt;&#60;script&#62;&amp;",
    "\x00\x1b[31m\u202egnp.exe",
    "\ufeff\u2028\u2029\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "+ADw-script+AD4-window.ran=1+ADw-/script+AD4-",
    "%3Cscript%3Ewindow.ran=1%3C/script%3E",
    "\\u003cscript\\u003ewindow.ran=1\\u003c/script\\u003e",
    "Ω≈ç√∫µ≤≥÷ 田中さん ﷽",
    "a" * 3000,
    "../../../../etc/passwd",
    "'; DROP TABLE samples; --",
    "\r\nSet-Cookie: a=b\r\n\r\n<script>window.ran=1</script>",
]
HOSTILE = [*_TAGS, *_ATTRIBUTES, *_OTHERS]


def _kept(text: str, number: int, store: MemoryStore, report: ReportStage) -> tuple[str, str]:
    """Store a mismatch with this text in every field, and return the ids of its cause and its sample."""
    wire = text.encode("utf-8", "surrogatepass")
    line = wire.replace(b"\r", b" ").replace(b"\n", b" ")
    answers = [
        observation(
            side,
            json.dumps({text: text, "n": n, "deep": [{text: f"{text}{n}"}]}).encode(),
            method="GET" if n else text[:20],
            path=f"/{text}?q={text}",
            headers=((b"content-type", b"application/json; x=" + line), (b"x-" + line, line), (b"x-n", b"%d" % n)),
            request_headers=((line, line), (b"x-request-id", line), (b"host", line)),
            request_body=wire,
        )
        for n, side in enumerate((Side.PRIMARY, Side.CANDIDATE))
    ]
    made = pair(*answers, route=f"GET /{text}"[:900], number=number)
    path = f"$['{text}']"
    found = Difference(
        path=path, pattern=path, kind=Kind.VALUE, primary=text, candidate=text + "!", severity=Severity.VALUE
    )
    covered = msgspec.structs.replace(found, path=f"header.{text}", pattern=f"header.{text}", rule=text)
    said = Comparison(result=Result.MISMATCH, differences=(found, covered))
    for writes in (count_writes(made, said), report(made, said, NOW_MS - number), history_writes(made, said, NOW_MS)):
        store.commit(writes)
    group = print_of(made, said)
    assert group is not None
    note = Note(text=text, author=text, at_ms=NOW_MS)
    stated = StateChange(state=State.ACKNOWLEDGED, author=text, at_ms=NOW_MS)
    store.commit(
        [
            Describe(key_of("notes", "shop"), group.id, msgspec.json.encode(note), 0),
            Describe(key_of("states", "shop"), group.id, msgspec.json.encode(stated), 0),
        ]
    )
    return group.id, f"shop-{made.key.hex()[:16]}"


@pytest.fixture(scope="module")
def hostile() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Serve a shop with only this data, and yield the address and the id of each cause and sample."""
    store = MemoryStore(lambda: NOW_MS / 1000)
    report = ReportStage(SampleSettings(redactor=Redactor(b"a key")))
    ids = [_kept(text, number, store, report) for number, text in enumerate(HOSTILE)]
    for number, text in enumerate(HOSTILE[:90]):
        opened = f"{NOW_MS - 1000 - number} {number} revision {text}"
        store.commit([Push("runs:shop", opened.encode("utf-8", "surrogatepass"), 99)])
    state = web_parts(store, targets=(TargetView(shop_target().target, tuple(HOSTILE)),))
    with served(create_web(state)) as url:
        yield url, ids


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """Open one browser tab, and collect the browser's errors and requests to other hosts."""
    context = browser.new_context()
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: said.append(dialog.message))
    tab.on("request", lambda request: said.append(request.url) if ":9/" in request.url else None)
    yield tab, said
    context.close()


PLANTED = "main :is(script, img, iframe, object, embed, video, audio, style, base, math, marquee, [onerror], [style])"


def _is_clean(page: tuple[Page, list[str]], address: str) -> Any:
    tab, said = page
    answer = tab.goto(address, wait_until="domcontentloaded")
    assert answer is not None
    assert (True, None, 0, []) == (
        answer.ok,
        tab.evaluate("window.ran ?? null"),
        tab.locator(PLANTED).count(),
        said,
    ), address
    return tab


def test_there_are_sixty_different_texts() -> None:
    """The list has sixty different hostile texts."""
    assert len(set(HOSTILE)) == len(HOSTILE) >= 60


def test_lists_of_hostile_text_stay_text(
    page: tuple[Page, list[str]], hostile: tuple[str, list[tuple[str, str]]]
) -> None:
    """The home page, the target's page with filters, the rules page and the ledger page show hostile text as text."""
    url, ids = hostile
    for path in ("/", "/targets/shop", "/targets/shop?offset=25", "/targets/shop?offset=50", "/rules", "/ledger"):
        _is_clean(page, url + path)
    tab, _ = page
    for text in HOSTILE[::8]:
        _is_clean(page, f"{url}/targets/shop?{_query(route=f'GET /{text}'[:900], path=text)}")
        assert tab.locator("#path").input_value()
    for (_, sample), text in zip(ids[::9], HOSTILE[::9], strict=True):
        _is_clean(page, f"{url}/rules?{_query(target='shop', sample=sample, path=f'$[{text!r}]')}")


def test_pages_of_hostile_text_stay_text(
    page: tuple[Page, list[str]], hostile: tuple[str, list[tuple[str, str]]]
) -> None:
    """The page of each cause and all views of its samples show hostile text as text."""
    url, ids = hostile
    views = ("split", "unified", "patch")
    for at, (group, sample) in enumerate(ids):
        _is_clean(page, f"{url}/fingerprints/{group}")
        if at % 2:
            _is_clean(page, f"{url}/samples/{sample}?view={views[at % 3]}")


def test_files_of_hostile_text_stay_text(
    page: tuple[Page, list[str]], hostile: tuple[str, list[tuple[str, str]]], tmp_path: Path
) -> None:
    """An exported file contains its own content security policy, because no server sends one with the file."""
    url, ids = hostile
    for at, (group, sample) in enumerate(ids[::3]):
        address = f"{url}/fingerprints/{group}" if at % 2 else f"{url}/samples/{sample}"
        kept = tmp_path / f"{at}.html"
        with urlopen(f"{address}?download=1", timeout=20) as answer:
            kept.write_bytes(answer.read())
        _is_clean(page, kept.as_uri())


def _query(**fields: str) -> str:

    return urlencode(fields, errors="replace")
