"""In a real browser, pages work dark, light, narrow and without JavaScript, and send no requests to other hosts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.request import urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe  # pyright: ignore[reportMissingTypeStubs] - it has none
from playwright.sync_api import Browser, Page, expect

if TYPE_CHECKING:
    from pathlib import Path

Scheme = Literal["dark", "light"]
Opened = Callable[..., Page]

PAGES = [
    "/",
    "/targets/shop",
    "/targets/shop?result=incomparable&path=nothing",
    "/fingerprints/{group}",
    "/samples/{sample}",
    "/samples/{sample}?view=unified",
    "/samples/{sample}?view=patch",
    "/rules?target=shop&sample={sample}&path=%24%5B'price'%5D",
    "/ledger",
    "/doctor",
    "/audit",
    "/erase",
    "/samples/nothing-00",
]
MIN_CONTRAST = 4.5
"""The minimum contrast of text at level AA of WCAG 2.2 (1.4.3)."""
FINGERPRINTS = ".what[href^='/fingerprints/']"
"""The links of the list of differences. The list of causes above it has other links."""
COLOR = "e => getComputedStyle(e).color"
CONTRAST = """
([selector]) => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = (top, below) => [0, 1, 2].map(i => top[i] * (top[3] ?? 1) + below[i] * (1 - (top[3] ?? 1)));
  const light = (c) => { const f = c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                         return .2126 * f[0] + .7152 * f[1] + .0722 * f[2]; };
  const ground = (e) => e ? over(rgb(getComputedStyle(e).backgroundColor), ground(e.parentElement)) : [255, 255, 255];
  const opacity = (e) => e ? Number(getComputedStyle(e).opacity) * opacity(e.parentElement) : 1;
  return [...document.querySelectorAll(selector)].filter(e => e.textContent.trim()).map(e => {
    const below = ground(e);
    const ink = over([...rgb(getComputedStyle(e).color).slice(0, 3), opacity(e)], below);
    const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
    return (a + .05) / (b + .05);
  });
}
"""


@pytest.fixture
def opened(browser: Browser, shop: str) -> Iterator[Opened]:
    """Open a page of the shop in its own browser context."""
    contexts: list[Any] = []

    def open_page(path: str = "/", scheme: Scheme = "light", **options: Any) -> Page:
        contexts.append(browser.new_context(color_scheme=scheme, base_url=shop, **options))
        page = contexts[-1].new_page()
        page.goto(path.format(**_wrong_price(shop)))
        return page

    yield open_page
    for context in contexts:
        context.close()


@lru_cache
def _wrong_price(shop: str) -> dict[str, str]:
    """Return the id of the cause for wrong prices, and the id of one of its samples."""
    with urlopen(f"{shop}/api/v1/samples?target=shop&kind=value&limit=1", timeout=10) as answer:
        (line,) = json.load(answer)["samples"]
    return {"group": line["fingerprint"], "sample": line["id"]}


def _sample(opened: Opened, scheme: Scheme = "light") -> Page:
    return opened("/samples/{sample}", scheme)


def test_a_cause_is_two_clicks_away(opened: Opened) -> None:
    """Two clicks lead from the verdict to the most frequent difference and to one of its samples."""
    page = opened()
    expect(page.locator(".badge")).to_have_text("Fail")
    page.get_by_role("link", name="stock is missing in v2", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("stock is missing in v2")
    page.locator(".samples a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("stock is missing in v2; v1 has")
    expect(page.locator(".diff .row.changed").first).to_be_visible()


def test_a_cause_is_reachable_by_keyboard(opened: Opened) -> None:
    """Keyboard users can open a cause, its samples, the differences and views of samples, and the next cause."""
    page = opened()
    for key in ("j", "j", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/fingerprints/*")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/samples/*")
    first = page.url
    page.keyboard.press("j")
    assert "row changed" == page.evaluate("document.activeElement.className")
    page.keyboard.press("2")
    page.wait_for_url("**?view=unified")
    page.keyboard.press("n")
    page.wait_for_url(lambda url: not url.startswith(first))
    page.keyboard.press("p")
    page.wait_for_url(f"{first}?view=unified")
    page.keyboard.press("u")
    page.wait_for_url("**/fingerprints/*")
    page.keyboard.press("u")
    page.wait_for_url("**/targets/shop*")
    page.keyboard.press("/")
    page.keyboard.type("seller")
    page.keyboard.press("Enter")
    page.wait_for_url("**path=seller*")
    expect(page.locator(FINGERPRINTS)).to_have_count(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next or previous sample")


def test_a_sample_marks_differences_and_dims_ignored_paths(opened: Opened) -> None:
    """A sample's page marks the two prices, dims the ignored time, and folds the equal lines."""
    page = _sample(opened)
    changed = page.locator(".row.changed")
    assert 1 == changed.count()
    assert ["1670.99", "1668.99"] == changed.locator("mark").all_text_contents()
    colors = [page.locator(f".row.{state} .line").first.evaluate(COLOR) for state in ("ignored", "equal", "changed")]
    assert 3 == len(set(colors))
    assert page.locator("details.fold").first.is_visible()


def test_a_list_is_filtered_and_sorted_by_links_and_a_form(opened: Opened) -> None:
    """With JavaScript, the filter form submits itself. Without JavaScript, the filter form has a button."""
    page = opened("/targets/shop")
    page.get_by_label("severity").select_option("value")
    page.wait_for_url("**severity=value*")
    expect(page.locator(FINGERPRINTS)).to_have_count(1)
    plain = opened("/targets/shop", java_script_enabled=False)
    plain.get_by_label("kind").select_option("removed")
    plain.get_by_role("button", name="filter").click()
    expect(plain.locator(FINGERPRINTS)).to_have_count(1)
    plain.get_by_role("link", name="Clear filters").first.click()
    plain.get_by_role("link", name="severity").click()
    expect(plain.locator("#fingerprints ~ .scroll th[aria-sort]").first).to_contain_text("severity")


def test_times_are_local_with_utc_on_hover(opened: Opened) -> None:
    """Without JavaScript, the page shows times in UTC."""
    here = opened("/samples/{sample}", timezone_id="Asia/Tokyo").locator("dd time").first
    expect(here).to_have_text(re.compile("2026-02-25 15:23:"))
    expect(here).to_have_attribute("title", re.compile("2026-02-25 06:23:.* UTC"))
    plain = opened("/samples/{sample}", timezone_id="Asia/Tokyo", java_script_enabled=False)
    expect(plain.locator("dd time").first).to_have_text(re.compile("2026-02-25 06:23:.* UTC"))


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_no_page_has_a_serious_accessibility_violation(opened: Opened, shop: str, scheme: Scheme) -> None:
    """axe-core finds no violation in either color scheme, including dimmed text and opened folds."""
    found: dict[str, list[str]] = {}
    page, shown = opened("/", scheme), _wrong_price(shop)
    for path in PAGES:
        page.goto(shop + path.format(**shown))
        page.evaluate("document.querySelectorAll('main details').forEach(fold => fold.open = true)")
        report: Any = cast("Any", Axe()).run(page, options={"resultTypes": ["violations"]}).response
        for one in report["violations"]:
            if one["impact"] in ("serious", "critical"):
                found[f"{path}: {one['id']}"] = [node["html"][:120] for node in one["nodes"][:3]]
    assert {} == found


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_dark_and_light_follow_the_system_setting(opened: Opened, scheme: Scheme) -> None:
    """The page uses the browser's color scheme, without a switch or JavaScript."""
    page = opened("/", scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) < 120) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_text_has_sufficient_contrast(opened: Opened, scheme: Scheme) -> None:
    """Every kind of text meets WCAG's contrast requirement in both color schemes."""
    plain = "p, h1, h3, dt, dd, th, td, summary, a, li > span, .row .line, .badge"
    sample, target = _sample(opened, scheme), opened("/targets/shop", scheme)
    for page in (sample, target):
        assert min(page.evaluate(CONTRAST, [f"{plain}, .row.changed mark"])) >= MIN_CONTRAST


def test_everything_works_without_javascript(opened: Opened) -> None:
    """Without JavaScript, users can open folds and links."""
    page = opened("/", java_script_enabled=False)
    fold = page.locator("details.fold").first
    inside = fold.locator(".row").first
    expect(inside).to_be_hidden()
    fold.locator("summary").click()
    expect(inside).to_be_visible()
    page.get_by_role("link", name="shop", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("shop")


def test_no_request_to_another_host_and_no_console_message(browser: Browser, shop: str) -> None:
    """Pages load fonts, scripts and images only from the service, and the browser's console stays empty."""
    context = browser.new_context()
    asked: list[str] = []
    said: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for path in PAGES[:-1]:
        page.goto(shop + path.format(**_wrong_price(shop)))
    context.close()
    assert not [url for url in asked if not url.startswith(shop)]
    assert [] == said


@pytest.mark.parametrize("width", [380, 800, 1600])
def test_no_page_scrolls_sideways(opened: Opened, shop: str, width: int) -> None:
    """Pages fit the width of a phone and of a wide screen. Wide tables scroll horizontally inside the page."""
    page, shown = opened(viewport={"width": width, "height": 800}), _wrong_price(shop)
    for path in PAGES:
        page.goto(shop + path.format(**shown), wait_until="domcontentloaded")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_the_policy_blocks_an_injected_script(opened: Opened) -> None:
    """The browser would block a script that an attacker injects into the page."""
    page = opened()
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    page.evaluate(
        "() => { const s = document.createElement('script'); s.text = 'window.ran = 2'; document.body.append(s) }"
    )
    assert page.evaluate("window.ran === undefined")


def test_the_keyboard_reaches_links_and_folds(opened: Opened) -> None:
    """A visible outline shows the element with the keyboard focus."""
    page = opened()
    reached: set[str] = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        tag, outline = page.evaluate("(e => [e.tagName, getComputedStyle(e).outlineStyle])(document.activeElement)")
        assert outline == "solid" or tag == "BODY"  # the tab order restarts at this element
        reached.add(tag)
    assert {"A", "SUMMARY"} <= reached


@pytest.mark.parametrize("path", ["/samples/{sample}?download=1", "/fingerprints/{group}?download=1"])
def test_an_exported_file_opens_without_a_server(browser: Browser, shop: str, path: str, tmp_path: Path) -> None:
    """An exported file has colors and folds, sends no request, and logs nothing to the console."""
    kept = tmp_path / "kept.html"
    with urlopen(shop + path.format(**_wrong_price(shop)), timeout=10) as answer:
        kept.write_bytes(answer.read())
    context = browser.new_context(color_scheme="dark", viewport={"width": 800, "height": 600})
    asked: list[str] = []
    said: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(kept.as_uri())
    expect(page.locator(".diff .row.changed mark").first).to_be_visible()
    page.locator("details.fold summary").first.click()
    expect(page.locator("details.fold .row").first).to_be_visible()
    assert sum(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")) < 120
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
    context.close()
    assert ([kept.as_uri()], []) == (asked, said)
