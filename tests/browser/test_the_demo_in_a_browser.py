"""The pages over the demo's real traffic: a reader names each planted fault, dark, light, and without JavaScript."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import Browser, expect

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = "2000"
STOP_WITHIN_S = 30.0
FAULTS = {
    "stock.count": r"v2 answered stock\.count as a string \"\d+\" where v1 answered a number \d+",
    "price.amount": r"v2 answered price\.amount [\d.]+ where v1 answered [\d.]+",
    "shipping": r"v2 left out shipping, which v1 answered as \{",
    "status": r"v2 answered with status 500 where v1 answered 200",
}


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """Run the demo until all of its traffic is judged, and keep it up for the module."""
    command = [
        sys.executable,
        "-m",
        "shadowdiff",
        "demo",
        "--once",
        "--requests",
        REQUESTS,
        "--keep-running",
        "--rate",
        "300",
        "--any-port",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            address, said = "", ""
            for line in process.stderr or ():
                said += line
                found = re.search(r"pages, API\s+(http://\S+?)/?\s", line)
                address = found[1] if found else address
                if "keeps running" in line:
                    break
            else:
                pytest.fail(f"the demo ended by itself:\n{said}")
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=STOP_WITHIN_S)


@pytest.mark.parametrize("place", FAULTS)
@pytest.mark.parametrize(("scheme", "script"), [("dark", True), ("light", False)], ids=["dark", "light, no script"])
def test_a_reader_names_each_planted_fault(
    browser: Browser, demo: str, place: str, scheme: Literal["dark", "light"], *, script: bool
) -> None:
    """From the target's page by its place, to a sample whose headline says it."""
    context = browser.new_context(color_scheme=scheme, java_script_enabled=script)
    page = context.new_page()
    page.goto(f"{demo}/targets/recommendation")
    page.get_by_role("link", name=place, exact=True).first.click()
    page.locator(".samples a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(FAULTS[place]))
    expect(page.locator(".diff .row.changed").first).to_be_visible()
    context.close()


def test_the_demos_verdict_and_books_are_on_the_first_page(browser: Browser, demo: str) -> None:
    """It fails, and says so; nothing warns of the books."""
    page = browser.new_page()
    page.goto(demo)
    expect(page.locator(".badge").first).to_have_text("fail")
    expect(page.get_by_text("The books do not balance")).to_have_count(0)
    page.close()


def test_a_rule_is_proposed_previewed_made_and_undone(browser: Browser, demo: str) -> None:
    """From the difference itself: what it would hide stands there before anything is made."""
    page = browser.new_page()
    page.goto(f"{demo}/targets/recommendation?path=price.amount")
    page.locator(".what").first.click()
    page.locator(".samples a").first.click()
    page.get_by_role("link", name="make a rule").first.click()
    expect(page.locator("#tried")).to_contain_text("price.amount")
    page.get_by_role("link", name="it does not matter at all").click()
    expect(page.locator("#rule")).to_have_value(re.compile(r"ignore: .*amount"))
    page.get_by_role("button", name="try", exact=True).click()
    expect(page.locator("#tried tr.covered").first).to_contain_text("vanishes")
    page.get_by_label("your name").last.fill("ada")
    page.get_by_label("reason").fill("prices follow")
    page.get_by_role("button", name="make").click()
    expect(page.get_by_role("status")).to_contain_text("Made:")
    expect(page.locator(".under")).to_have_text("prices follow")
    page.get_by_role("button", name="undo").click()
    expect(page.locator(".under")).to_have_count(0)
    page.close()


def test_a_state_and_a_note_are_set_and_shown(browser: Browser, demo: str) -> None:
    """Without a script; whoever comes next sees who said it."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{demo}/targets/recommendation?path=stock.count")
    page.locator(".what").first.click()
    page.get_by_label("expected").check()
    page.get_by_label("your name").first.fill("ada")
    page.get_by_role("button", name="set").click()
    expect(page.locator(".facts")).to_contain_text("said ada")
    page.get_by_label("note").fill("the new schema <b>says so</b>")
    page.get_by_label("your name").last.fill("bob")
    page.get_by_role("button", name="write").click()
    expect(page.locator("blockquote")).to_contain_text("the new schema <b>says so</b>")
    page.goto(f"{demo}/targets/recommendation?state=expected")
    expect(page.locator(".what")).to_have_count(1)
    expect(page.locator(".under")).to_contain_text("the new schema")
    context.close()


def test_an_open_page_follows_what_is_counted_and_can_be_paused(browser: Browser, demo: str) -> None:
    """By a button and by a key; a reload keeps the choice."""
    page = browser.new_page()
    page.goto(demo)
    button = page.get_by_role("button", name="live")
    expect(button).to_have_attribute("aria-pressed", "true")
    page.keyboard.press(".")
    expect(page.get_by_role("button", name="paused")).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(page.get_by_role("button", name="paused")).to_be_visible()
    page.close()
