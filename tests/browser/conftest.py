"""Open the pages of a shop with planted differences in a real browser.

The browser is Debian's chromium, or the program in the variable CHROMIUM. Without a browser, the tests are skipped. If
CI=true, they fail.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, sync_playwright

from shadowdiff.web import create_web
from tests.conftest import needs_tool
from tests.fakes.serving import served
from tests.fakes.shop import open_shop, web_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Start one browser for all tests in this folder. While a browser runs, tests cannot start their own event loop."""
    program = os.environ.get("CHROMIUM") or needs_tool("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="package")
def shop() -> Iterator[str]:
    """Serve the shop's pages."""
    with served(create_web(web_parts(open_shop()))) as url:
        yield url
