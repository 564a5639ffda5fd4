"""The pages in a real browser: dark, light, narrow, without JavaScript, and quiet on the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

Scheme = Literal["dark", "light"]
Opened = Callable[..., Page]

PAGES = ["/", "/targets/shop", "/targets/shop?result=incomparable", "/samples/nothing-00"]
READABLE = 4.5
"""The least contrast of text that WCAG 2.2 (1.4.3, level AA) allows."""
DIMMED = 2.0
"""What rules ignore is dimmed on purpose, and legible still."""

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
    """Open a page of the shop in a context of its own."""
    contexts: list[Any] = []

    def open_page(path: str = "/", scheme: Scheme = "light", **options: Any) -> Page:
        contexts.append(browser.new_context(color_scheme=scheme, base_url=shop, **options))
        page = contexts[-1].new_page()
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()


def _sample(opened: Opened, scheme: Scheme = "light", words: str = "v2 answered price") -> Page:
    page = opened("/", scheme)
    page.get_by_role("heading", level=4).get_by_role("link").filter(has_text=words).first.click()
    page.wait_for_url("**/samples/*")
    return page


def test_a_reader_finds_the_bug_from_the_first_page(opened: Opened) -> None:
    """Target, verdict, worst place, and from there the sample that shows it."""
    page = opened()
    expect(page.locator(".badge")).to_have_text("fail")
    page.get_by_role("link", name="stock", exact=True).click()
    page.get_by_role("listitem").get_by_role("link").filter(has_text="v2 left out stock").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("v2 left out stock, which v1 answered as")


def test_a_sample_marks_what_differs_and_dims_what_is_ignored(opened: Opened) -> None:
    """The two prices are marked; the clock is dimmed; the rest is folded."""
    page = _sample(opened)
    changed = page.locator(".row.changed")
    assert 1 == changed.count()
    assert ["1670.99", "1668.99"] == changed.locator("mark").all_text_contents()
    assert "0.55" == page.locator(".row.ignored .line").first.evaluate("e => getComputedStyle(e).opacity")
    assert page.locator("details.fold").first.is_visible()


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_dark_and_light_follow_the_readers_setting(opened: Opened, scheme: Scheme) -> None:
    """Without a switch and without a script."""
    page = opened("/", scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) < 120) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_text_can_be_read(opened: Opened, scheme: Scheme) -> None:
    """Every kind of text has the contrast that WCAG asks for, in both schemes."""
    plain = "p, h1, h3, dt, dd, th, td, summary, a, li > span, .row.changed .line, .row.equal .line, .badge"
    sample, target = _sample(opened, scheme), opened("/targets/shop", scheme)
    for page in (sample, target):
        assert min(page.evaluate(CONTRAST, [f"{plain}, .row.changed mark"])) >= READABLE
    assert min(sample.evaluate(CONTRAST, [".row.ignored .line"])) >= DIMMED


def test_everything_works_without_javascript(opened: Opened) -> None:
    """Folds open, links lead on."""
    page = opened("/", java_script_enabled=False)
    fold = page.locator("details.fold").first
    inside = fold.locator(".row").first
    expect(inside).to_be_hidden()
    fold.locator("summary").click()
    expect(inside).to_be_visible()
    page.get_by_role("link", name="all", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("shop")


def test_nothing_is_asked_of_another_host_and_nothing_is_complained_of(browser: Browser, shop: str) -> None:
    """No font, no script, no picture from elsewhere; no word in the browser's console."""
    context = browser.new_context()
    asked: list[str] = []
    said: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for path in PAGES[:3]:
        page.goto(shop + path)
    context.close()
    assert not [url for url in asked if not url.startswith(shop)]
    assert [] == said


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [380, 800, 1600])
def test_no_page_scrolls_sideways(opened: Opened, path: str, width: int) -> None:
    """On a telephone as on a wide screen; wide tables scroll within themselves."""
    page = opened(path, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_policy_stops_what_should_ever_slip_through(opened: Opened) -> None:
    """Even a script that were written into the page would not run."""
    page = opened()
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    page.evaluate(
        "() => { const s = document.createElement('script'); s.text = 'window.ran = 2'; document.body.append(s) }"
    )
    assert page.evaluate("window.ran === undefined")


def test_the_keyboard_reaches_links_and_folds(opened: Opened) -> None:
    """With an outline that shows where it is."""
    page = opened()
    reached: set[str] = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        tag, outline = page.evaluate("(e => [e.tagName, getComputedStyle(e).outlineStyle])(document.activeElement)")
        assert outline == "solid" or tag == "BODY"  # where the round begins again
        reached.add(tag)
    assert {"A", "SUMMARY"} <= reached
