"""On the pages with the demo's traffic, a user finds each planted difference, with and without JavaScript."""

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
    "stock.count": r"stock\.count is a string in v2, a number in v1: \d+ → \"\d+\"",
    "price.amount": r"price\.amount differs: [\d.]+ → [\d.]+",
    "shipping": r"shipping is missing in v2; v1 has \{",
    "status": r"v2 returns 500 instead of 200",
}


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """Run the demo until the service has compared all traffic, and stop it after the module's tests."""
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
def test_each_planted_fault_is_found_on_the_pages(
    browser: Browser, demo: str, place: str, scheme: Literal["dark", "light"], *, script: bool
) -> None:
    """For each planted difference, the path on the target's page leads to a sample with a matching headline."""
    context = browser.new_context(color_scheme=scheme, java_script_enabled=script)
    page = context.new_page()
    page.goto(f"{demo}/targets/recommendation")
    page.get_by_role("link", name=place, exact=True).first.click()
    page.locator(".samples a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(FAULTS[place]))
    expect(page.locator(".diff .row.changed").first).to_be_visible()
    context.close()


def test_the_demos_verdict_and_ledger_are_on_the_first_page(browser: Browser, demo: str) -> None:
    """The home page shows the fail verdict and no warning about the ledger."""
    page = browser.new_page()
    page.goto(demo)
    expect(page.locator(".badge").first).to_have_text("Fail")
    expect(page.get_by_text("Not all requests are accounted for")).to_have_count(0)
    page.close()


def test_a_rule_is_suggested_previewed_added_and_undone(browser: Browser, demo: str) -> None:
    """A difference links to a suggested rule, and the rule's preview shows what the rule would hide."""
    page = browser.new_page()
    page.goto(f"{demo}/targets/recommendation?path=price.amount")
    page.locator(".what").first.click()
    page.locator(".samples a").first.click()
    page.get_by_role("link", name="Ignore or relax…").first.click()
    expect(page.locator("#preview")).to_contain_text("price.amount")
    page.get_by_role("link", name="ignore it").click()
    expect(page.locator("#rule")).to_have_value(re.compile(r"ignore: .*amount"))
    page.get_by_role("button", name="Preview", exact=True).click()
    expect(page.locator("#preview tr.covered").first).to_contain_text("disappears")
    page.get_by_label("your name").last.fill("ada")
    page.get_by_label("reason").fill("prices follow")
    page.get_by_role("button", name="Create rule").click()
    expect(page.get_by_role("status")).to_contain_text("Rule created:")
    reasons = page.locator(".under:not(#built-in .under)")
    expect(reasons).to_have_text("prices follow")
    page.get_by_role("button", name="undo").click()
    expect(reasons).to_have_count(0)
    page.close()


def test_a_state_and_a_note_are_set_and_shown(browser: Browser, demo: str) -> None:
    """Without JavaScript, users can set a cause's state and note. The page shows the author of the note."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{demo}/targets/recommendation?path=stock.count")
    page.locator(".what").first.click()
    page.get_by_label("expected").check()
    page.get_by_label("your name").first.fill("ada")
    page.get_by_role("button", name="Save status").click()
    expect(page.locator(".facts")).to_contain_text("by ada")
    page.get_by_label("note").fill("the new schema <b>says so</b>")
    page.get_by_label("your name").last.fill("bob")
    page.get_by_role("button", name="Save note").click()
    expect(page.locator("blockquote")).to_contain_text("the new schema <b>says so</b>")
    page.goto(f"{demo}/targets/recommendation?state=expected")
    expect(page.locator(".what")).to_have_count(1)
    expect(page.locator(".under")).to_contain_text("the new schema")
    context.close()


def test_an_open_page_follows_new_counts_and_can_be_paused(browser: Browser, demo: str) -> None:
    """A button and a key pause the page's updates. After a reload, the page is still paused."""
    page = browser.new_page()
    page.goto(demo)
    button = page.get_by_role("button", name="live")
    expect(button).to_have_attribute("aria-pressed", "true")
    page.keyboard.press(".")
    expect(page.get_by_role("button", name="paused")).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(page.get_by_role("button", name="paused")).to_be_visible()
    page.close()
